"""A watcher misses nothing, or is told that it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from driftlog_edge.asking import sessions
from driftlog_edge.asking.progress import Progress
from driftlog_edge.asking.watch import QUEUE, WINDOW, Change, Watchers
from driftlog_edge.errors import TimedOut
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.identity import DocumentId

TEA, COFFEE, ELSEWHERE = (
    DocumentId("Stock", "s1", "tea"),
    DocumentId("Stock", "s1", "coffee"),
    DocumentId("Day", "s2", "x"),
)


async def following(watch: AsyncIterator[Change], count: int) -> list[Change]:
    return [await asyncio.wait_for(anext(watch), 30) for _ in range(count)]


async def test_changes_come_in_order_from_the_moment_of_asking() -> None:
    watchers = Watchers("a")
    watchers.changed(ELSEWHERE)
    watch = watchers.watch()
    watchers.changed(TEA)
    watchers.changed(COFFEE)

    assert await following(watch, 2) == [Change("a-2", TEA), Change("a-3", COFFEE)]


async def test_only_what_was_asked_for_comes() -> None:
    watchers = Watchers("a")
    stock, scope = watchers.watch("Stock"), watchers.watch(scope="s2")
    for document in (ELSEWHERE, TEA, ELSEWHERE):
        watchers.changed(document)

    assert [c.id for c in await following(stock, 1)] == ["a-2"]
    assert [c.id for c in await following(scope, 2)] == ["a-1", "a-3"]


async def test_who_comes_back_gets_what_was_missed_by_the_same_filter_and_then_what_comes() -> None:
    watchers = Watchers("a")
    for document in (TEA, ELSEWHERE, COFFEE):
        watchers.changed(document)
    watch = watchers.watch("Stock", last_id="a-1")
    assert await following(watch, 1) == [Change("a-3", COFFEE)]
    watchers.changed(TEA)

    assert await following(watch, 1) == [Change("a-4", TEA)]


@pytest.mark.parametrize("last_id", ["b-1", "nonsense", "a-", "a-x", "a-" + "9" * 5000])
async def test_an_id_of_another_life_means_read_everything_again(last_id: str) -> None:
    watchers = Watchers("a")
    watchers.changed(TEA)
    assert await following(watchers.watch(last_id=last_id), 1) == [Change("a-1", None)]


async def test_an_id_that_fell_out_of_the_window_means_read_everything_again() -> None:
    watchers = Watchers("a")
    for _ in range(WINDOW + 2):
        watchers.changed(TEA)
    assert (await following(watchers.watch(last_id="a-1"), 1))[0].document is None
    assert (await following(watchers.watch(last_id="a-2"), 1))[0] == Change("a-3", TEA)


async def test_a_watcher_that_does_not_keep_up_is_told_to_read_everything_again() -> None:
    watchers = Watchers("a")
    watch = watchers.watch()
    watchers.changed(TEA)
    await following(watch, 1)
    for _ in range(QUEUE + 1):
        watchers.changed(TEA)

    (told,) = await following(watch, 1)
    assert told == Change(f"a-{QUEUE + 2}", None)
    watchers.changed(COFFEE)
    assert await following(watch, 1) == [Change(f"a-{QUEUE + 3}", COFFEE)]


async def test_watches_end_when_the_agent_does_and_leave_nothing_behind() -> None:
    watchers = Watchers("a")

    async def all_of_it() -> list[Change]:
        return [change async for change in watchers.watch()]

    task = asyncio.create_task(all_of_it())
    await asyncio.sleep(0)
    watchers.changed(TEA)
    await asyncio.sleep(0)
    watchers.close()
    assert [c.document for c in await asyncio.wait_for(task, 30)] in ([TEA], [])
    assert not watchers._queues


async def test_a_watch_for_a_while_ends_and_who_comes_back_misses_nothing() -> None:
    watchers = Watchers("a")
    since = watchers.now
    assert [change async for change in watchers.watch("Stock", "", since, seconds=0.0)] == []
    assert not watchers._queues
    watchers.changed(TEA)
    assert [change async for change in watchers.watch("Stock", "", since, seconds=0.0)] == [Change("a-1", TEA)]


def test_a_session_remembers_the_most_seen_of_each_document() -> None:
    token = sessions.extend("", {"d1": {"a.1": 2}})
    token = sessions.extend(token, {"d1": {"a.1": 1, "b.1": 4}, "d2": {"a.1": 1}})
    assert sessions.parse(token) == {"d1": {"a.1": 2, "b.1": 4}, "d2": {"a.1": 1}}


def test_a_session_keeps_the_last_documents_only() -> None:
    token = ""
    for number in range(sessions.MAX_DOCUMENTS + 5):
        token = sessions.extend(token, {f"d{number}": {"a.1": 1}})
    assert list(sessions.parse(token)) == [f"d{n}" for n in range(5, sessions.MAX_DOCUMENTS + 5)]


@pytest.mark.parametrize("token", ["%%%", "bm8=", "W10=", "eyJhIjogMX0=", "eyJhIjogeyJiIjogIngifX0=", "ümlaut"])
def test_a_foreign_session_token_is_refused_by_name(token: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        sessions.parse(token)
    assert raised.value.field == "session"


async def test_a_wait_ends_when_it_holds_when_it_cannot_and_when_time_is_up() -> None:
    progress, holds = Progress(), asyncio.Event()
    waiting = asyncio.create_task(progress.until(holds.is_set, 5, "it"))
    await asyncio.sleep(0)
    holds.set()
    progress.moved()
    await waiting

    def no_sense() -> None:
        raise InvalidInput("x", "never")

    with pytest.raises(InvalidInput):
        await progress.until(lambda: False, 5, "it", check=no_sense)
    with pytest.raises(TimedOut) as raised:
        await progress.until(lambda: False, 0.01, "it", command_id="c1")
    assert raised.value.command_id == "c1"
