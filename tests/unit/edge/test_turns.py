"""Whole agents with long queues: what is done between two returns to the loop has a bound, and what a command costs in all does not grow.

Counted in work, never in time: commands decoded, entries read. The units that it is made of are in `test_linear`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.outgoing.outbox import SEALED_OPS
from driftlog_edge.store import logged
from driftlog_edge.store.lives import FORKED
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import PARTITIONS, app
from tests.unit.edge.waiting import until

S1 = partition_of("s1", PARTITIONS)
SHORT, LONG = 500, 2000


class Work:
    """Counts what is done on the loop: in all, and the most in one turn."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._turn: Counter[str] = Counter()
        self._counting = threading.get_ident()

    def clear(self) -> None:
        self.total.clear()
        self.most.clear()
        self._turn.clear()

    def did(self, what: str) -> None:
        if threading.get_ident() != self._counting:
            return
        if not self._turn:
            asyncio.get_running_loop().call_soon(self._turn.clear)
        self._turn[what] += 1
        self.total[what] += 1
        self.most[what] = max(self.most[what], self._turn[what])


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    counted = Work()

    def count(owner: Any, name: str, what: str) -> None:
        honest = getattr(owner, name)

        def counting(*args: Any, **options: Any) -> Any:
            counted.did(what)
            return honest(*args, **options)

        monkeypatch.setattr(owner, name, counting)

    count(logged, "from_json", "commands decoded")
    count(RocksStore, "get", "entries read")

    def count_each(name: str) -> None:
        honest = getattr(RocksStore, name)

        def counting(*args: Any) -> Iterator[Any]:
            for found in honest(*args):
                counted.did("entries read")
                yield found

        monkeypatch.setattr(RocksStore, name, counting)

    for name in ("scan", "scan_keys"):
        count_each(name)
    return counted


def settings(folder: Path) -> EdgeConfig:
    folder.mkdir()
    Identity.create("store-1").save(folder / "identity.json")
    return EdgeConfig(data_dir=folder / "data", identity=folder / "identity.json", scopes=["s1"])


async def taken_back(folder: Path, work: Work, commands: int, documents: int, *, over: bool) -> None:
    """From so many commands that wait, to none; `over` where their life has ended meanwhile."""
    ids = FixedIds()
    async with EdgeAgent(app, settings(folder), route=CloudRoute(Cloud(ids)), ids=ids) as agent:
        await agent.offline()
        for number in range(commands):
            await agent.run("receive", store="s1", sku=f"sku-{number % documents}", qty=1, durability="os")
        if over:
            lives = agent._vitals._lives
            chain = replace(lives.chain("retail", S1), fork=FORKED)
            await agent._committer.stage(lives.written("retail", S1, chain))
        work.clear()
        await agent.online()
        await until(lambda: not agent._views.backlog)
        assert (agent.status()["replica"] != agent.status()["lives"][0]["replica"]) is over


@pytest.mark.slow
@pytest.mark.parametrize("over", [False, True], ids=["sent", "taken into a new life"])
@pytest.mark.parametrize("documents", [10, 250])
async def test_a_queue_is_taken_back_in_short_turns_and_costs_the_same_for_each_command(
    tmp_path: Path, work: Work, documents: int, *, over: bool
) -> None:
    each = []
    for commands in (SHORT, LONG):
        await taken_back(tmp_path / str(commands), work, commands, documents, over=over)
        each.append({name: count / commands for name, count in work.total.items()})
        assert work.most["commands decoded"] <= 2 * SEALED_OPS < LONG, "one batch, and a step of something else"
        assert work.most["entries read"] <= 6 * SEALED_OPS < LONG
    short, long = each
    assert short.keys() == long.keys() == {"commands decoded", "entries read"}
    for name in short:
        assert long[name] <= 1.2 * short[name], (name, short, long)
