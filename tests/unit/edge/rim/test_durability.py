"""What is promised to be durable reaches RocksDB as a synced write: from the committer's group to the flag of the write itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_edge.ports import Family
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.rocks import RocksStore


class Watched:
    """The database below a store, and the sync flag of every write."""

    def __init__(self, below: Any) -> None:
        self._below = below
        self.flags: list[bool] = []

    def write(self, batch: Any, options: Any) -> None:
        self.flags.append(options.sync)
        self._below.write(batch, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimpleNamespace]:
    store = RocksStore(tmp_path / "store")
    watched = Watched(store._opened.db)
    monkeypatch.setattr(store, "_opened", store._opened._replace(db=watched))
    committer = Committer(Journal(store), store)
    yield SimpleNamespace(committer=committer, flags=watched.flags)
    await committer.drained()
    committer.close()
    store.close()


async def put(rig: SimpleNamespace, key: bytes, *, sync: bool) -> None:
    await rig.committer.stage({(Family.META, key): b"value"}, sync=sync)


async def test_a_synced_write_is_synced_and_another_is_not(rig: SimpleNamespace) -> None:
    await put(rig, b"a", sync=True)
    await put(rig, b"b", sync=False)
    assert rig.flags == [True, False]


async def test_a_group_is_synced_if_anything_in_it_must_be(rig: SimpleNamespace) -> None:
    waiting = [rig.committer.stage({(Family.META, b"%d" % n): b"value"}, sync=n == 2) for n in range(5)]
    for done in waiting:
        await done
    assert rig.flags == [True]
