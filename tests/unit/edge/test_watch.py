"""A watcher misses nothing, or is told that it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from driftlog_edge.asking import sessions
from driftlog_edge.asking import watch as watch_module
from driftlog_edge.asking.progress import Progress
from driftlog_edge.asking.watch import Change, Passed, Watchers
from driftlog_edge.errors import TimedOut
from driftlog_edge.store import changes
from driftlog_edge.store.changes import ChangeLog
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.identity import DocumentId, document_key

TEA, COFFEE, ELSEWHERE = (
    DocumentId("Stock", "s1", "tea"),
    DocumentId("Stock", "s1", "coffee"),
    DocumentId("Day", "s2", "x"),
)


class Told:
    """Watchers over the log of a store on the disk."""

    def __init__(self, path: Path, run: str = "a") -> None:
        self.store = RocksStore(path)
        self.log = ChangeLog(self.store, run)
        self.log.open(b"1")
        self.watchers = Watchers(self.log)
        self.watch, self.events = self.watchers.watch, self.watchers.events

    def changed(self, *documents: DocumentId) -> None:
        """In one group."""
        self.log.write({}, [document_key(document) for document in documents])

    @property
    def now(self) -> str:
        return self.watchers.now


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path / "data")
    assert made.now == "a-1", "what a folder begins with"
    yield made
    made.store.close()


async def following(watch: AsyncIterator[Change], count: int) -> list[Change]:
    return [await asyncio.wait_for(anext(watch), 30) for _ in range(count)]


async def test_changes_come_in_order_from_the_moment_of_asking(told: Told) -> None:
    told.changed(ELSEWHERE)
    watch = told.watch()
    told.changed(TEA)
    told.changed(COFFEE)

    assert await following(watch, 2) == [Change("a-3", TEA), Change("a-4", COFFEE)]


async def test_only_what_was_asked_for_comes(told: Told) -> None:
    stock, scope = told.watch("Stock"), told.watch(scope="s2")
    for document in (ELSEWHERE, TEA, ELSEWHERE):
        told.changed(document)

    assert [c.id for c in await following(stock, 1)] == ["a-3"]
    assert [c.id for c in await following(scope, 2)] == ["a-2", "a-4"]


async def test_who_comes_back_gets_what_was_missed_by_the_same_filter_and_then_what_comes(told: Told) -> None:
    told.changed(TEA, ELSEWHERE, COFFEE)
    watch = told.watch("Stock", last_id="a-2")
    assert await following(watch, 1) == [Change("a-4", COFFEE)]
    told.changed(TEA)

    assert await following(watch, 1) == [Change("a-5", TEA)]


async def test_who_comes_back_to_another_run_gets_what_was_missed_in_both(told: Told, tmp_path: Path) -> None:
    since = told.now
    told.changed(TEA)
    told.store.close()
    later = Told(tmp_path / "data", "b")
    later.changed(COFFEE)
    assert await following(later.watch(last_id=since), 2) == [Change("a-2", TEA), Change("b-3", COFFEE)]
    assert await following(later.watch(last_id="a-2"), 1) == [Change("b-3", COFFEE)]
    later.store.close()


@pytest.mark.parametrize("last_id", ["b-1", "nonsense", "a-", "a-x", "-1", "a-\u0661", "a-3", "a-" + "9" * 5000])
async def test_an_id_that_nobody_gave_out_means_read_everything_again(told: Told, last_id: str) -> None:
    told.changed(TEA)
    watch = told.watch(last_id=last_id)
    assert await following(watch, 1) == [Change("a-2", None)]
    told.changed(COFFEE)
    assert await following(watch, 1) == [Change("a-3", COFFEE)], "from there on it goes on"


async def test_an_id_that_is_not_kept_any_more_means_read_everything_again(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "KEPT", 5)
    for _ in range(6):
        told.changed(TEA)
    assert (await following(told.watch(last_id="a-2"), 1)) == [Change("a-7", None)]
    assert (await following(told.watch(last_id="a-3"), 1)) == [Change("a-4", TEA)]


async def test_a_watcher_far_behind_reads_from_the_store_and_one_too_far_is_told_to_read_everything_again(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RECENT", 10)
    monkeypatch.setattr(watch_module, "AT_ONCE", 7)
    watch, slow = told.watch(), told.watch()
    told.changed(TEA)
    await following(slow, 1)
    for _ in range(100):
        told.changed(TEA, COFFEE)
    ids = [change.id for change in await following(watch, 201)]
    assert ids == [f"a-{number}" for number in range(2, 203)], "nothing is left out"

    monkeypatch.setattr(changes, "KEPT", 5)
    told.changed(TEA)
    assert await following(slow, 1) == [Change("a-203", None)]
    told.changed(COFFEE)
    assert await following(slow, 1) == [Change("a-204", COFFEE)]


async def test_a_watcher_of_what_does_not_change_is_told_how_far_it_has_come(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "PASSED_OVER", 3)
    events = told.events("Stock", seconds=30)
    told.changed(TEA)
    for _ in range(7):
        told.changed(ELSEWHERE)
    told.changed(COFFEE)
    assert await anext(events) == [
        Change("a-2", TEA),
        Passed("a-5"),
        Passed("a-8"),
        Change("a-10", COFFEE),
    ]


async def test_a_thousand_watchers_keep_nothing_of_a_change(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "RECENT", 150)
    watches = [told.watch(seconds=30) for _ in range(1000)]
    waiting = [asyncio.ensure_future(anext(watch)) for watch in watches]
    await asyncio.sleep(0)
    for _ in range(50):
        told.changed(TEA, COFFEE)
    assert {change.id for change in await asyncio.gather(*waiting)} == {"a-2"}
    assert len(told.watchers._recent) <= 2 * 150
    assert [change.id for change in await following(watches[-1], 99)][-1] == told.now


async def test_watches_end_when_the_agent_does(told: Told) -> None:
    async def all_of_it() -> list[Change]:
        return [change async for change in told.watch()]

    task = asyncio.create_task(all_of_it())
    await asyncio.sleep(0)
    told.changed(TEA)
    await asyncio.sleep(0)
    told.watchers.close()
    assert [c.document for c in await asyncio.wait_for(task, 30)] in ([TEA], [])
    assert await asyncio.wait_for(all_of_it(), 30) == [], "nor does one begin"


async def test_a_watch_for_a_while_ends_and_who_comes_back_misses_nothing(told: Told) -> None:
    since = told.now
    assert [change async for change in told.watch("Stock", "", since, seconds=0.0)] == []
    told.changed(TEA)
    assert [change async for change in told.watch("Stock", "", since, seconds=0.0)] == [Change("a-2", TEA)]


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
