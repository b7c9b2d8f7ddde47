"""The folder: what was synced survives, and one process holds it. What must be durable when is a matter of the chosen mode."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Literal

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import StoreBusy, StoreFailed
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import CloudRoute
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

META = Family.META

CHILD = """
import sys, time
from pathlib import Path
from driftlog_edge.ports import Family
from driftlog_edge.store.rocks import RocksStore

store = RocksStore(Path(sys.argv[1]))
for number in range(100):
    store.write({(Family.META, b"%03d" % number): b"x", (Family.OPLOG, b"%03d" % number): b"y"}, sync=True)
print("written", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that has written to the folder and holds it."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "written\n"
    return child


def test_a_folder_that_another_process_holds_is_told_in_one_sentence(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    try:
        with pytest.raises(StoreBusy) as raised:
            RocksStore(tmp_path / "data")
        assert str(raised.value) == f"data folder {tmp_path / 'data'} is held by another process"
        assert "data_dir" in raised.value.remedy
    finally:
        holder.kill()
        holder.wait()


def test_what_was_synced_is_there_after_a_kill(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    store = RocksStore(tmp_path / "data")
    assert [key for key, _ in store.scan(META, b"")] == [b"%03d" % n for n in range(100)]
    assert len(list(store.scan(Family.OPLOG, b""))) == 100
    store.close()


def test_scans_begin_after_and_end_with_the_prefix(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data")
    store.write({(META, key): b"v" for key in (b"a", b"b", b"b\x00", b"bb", b"c", b"\xff\xff")}, sync=False)
    store.write({(META, b"bb"): None}, sync=False)

    assert [k for k, _ in store.scan(META, b"b")] == [b"b", b"b\x00"]
    assert [k for k, _ in store.scan(META, b"b", after=b"b")] == [b"b\x00"]
    assert [k for k, _ in store.scan(META, b"b", after=b"a")] == [b"b", b"b\x00"]
    assert [k for k, _ in store.scan(META, b"", after=b"c")] == [b"\xff\xff"]
    assert list(store.scan(META, b"x")) == []
    assert store.disk_bytes() > 0
    store.close()


def test_no_thread_is_started_for_files_that_are_not_there(tmp_path: Path) -> None:
    RocksStore(tmp_path).close()
    assert "Options.max_file_opening_threads: 1\n" in (tmp_path / "LOG").read_text()


def test_a_folder_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a store")
    with pytest.raises(StoreFailed, match="data"):
        RocksStore(tmp_path / "data")


@pytest.mark.parametrize(
    ("durability", "of_the_command", "command_synced", "seal_synced"),
    [("disk", None, True, True), ("os", None, False, True), ("disk", "os", False, True), ("os", "disk", True, True)],
)
async def test_a_command_or_at_least_its_sending_waits_for_the_disk(
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    monkeypatch: pytest.MonkeyPatch,
    durability: str,
    of_the_command: Literal["disk", "os"] | None,
    command_synced: bool,
    seal_synced: bool,
) -> None:
    seen: list[tuple[bool, bool, bool]] = []
    honest = RocksStore.write

    def write(self: RocksStore, writes: Writes, *, sync: bool) -> None:
        command = any(f is Family.OPLOG for f, _ in writes)
        seal = any(f is Family.SEALED and v is not None for (f, _), v in writes.items())
        seen.append((command, seal, sync))
        honest(self, writes, sync=sync)

    monkeypatch.setattr(RocksStore, "write", write)
    route.merging = False
    async with EdgeAgent(app, config.model_copy(update={"durability": durability}), route=route, ids=ids) as agent:
        await until(
            lambda: agent.status()["connection"] == "ONLINE"
        )  # that the cloud was met is synced, once in a folder's life
        await agent.run("receive", durability=of_the_command, store="s1", sku="tea", qty=1)
        await until(lambda: route.sent)

    assert [sync for command, _, sync in seen if command] == [command_synced]
    assert [sync for _, seal, sync in seen if seal] == [seal_synced]


class SlowRegistry(FixedIds):
    """A registry that does not answer for a while, as one behind a dead link does."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.asked = threading.Event()

    def id_of(self, text: str) -> int:
        if '"SignedBatch"' in text:
            self.asked.set()
            assert self.gate.wait(30)
        return super().id_of(text)


async def test_a_registry_that_does_not_answer_delays_no_write(config: EdgeConfig, route: CloudRoute) -> None:
    registry = SlowRegistry()
    async with EdgeAgent(app, config, route=route, ids=registry) as agent:
        await agent.run("receive", store="s1", sku="tea", qty=1)
        await asyncio.get_running_loop().run_in_executor(None, registry.asked.wait, 10)

        for _ in range(5):
            await asyncio.wait_for(agent.run("receive", store="s1", sku="tea", qty=1), 30)
        assert agent.status()["pending"] == 6
        assert route.sent == []

        registry.gate.set()
        await until(lambda: agent.status()["pending"] == 0)
