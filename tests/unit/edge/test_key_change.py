"""A new identity file under a running agent: taken when its key counts; one that cannot be used stops nothing and is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.link import sync as sync_module
from driftlog_edge.link.key_change import KeyChange
from driftlog_edge.ports import Sealed
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.devices import Device, DeviceKey, enrolled, with_key
from driftlog_schemas.operator_keys import DAY_MS, RootKey
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity, verify
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

OLD = Identity.create("store-1")
NOW_MS = 1_790_000_000_000


def put(identity: Identity, path: Path) -> None:
    """As `driftlog devices rotate-key --out` makes it, moved over the old one."""
    identity.save(path.with_name("new.json"))
    path.with_name("new.json").replace(path)


class Watched:
    """A file that is watched, and what was taken of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "identity.json"
        OLD.save(self.path)
        self.line: Device | None = None
        self.taken: list[Identity] = []
        self.change = KeyChange(self.path, OLD, lambda: self.line, self.taken.append)

    def put(self, identity: Identity) -> None:
        put(identity, self.path)

    def look(self, now_ms: int = NOW_MS) -> str:
        self.change.look(now_ms)
        return self.change.problem


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def rotated(root: bytes | None = None) -> Identity:
    return Identity.create("store-1", root)


def line_of(*identities: Identity, from_ms: int = 1) -> Device:
    first, *others = (DeviceKey(i.key_id, i.public_key, from_ms) for i in identities)
    line = enrolled("store-1", first)
    for key in others:
        line = with_key(line, key, from_ms, keep=True)
    return line


def test_a_new_key_is_taken_once(watched: Watched) -> None:
    new = rotated()
    assert watched.look() == ""
    watched.put(new)
    assert watched.look() == watched.look() == ""
    assert [i.key_id for i in watched.taken] == [new.key_id] == [watched.change.identity.key_id]


def test_a_key_is_taken_when_the_line_says_that_it_counts_and_not_before(watched: Watched) -> None:
    new = rotated()
    watched.line = line_of(OLD)
    watched.put(new)
    assert "does not count" in watched.look() and watched.change.identity is OLD
    watched.line = with_key(watched.line, DeviceKey(new.key_id, new.public_key, NOW_MS), NOW_MS, keep=True)
    assert "does not count" in watched.look(NOW_MS - DAY_MS)
    assert watched.look(NOW_MS) == ""
    assert watched.change.identity.key_id == new.key_id


def cut_off(watched: Watched) -> None:
    watched.path.write_text(watched.path.read_text()[:40])


def gone(watched: Watched) -> None:
    watched.path.unlink()


def of_another_device(watched: Watched) -> None:
    watched.put(Identity.create("store-9"))


def of_another_root(watched: Watched) -> None:
    watched.put(rotated(RootKey.create().public))


@pytest.mark.parametrize("spoil", [cut_off, gone, of_another_device, of_another_root])
def test_a_file_that_cannot_be_used_is_told_and_the_old_key_goes_on_until_it_is_mended(
    watched: Watched, spoil: Callable[[Watched], None]
) -> None:
    spoil(watched)
    problem = watched.look()
    assert str(watched.path) in problem and OLD.key_id in problem
    assert watched.look() == problem and watched.change.identity is OLD and not watched.taken
    new = rotated()
    watched.put(new)
    assert watched.look() == ""
    assert watched.change.identity.key_id == new.key_id


def test_the_old_file_put_back_is_no_problem(watched: Watched) -> None:
    gone(watched)
    assert watched.look()
    watched.put(OLD)
    assert watched.look() == "" and not watched.taken


def test_a_file_of_the_same_size_and_time_is_seen_by_its_place(watched: Watched) -> None:
    before = watched.path.stat()
    new = replace(rotated(), key_id="0" * len(OLD.key_id))
    watched.put(new)
    os.utime(watched.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    watched.look()
    assert watched.change.identity.key_id == new.key_id


async def test_a_running_agent_signs_with_the_new_key_what_it_had_sealed_with_the_old_one(
    config: EdgeConfig, route: CloudRoute, cloud: Cloud, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.01)
    new = Identity.create("store-1")

    def signer(sealed: Sealed) -> str:
        signed = BatchCodec(ids).open(sealed.value)
        key = {config_key.key_id: config_key for config_key in (Identity.load(config.identity), new)}[signed.key_id]
        assert verify(key.public_key, signed.signature, signed.body)
        return signed.key_id

    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        old = agent.identity.key_id
        await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=10)
        assert signer(route.sent[-1]) == old
        route.cut()
        await agent.run("receive", command_id="sealed", store="s1", sku="tea", qty=10)
        await until(lambda: bool(list(agent._sync.pump._shipper._outbox.sealed.all())))
        (sealed,) = agent._sync.pump._shipper._outbox.sealed.all()
        put(new, config.identity)
        await until(lambda: agent.identity.key_id == new.key_id)
        await agent.offline()
        route.mend()
        await agent.online()
        await until(lambda: agent.command("sealed").status == "merged")
        assert signer(route.sent[-1]) == new.key_id
        assert route.sent[-1].digest == sealed.digest, "the same batch, signed anew"
        config.identity.write_text("{")
        await until(lambda: str(config.identity) in agent.status()["problem"])
        answer = await agent.run("receive", store="s1", sku="tea", qty=100, wait="merged", seconds=10)
        assert answer.status == "merged"
        assert signer_of(route, ids) == new.key_id


def signer_of(route: CloudRoute, ids: FixedIds) -> str:
    return BatchCodec(ids).open(route.sent[-1].value).key_id
