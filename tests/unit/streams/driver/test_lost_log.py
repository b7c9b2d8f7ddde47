"""An op topic that was deleted and made again: nobody goes on in it before it leads on behind the old one, and whoever has nothing to lose begins in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_streams.errors import LogMadeAnew, TopicReplaced
from driftlog_streams.faust_driver import topic_watch
from driftlog_streams.faust_driver.topic_watch import TopicWatch
from tests.fake_kafka.broker import Stored
from tests.unit.streams.cloud import count, key, stock
from tests.unit.streams.driver.fetching import GROUP
from tests.unit.streams.driver.life import OPS, RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, sell, send
from tests.unit.streams.driver.test_recovery import make_anew, on_hand, one_life, same_folder


def lose(lives: Lives) -> list[Stored]:
    """The op topic is made anew, and the group's commits go with the old one."""
    had = lives.broker.read(OPS)
    make_anew(lives, OPS)
    lives.broker.topic_ids[OPS] = "second"
    lives.broker.committed.pop((GROUP, OPS, 0), None)
    return had


async def heir_of(lives: Lives, first: Life, *, kept: bool) -> Life:
    if kept:
        return await same_folder(lives, first)
    heir = lives.start("empty")
    await heir.own(0)
    return heir


@pytest.mark.parametrize("kept", [True, False], ids=["with its store", "with an emptied folder"])
@pytest.mark.parametrize("filled", [0, 1, 9], ids=["empty", "shorter", "longer"])
async def test_nobody_goes_on_in_a_log_that_counts_anew(lives: Lives, kept: bool, filled: int) -> None:
    first = await one_life(lives, 1, 2, 3)
    lose(lives)
    for number in range(filled):
        send(lives, f"new {number}", count(stock("oat"), 1, 1, f"store-2.{number}"), replica=f"store-2.{number}")
    states = lives.broker.read(STATES)
    with pytest.raises(LogMadeAnew, match="the topic was made anew") as refused:
        await heir_of(lives, first, kept=kept)
    assert "driftlog topics renumber" in refused.value.remedy
    assert lives.broker.read(STATES) == states, "nothing is published over what there is"


@pytest.mark.parametrize("kept", [True, False], ids=["with its store", "with an emptied folder"])
async def test_a_commit_that_outlived_the_topic_says_nothing(lives: Lives, kept: bool) -> None:
    first = await one_life(lives, 1, 2, 3)
    committed = lives.broker.committed[GROUP, OPS, 0]
    lose(lives)
    lives.broker.committed[GROUP, OPS, 0] = committed
    with pytest.raises(LogMadeAnew):
        await heir_of(lives, first, kept=kept)


@pytest.mark.parametrize("kept", [True, False], ids=["with its store", "with an emptied folder"])
async def test_a_log_that_begins_behind_the_old_one_leads_on(lives: Lives, kept: bool) -> None:
    first = await one_life(lives, 1, 2, 3)
    had = lose(lives)
    for _ in had:
        lives.broker.append(OPS, 0, b"", b"")
    lives.broker.retain(OPS, 0, len(had))
    lives.broker.committed[GROUP, OPS, 0] = len(had)
    heir = await heir_of(lives, first, kept=kept)
    heir.read()
    sell(lives, 4)
    await heir.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 20


async def test_a_topic_that_came_back_as_it_was_leads_on(lives: Lives) -> None:
    first = await one_life(lives, 1, 2, 3)
    for record in lose(lives):
        lives.broker.append(OPS, 0, record.key, record.value, record.headers)
    heir = await same_folder(lives, first)
    store = heir.pump.open_stores()[0]
    assert (store.log, store.get(key(stock()))) == ("second", lives.broker.read(STATES)[-1].value)


async def test_where_nothing_was_merged_a_new_log_is_as_good(lives: Lives) -> None:
    first = lives.start("a")
    await first.own(0)
    await first.die()
    lose(lives)
    heir = await same_folder(lives, first)
    heir.read()
    sell(lives, 1)
    await heir.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 5


async def test_a_strangers_row_ahead_of_the_log_stops_nobody(lives: Lives) -> None:
    """It names a batch that there never was; another row tells the truth."""
    await one_life(lives, 1, 2)
    row = lives.cloud.rules.records.decode_chain_row(lives.broker.read(RECEIPTS)[-1].value or b"")
    entry = replace(row.entries[-1], offset=7_000)
    forged = replace(row, replica="store-9.1", device_id="store-9", offset=7_000, entries=(*row.entries[:-1], entry))
    lives.broker.append(RECEIPTS, 0, b"store-9.1", lives.cloud.rules.records.encode_chain_row(forged))
    lives.broker.committed.pop((GROUP, OPS, 0))
    heir = lives.start("empty")
    await heir.own(0)
    assert heir.pump.open_stores()[0].get(key(stock())) is not None


async def test_a_strangers_row_stops_nobody_where_nothing_was_merged(lives: Lives) -> None:
    """There is no other row yet that could tell the truth."""
    await one_life(lives, 1)
    row = lives.cloud.rules.records.decode_chain_row(lives.broker.read(RECEIPTS)[-1].value or b"")
    lose(lives)
    for topic in (STATES, RECEIPTS):
        make_anew(lives, topic)
    forged = replace(row, offset=7_000, entries=(replace(row.entries[-1], offset=7_000),))
    lives.broker.append(RECEIPTS, 0, row.replica.encode(), lives.cloud.rules.records.encode_chain_row(forged))
    heir = lives.start("empty")
    await heir.own(0)
    heir.read()
    send(lives, "new", count(stock("oat"), 1, 1, "store-2.1"), replica="store-2.1")
    await heir.quiet()
    assert lives.broker.read(STATES)[-1].key == key(stock("oat"))


async def test_a_row_that_something_else_has_moved_on_is_judged_by_its_newest_batch(lives: Lives) -> None:
    """That of reactions tells of calls behind its newest batch."""
    await one_life(lives, 1, 2)
    last = lives.broker.read(RECEIPTS)[-1]
    row = lives.cloud.rules.records.decode_chain_row(last.value or b"")
    moved = lives.cloud.rules.records.encode_chain_row(replace(row, offset=row.offset + 1))
    lives.broker.append(OPS, 0, b"", b"")
    lives.broker.append(RECEIPTS, 0, last.key, moved)
    lives.broker.committed.pop((GROUP, OPS, 0))
    heir = lives.start("empty")
    await heir.own(0)
    assert heir.pump.open_stores()[0].get(key(stock())) is not None


async def test_a_worker_that_runs_ends_when_a_topic_is_another_one(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_watch, "LOOK_SECONDS", 0.01)
    life = await merging(lives)
    sell(lives, 1)
    await life.quiet()
    assert not life.died
    lives.broker.topic_ids[OPS] = "second"
    await life.until(lambda: bool(life.died))
    assert isinstance(life.died[0], TopicReplaced) and "the op topic" in str(life.died[0])


async def test_what_nobody_has_taken_over_yet_is_not_asked_for() -> None:
    asked: list[int] = []

    def ask() -> tuple[str, str]:
        asked.append(1)
        return "a", "b"

    await TopicWatch(lambda: None, ask).look()
    assert asked == []
    await TopicWatch(lambda: ("a", "b"), ask).look()
    with pytest.raises(TopicReplaced, match="a topic of states"):
        await TopicWatch(lambda: ("x", "b"), ask).look()
