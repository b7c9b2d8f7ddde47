"""What is promised to be durable is synced by RocksDB before anybody reads it: from the committer's group to the log on the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_edge.errors import StoreFailed
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store.changes import ChangeLog
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.rocks import RocksStore


class Watched:
    """The database below a store, and what is asked of its log."""

    def __init__(self, below: Any) -> None:
        self._below = below
        self.calls: list[str] = []
        self.while_syncing: Callable[[], None] = lambda: None

    def write(self, *arguments: Any) -> None:
        self.calls.append("write")
        self._below.write(*arguments)

    def flush_wal(self, sync: bool) -> None:
        self.calls.append("sync" if sync else "flush")
        self.while_syncing()
        self._below.flush_wal(sync)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimpleNamespace]:
    store = RocksStore(tmp_path / "store")
    watched = Watched(store._opened.db)
    monkeypatch.setattr(store, "_opened", store._opened._replace(db=watched))
    committer = Committer(Journal(store), store, ChangeLog(store, "a"))
    yield SimpleNamespace(store=store, committer=committer, database=watched)
    await committer.drained()
    committer.close()
    store.close()


async def put(rig: SimpleNamespace, key: bytes, *, sync: bool) -> None:
    await rig.committer.stage({(Family.META, key): b"value"}, sync=sync)


async def test_a_synced_write_is_synced_and_another_is_not(rig: SimpleNamespace) -> None:
    await put(rig, b"a", sync=True)
    await put(rig, b"b", sync=False)
    assert rig.database.calls == ["write", "sync", "write"]


async def test_a_group_is_synced_if_anything_in_it_must_be(rig: SimpleNamespace) -> None:
    waiting = [rig.committer.stage({(Family.META, b"%d" % n): b"value"}, sync=n == 2) for n in range(5)]
    for done in waiting:
        await done
    assert rig.database.calls == ["write", "sync"]


META = Family.META
BEFORE: Writes = {(META, b"changes"): b"1", (META, b"goes"): b"1", (META, b"stays"): b"1"}
WRITTEN: Writes = {(META, b"changes"): b"2", (META, b"comes"): b"2", (META, b"goes"): None, (META, b"never"): None}


def seen(store: RocksStore) -> dict[bytes, bytes]:
    """Asked one by one and all together."""
    scanned = dict(store.scan(META, b""))
    assert list(scanned) == sorted(scanned)
    names = [key for _, key in {**BEFORE, **WRITTEN}]
    assert {key: value for key in names if (value := store.get(META, key)) is not None} == scanned
    assert list(store.scan(META, b"c", b"changes")) == [found for found in scanned.items() if found[0] == b"comes"]
    assert list(store.scan_keys(META, b"")) == list(scanned)
    assert list(store.scan_keys(META, b"c", b"changes")) == [key for key in scanned if key == b"comes"]
    return scanned


async def test_what_the_disk_has_not_synced_is_not_read(rig: SimpleNamespace) -> None:
    """The database has it by then, and others run while the disk works."""
    await rig.committer.stage(BEFORE, sync=True)
    before = seen(rig.store)
    meanwhile = []
    rig.database.while_syncing = lambda: meanwhile.append(seen(rig.store))

    await rig.committer.stage(WRITTEN, sync=True)

    assert meanwhile == [before]
    assert seen(rig.store) == {b"changes": b"2", b"comes": b"2", b"stays": b"1"}


async def test_a_write_that_the_disk_did_not_sync_is_never_read_and_the_last(rig: SimpleNamespace) -> None:
    await rig.committer.stage(BEFORE, sync=True)
    before = seen(rig.store)

    def broken() -> None:
        raise RuntimeError("IO error: While fdatasync")

    rig.database.while_syncing = broken
    with pytest.raises(StoreFailed, match="did not sync"):
        await rig.committer.stage(WRITTEN, sync=True)
    rig.database.while_syncing = lambda: None

    with pytest.raises(StoreFailed, match="did not sync"):
        await rig.committer.stage({(META, b"changes"): b"3"}, sync=False)
    assert seen(rig.store) == before
