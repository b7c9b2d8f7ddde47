"""Another data key while the agent works: nothing is lost or shown older than it is, wherever it is cut off; the old key then opens nothing."""

from __future__ import annotations

import asyncio
import base64
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import Damaged, DiskFull, KeyUnusable
from driftlog_edge.ports import Family
from driftlog_edge.store import key_file, rotation
from driftlog_edge.store.cipher import Cipher
from driftlog_edge.store.rocks import AT_ONCE, RocksStore
from driftlog_edge.store.rotation import Rotation
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.at_rest.raw import changed, opened_by, raw
from tests.unit.edge.cloud import CloudRoute
from tests.unit.edge.replica import HandClock
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

OLD_KEY, NEW_KEY = bytes(range(32)), bytes(range(32, 64))
COUNT = 5 * AT_ONCE
META = Family.META


def filled(folder: Path) -> RocksStore:
    store = RocksStore(folder)
    for sync in (True, False):
        store.write({(f, b"%04d" % n): b"one" for f in (META, Family.BODIES) for n in range(COUNT)}, sync=sync)
    return store


def rotating(store: RocksStore, wrapping: Sequence[WrappingKey] = ()) -> Rotation:
    async def keys() -> Sequence[WrappingKey]:
        return wrapping

    return Rotation(store, HandClock(), 0, keys)


async def finished(running: Rotation) -> None:
    await until(lambda: not running.facts()["rotating"])


async def test_all_goes_under_the_new_key_and_what_is_written_meanwhile_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    store = filled(folder)
    store.reclaim(Family)
    old, before = store.keys.cipher, raw_while_open(store)
    renew, steps = RocksStore.renew, 0

    def between(self: RocksStore, family: Family, start: bytes) -> bytes | None:
        nonlocal steps
        steps += 1
        if family is META:  # just behind it, where it is, and far before it; one goes
            store.write({(META, key): b"two" for key in (b"0000", start, b"%04d" % (COUNT - 1))}, sync=steps % 2 == 0)
            store.write({(META, b"0001"): None}, sync=True)
        return renew(self, family, start)

    monkeypatch.setattr(RocksStore, "renew", between)
    running = rotating(store)
    await running.begin()
    scan = store.scan(Family.BODIES, b"")
    next(scan)
    running.start()
    await finished(running)
    await running.stop()
    assert steps > 10
    assert len(list(scan)) == COUNT - 1, "who was reading reads on"
    seen = dict(store.scan(META, b""))
    assert (seen[b"0000"], seen[b"%04d" % (COUNT - 1)], seen[b"0002"]) == (b"two", b"two", b"one")
    assert b"0001" not in seen and len(dict(store.scan(Family.BODIES, b""))) == COUNT
    newest = store.keys.newest
    store.close()

    assert opened_by(old, folder) == 0
    assert opened_by(Cipher([newest.key]), folder) == len(raw(folder)) > 2 * COUNT - 2
    left = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert not [key for key, sealed in before.items() if sealed[5:] in left], "overwritten values are gone too"
    store = RocksStore(folder)
    assert store.keys.newest == newest and not store.keys.rotating
    store.close()


def raw_while_open(store: RocksStore) -> dict[bytes, bytes]:
    return dict(store._entries(Family.BODIES, b""))


async def test_a_write_that_comes_while_a_value_is_written_anew_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path / "data")
    store.keys.begin(0, ())
    opened = Cipher.open
    other = threading.Thread(target=lambda: store.write({(META, b"0003"): b"two"}, sync=False))

    def slowly(self: Cipher, family: Family, key: bytes, sealed: bytes) -> bytes:
        if key == b"0003" and not other.is_alive():
            other.start()
            other.join(0.3)  # as long as it may take where nothing holds it up
        return opened(self, family, key, sealed)

    with monkeypatch.context() as patched:
        patched.setattr(Cipher, "open", slowly)
        store.renew(META, b"")
        other.join()
    assert store.get(META, b"0003") == b"two"
    store.close()


async def test_a_wrapped_key_is_not_followed_by_one_that_lies_open(tmp_path: Path) -> None:
    wrapping = (WrappingKey(OLD_KEY),)
    store = RocksStore(tmp_path / "data", wrapping)
    with pytest.raises(KeyUnusable, match="the data key is wrapped"):
        await rotating(store).begin()
    assert not store.keys.rotating
    await rotating(store, wrapping).begin()
    assert store.keys.rotating
    store.close()


@pytest.mark.parametrize("after", [0, 1, 3, 9, 15, 100])
async def test_cut_off_anywhere_the_next_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The copy is what a power cut leaves: of the steps before it, some or all."""
    folder, copy = tmp_path / "data", tmp_path / "copy"
    store = filled(folder)
    old = store.keys.cipher
    renew, finish, left = RocksStore.renew, key_file.KeyFile.finish, after

    def cut() -> None:
        if not copy.exists():
            shutil.copytree(folder, copy)

    def counted(self: RocksStore, family: Family, start: bytes) -> bytes | None:
        nonlocal left
        if left == 0:
            cut()
        left -= 1
        return renew(self, family, start)

    def finishing(self: key_file.KeyFile) -> None:
        cut()
        finish(self)

    with monkeypatch.context() as patched:
        patched.setattr(RocksStore, "renew", counted)
        patched.setattr(key_file.KeyFile, "finish", finishing)
        running = rotating(store)
        await running.begin()
        running.start()
        await finished(running)
        await running.stop()
    store.close()

    store = RocksStore(copy)
    assert store.keys.rotating
    assert [len(list(store.scan(f, b""))) for f in (META, Family.BODIES)] == [COUNT, COUNT]
    running = rotating(store)
    running.start()
    await finished(running)
    await running.stop()
    assert [len(list(store.scan(f, b""))) for f in (META, Family.BODIES)] == [COUNT, COUNT]
    store.close()
    assert opened_by(old, copy) == 0


async def test_a_full_disk_puts_it_off_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "AGAIN_SECONDS", 0.01)
    store = filled(tmp_path / "data")
    renew, full = RocksStore.renew, True

    def filling(self: RocksStore, family: Family, start: bytes) -> bytes | None:
        if full:
            raise DiskFull("no space left", "free some")
        return renew(self, family, start)

    monkeypatch.setattr(RocksStore, "renew", filling)
    running = rotating(store)
    await running.begin()
    running.start()
    await until(lambda: running.facts()["problem"] == "no space left")
    assert running.facts()["rotating"]
    full = False
    await finished(running)
    await until(lambda: running.facts()["problem"] == "")
    await running.stop()
    store.close()


async def test_a_value_that_is_damaged_stays_and_holds_nothing_up(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    filled(folder).close()
    changed(folder, lambda meta: meta.put(b"0007", meta[b"0008"]))
    store = RocksStore(folder)
    running = rotating(store)
    await running.begin()
    running.start()
    await finished(running)
    await running.stop()
    with pytest.raises(Damaged, match="0007"):
        store.get(META, b"0007")
    assert store.get(META, b"0008") == b"one"
    store.close()


async def test_a_key_gets_old(tmp_path: Path) -> None:
    store = filled(tmp_path / "data")
    made = store.keys.newest.made_ms
    day = 24 * 3600 * 1000
    assert [store.keys.due(made + days * day, 365) for days in (-9, 0, 364, 365, 9999)] == [False] * 3 + [True] * 2
    assert not store.keys.due(made + 9999 * day, 0)
    store.close()


async def test_asked_while_one_is_under_way_it_begins_no_other(tmp_path: Path) -> None:
    store = filled(tmp_path / "data")
    running = rotating(store)
    await asyncio.gather(running.begin(), running.begin())
    first = running.facts()["data_key"]
    await running.begin()
    assert running.facts()["data_key"] == first
    store.close()


# -- the agent


def with_keys(config: EdgeConfig, path: Path, *keys: bytes) -> EdgeConfig:
    path.write_text("\n".join(base64.b64encode(key).decode() for key in keys))
    path.chmod(0o600)
    return config.model_copy(update={"encryption_key_file": path})


async def at_work(config: EdgeConfig, route: CloudRoute, ids: FixedIds, count: int) -> dict[str, object]:
    """Write and read, until no key is being replaced; what the status says then."""
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        for _ in range(5):
            await agent.run("receive", store="s1", sku="tea", qty=1)
        assert (await agent.read("Stock", "s1", "tea")).value["on_hand"] == count
        await until(lambda: not agent._rotation._store.keys.due(0, 0))  # first what it has not begun yet
        await until(lambda: not agent.status()["encryption"]["rotating"])
        return dict(agent.status()["encryption"])


async def test_a_key_that_is_set_takes_the_folder_over_and_one_above_it_takes_its_place(
    tmp_path: Path, config: EdgeConfig, route: CloudRoute, ids: FixedIds
) -> None:
    bare = await at_work(config, route, ids, 5)
    assert bare["wrapped_by"] is None
    stolen = Cipher([key.key for key in key_file.load(config.data_dir, ())])

    path = tmp_path / "edge.key"
    wrapped = await at_work(with_keys(config, path, OLD_KEY), route, ids, 10)
    assert wrapped["wrapped_by"] == WrappingKey(OLD_KEY).fingerprint
    assert wrapped["data_key"] != bare["data_key"], "the one that lay there as it was seals nothing any more"
    assert opened_by(stolen, config.data_dir) == 0

    again = await at_work(with_keys(config, path, NEW_KEY, OLD_KEY), route, ids, 15)
    assert again["wrapped_by"] == WrappingKey(NEW_KEY).fingerprint
    assert await at_work(with_keys(config, path, NEW_KEY), route, ids, 20) == again
    with pytest.raises(KeyUnusable, match="another"):
        await at_work(with_keys(config, path, OLD_KEY), route, ids, 25)
    with pytest.raises(KeyUnusable, match="no wrapping key is set"):
        await at_work(config, route, ids, 25)


async def test_asked_for_it_reads_the_wrapping_key_anew_and_without_it_nothing_changes(
    tmp_path: Path, config: EdgeConfig, route: CloudRoute, ids: FixedIds
) -> None:
    path = tmp_path / "edge.key"
    async with EdgeAgent(app, with_keys(config, path, OLD_KEY), route=route, ids=ids) as agent:
        before = agent.status()["encryption"]
        path.rename(tmp_path / "away")
        with pytest.raises(KeyUnusable, match="there is no file"):
            await agent.rotate_data_key()
        assert agent.status()["encryption"] == before
        with_keys(config, path, NEW_KEY, OLD_KEY)
        after = await agent.rotate_data_key()
        assert after["wrapped_by"] == WrappingKey(NEW_KEY).fingerprint
        await until(lambda: not agent.status()["encryption"]["rotating"])
        assert (await agent.run("receive", store="s1", sku="tea", qty=5)).result == 5
