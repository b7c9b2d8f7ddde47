"""A read never shows what is not durable; what was answered once is answered the same; a caller that goes away takes nothing with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from driftlog_edge import EdgeAgent
from driftlog_edge.errors import DiskFull, NotFound
from driftlog_edge.ports import Writes
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.shown import Shown
from driftlog_edge.store.views import compute
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import codecs_of
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import COLLECTIONS, Replica
from tests.unit.edge.shop import CONTRACT, Stock
from tests.unit.edge.waiting import until

TEA = DocumentId("Stock", "s1", "tea")


class SlowDisk:
    """Takes its time for what is synced, then takes it or does not. What is not synced is written on the agent's loop, and only into memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.go_on, self.full = threading.Event(), threading.Event(), False
        self.go_on.set()
        honest = RocksStore.write

        def write(store: RocksStore, writes: Writes, *, sync: bool) -> None:
            if sync:
                self.asked.set()
                assert self.go_on.wait(30)
            if self.full:
                raise DiskFull("no space left", "free some")
            honest(store, writes, sync=sync)

        monkeypatch.setattr(RocksStore, "write", write)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Whatever is written now waits."""
        self.asked.clear()
        self.go_on.clear()
        try:
            yield
        finally:
            self.go_on.set()


@pytest.fixture
async def disk(agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    await agent.offline()
    return SlowDisk(monkeypatch)


async def begun(agent: EdgeAgent, disk: SlowDisk, key: str, qty: int = 5) -> asyncio.Task[object]:
    """A command that waits for the disk."""
    task = asyncio.create_task(agent.run("receive", store="s1", sku="tea", qty=qty, command_id=key))
    await until(disk.asked.is_set)
    await asyncio.sleep(0)
    return task


async def test_what_waits_for_the_disk_is_not_shown(agent: EdgeAgent, disk: SlowDisk) -> None:
    with disk.busy():
        task = await begun(agent, disk, "c1")
        with pytest.raises(NotFound):
            await agent.read(Stock, "s1", "tea")
        with pytest.raises(NotFound):
            agent.command("c1")
        assert (
            await agent.page(Stock, "s1"),
            (await agent.log.last(10)).lines,
            (await agent.log.pending(10)).lines,
        ) == ([], [], [])
    await task
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5
    assert [line.command.id for line in (await agent.log.last(10)).lines] == ["c1"]
    assert agent.command("c1").status == "pending"


async def test_what_the_disk_refuses_was_never_shown_and_takes_along_what_was_built_on_it(
    agent: EdgeAgent, disk: SlowDisk
) -> None:
    await agent.run("receive", store="s1", sku="tea", qty=1)
    with disk.busy():
        first = await begun(agent, disk, "c1")
        second = await begun(agent, disk, "c2", qty=10)
        reading = await agent.read(Stock, "s1", "tea")
        assert (reading.value["on_hand"], reading.pending, dict(reading.version)[agent.status()["replica"]]) == (
            1,
            1,
            1,
        )
        disk.full = True
    for task in (first, second):
        with pytest.raises(DiskFull):
            await task
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 1
    disk.full = False
    answer = await agent.run("receive", store="s1", sku="tea", qty=1, command_id="c2")
    assert (answer.result, answer.dots[0][2]) == (2, 2)


async def test_a_key_that_was_answered_is_answered_the_same_on_a_full_disk(agent: EdgeAgent, disk: SlowDisk) -> None:
    first = await agent.run("receive", store="s1", sku="tea", qty=5, command_id="c1")
    disk.full = True
    with disk.busy():
        other = await begun(agent, disk, "c2")
        again = await agent.run("receive", store="s1", sku="tea", qty=5, command_id="c1")
        assert (again.result, again.dots) == (first.result, first.dots)
    with pytest.raises(DiskFull):
        await other
    again = await agent.run("receive", store="s1", sku="tea", qty=5, command_id="c1")
    assert (again.result, again.dots) == (first.result, first.dots)


async def test_a_key_whose_first_command_the_disk_refuses_is_refused_too(agent: EdgeAgent, disk: SlowDisk) -> None:
    with disk.busy():
        first = await begun(agent, disk, "c1")
        again = await begun(agent, disk, "c1")
        disk.full = True
    for task in (first, again):
        with pytest.raises(DiskFull):
            await task


async def test_a_caller_that_goes_away_in_the_middle_leaves_an_op_that_ships_and_is_told_of(
    agent: EdgeAgent, disk: SlowDisk, cloud: Cloud, route: CloudRoute
) -> None:
    await agent.online()
    await until(lambda: agent.status()["connection"] != "OFFLINE")
    told = asyncio.create_task(anext(agent.watch(Stock, "s1")))
    await asyncio.sleep(0)
    with disk.busy():
        task = await begun(agent, disk, "c1")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    change = await asyncio.wait_for(told, 30)
    assert change.document == TEA
    await until(lambda: [c.id for batch in cloud.batches for c in batch.commands] == ["c1"])
    await until(lambda: agent.command("c1").status == "merged")


def test_the_shown_view_follows_group_by_group_without_being_made_anew(
    lives: Callable[..., Replica], ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = lives()
    made = []
    monkeypatch.setattr(
        "driftlog_edge.store.shown.compute", lambda *args, honest=compute: made.append(args[-1]) or honest(*args)
    )
    codecs = codecs_of(COLLECTIONS, ids)
    shown = Shown(CONTRACT, codecs, replica.store, replica.journal, replica.views)

    def on_hand() -> int:
        view = shown.get(TEA)
        return int(view.collection.document.field_value(view.state, "on_hand"))  # type: ignore[call-overload]

    for number in range(1, 6):
        replica.run("receive", store="s1", sku="tea", qty=1)
        if number > 1:
            write_one(replica)
        assert on_hand() == number - 1
    write_one(replica)
    assert (on_hand(), len(shown.get(TEA).pending), len(made)) == (5, 5, 1)
    assert shown.get(TEA) is replica.views.get(TEA), "nothing waits: one view for both"


def write_one(replica: Replica) -> None:
    group = replica.journal.take(limit=1)
    replica.store.write(dict(group[0].writes), sync=True)
    replica.journal.written(group)
