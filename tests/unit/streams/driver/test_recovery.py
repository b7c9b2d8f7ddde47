"""A life begins with all that the topics have: states, what waits, and nobody's late word over a newer one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from driftlog_crdt import DocumentState
from driftlog_schemas import asking, groups
from driftlog_schemas.messages import Command
from driftlog_streams.errors import RecoveryFailed, TopicMadeAnew
from driftlog_streams.faust_driver import recovery
from driftlog_streams.reading import topic_reading
from driftlog_streams.reading.changelog_reader import ChangelogReader
from tests.fake_kafka.broker import Stored
from tests.fake_kafka.clients import Admin
from tests.unit.streams.cloud import change, count, device, key, stock
from tests.unit.streams.driver.fetching import GROUP
from tests.unit.streams.driver.life import CONFLICTS, OPS, PARKED, RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, on_disk, sell, send


def held(lives: Lives, value: bytes | None) -> DocumentState:
    assert value is not None
    return lives.cloud.rules.collections["Stock"].codec.decode(value)


def on_hand(lives: Lives, value: bytes | None) -> object:
    return lives.cloud.rules.collections["Stock"].type.field_value(held(lives, value), "on_hand")


async def one_life(lives: Lives, *seqs: int, folder: str = "a") -> Life:
    """A life that merged these and ended in good order."""
    sell(lives, *seqs)
    life = await merging(lives, folder)
    await life.quiet()
    await life.die()
    return life


async def test_an_emptied_folder_is_filled_from_the_topic(lives: Lives) -> None:
    await one_life(lives, 1, 2)
    heir = lives.start("empty")
    await heir.own(0)

    store = heir.pump.open_stores()[0]
    last = lives.broker.read(STATES)[-1]
    assert store.get(key(stock())) == last.value and store.mark.position == last.offset
    row = lives.broker.read(RECEIPTS)[-1]
    assert row.key is not None and store.row(row.key.decode()) == row.value
    assert heir.pump._mergers[0].work.empty, "nothing is published again"


async def test_a_store_has_the_digests_that_its_topic_tells(lives: Lives) -> None:
    await one_life(lives, 1, 2)
    await one_life(lives, 3, folder="b")
    heir = lives.start("empty")
    await heir.own(0)

    told = groups.parse(lives.broker.read(STATES)[-1].headers).digest
    assert told and heir.pump.open_stores()[0].digest(stock().scope) == told


async def test_a_store_reads_on_where_it_is(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await one_life(lives, 1, 2)
    await one_life(lives, 3, folder="b")
    heir = lives.start("a")
    heir.host._folder = first.host._folder
    await heir.own(0)

    assert heir.host._recovered[0].records == 1
    assert on_hand(lives, heir.pump.open_stores()[0].get(key(stock()))) == 15


async def test_merging_goes_on_at_the_committed_position(lives: Lives) -> None:
    await one_life(lives, 1, 2)
    await one_life(lives, 3, folder="b")

    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 15
    assert len(lives.broker.read(STATES)) == 2


async def test_holes_of_compaction_are_read_over_also_at_the_end(lives: Lives) -> None:
    sell(lives, 1)  # the record whose group they are
    for at in range(6):
        lives.broker.append(STATES, 0, key(stock(f"s{at}")), None, groups.headers(0, last=True))
    lives.broker.remove(STATES, 0, 0, 2, 4, 5)
    heir = lives.start()
    await heir.own(0)

    assert heir.pump.open_stores()[0].mark.position == 5


async def test_an_older_state_that_came_late_is_joined_and_the_whole_is_published_again(lives: Lives) -> None:
    """A frozen worker woke: its word is the last, and must not be taken for the newest."""
    await one_life(lives, 1)
    older = lives.broker.read(STATES)[-1]
    await one_life(lives, 2, 3)
    lives.broker.append(STATES, 0, older.key, older.value, groups.headers(0, last=True))
    heir = await merging(lives, "empty")
    assert on_hand(lives, heir.pump.open_stores()[0].get(key(stock()))) == 15
    await heir.until(lambda: lives.broker.read(STATES)[-1].value != older.value)

    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 15


async def test_a_state_that_no_worker_wrote_is_not_taken(lives: Lives) -> None:
    lives.broker.append(STATES, 0, key(stock("fresh")), b"noise")
    await one_life(lives, 1)
    ours = lives.broker.read(STATES)[-1]
    lives.broker.append(STATES, 0, ours.key, b"noise")
    heir = await merging(lives, "empty")
    store = heir.pump.open_stores()[0]
    assert store.get(key(stock())) == ours.value and store.get(key(stock("fresh"))) != b"noise"
    await heir.until(lambda: lives.broker.read(STATES)[-1].value == ours.value)


async def test_what_is_merged_while_we_read_is_no_strangers(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the log ends was asked before it was: as when a space is moved to another number of partitions while its workers merge."""
    await one_life(lives, 1, 2)
    asked: list[int] = []

    def earlier(consumer: Any, topic: str, partition: int) -> tuple[int, int]:
        begin, end = topic_reading.extent(consumer, topic, partition)
        asked.extend([end] * (topic == OPS))
        return begin, end - (asked == [end] and topic == OPS)

    monkeypatch.setattr(recovery, "extent", earlier)
    heir = lives.start("empty")
    with capture_logs() as logs:
        await heir.own(0)
    assert len(asked) > 1 and not [line for line in logs if line["log_level"] == "warning"]
    recovered = heir.host._recovered[0]
    assert not recovered.stale and not recovered.stale_rows and not recovered.ahead
    assert heir.pump.open_stores()[0].get(key(stock())) == lives.broker.read(STATES)[-1].value


async def test_a_strangers_numbers_cost_one_question_for_all_that_is_read_at_once(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one_life(lives, 1)
    for _ in range(50):
        lives.broker.append(STATES, 0, b"noise", b"noise", groups.headers(1 << 40, last=False))
    asked: list[str] = []

    def counted(consumer: Any, topic: str, partition: int) -> tuple[int, int]:
        asked.append(topic)
        return topic_reading.extent(consumer, topic, partition)

    monkeypatch.setattr(recovery, "extent", counted)
    await lives.start("empty").own(0)
    assert asked.count(OPS) == 2


async def test_rows_are_recovered_into_an_emptied_folder(lives: Lives) -> None:
    await one_life(lives, 1, 2)
    heir = lives.start("empty")
    await heir.own(0)

    (row,) = {r.key: r.value for r in lives.broker.read(RECEIPTS)}.values()
    store = heir.pump.open_stores()[0]
    assert store.row("store-1.1") == row
    assert store.mark.rows == lives.broker.read(RECEIPTS)[-1].offset


async def test_a_late_row_of_another_worker_does_not_take_the_chain_back(lives: Lives) -> None:
    await one_life(lives, 1)
    older = lives.broker.read(RECEIPTS)[-1]
    await one_life(lives, 2)
    newer = lives.broker.read(RECEIPTS)[-1]
    lives.broker.append(RECEIPTS, 0, older.key, older.value)
    heir = await merging(lives, "empty")
    assert heir.pump.open_stores()[0].row("store-1.1") == newer.value
    await heir.until(lambda: lives.broker.read(RECEIPTS)[-1].value == newer.value)


@pytest.mark.parametrize("folder", ["a", "empty"])
async def test_a_group_that_nobody_ended_is_ended_by_the_next_life(lives: Lives, folder: str) -> None:
    """A cut-off worker's record, or the torn end of a flight: edges wait there for the partition's next group."""
    await one_life(lives, 1, 2)
    newest = lives.broker.read(STATES)[-1]
    lives.broker.append(STATES, 0, newest.key, newest.value, groups.headers(1, last=False))
    heir = lives.start(folder)
    await heir.own(0)
    mark = heir.pump.open_stores()[0].mark
    assert mark.position < lives.broker.read(STATES)[-1].offset, "if it dies now the next one finds it, too"
    await heir.until(lambda: groups.parse(lives.broker.read(STATES)[-1].headers).last)

    assert lives.broker.read(STATES)[-1].value == newest.value


async def test_a_conflict_that_was_resolved_is_closed_again_by_the_next_life(lives: Lives) -> None:
    send(lives, "a", change(stock(), "price", "set", 3, 1))
    send(lives, "b", change(stock(), "price", "set", 4, 1, replica="store-2.1"), replica="store-2.1")
    life = await merging(lives)
    await life.quiet()
    (opened,) = lives.broker.read(CONFLICTS)
    send(lives, "c", change(stock(), "price", "set", 5, 2, context={"store-1.1": 1, "store-2.1": 1}))
    await life.quiet()
    resolved = lives.broker.read(CONFLICTS)[-1]
    await life.die()
    lives.broker.append(CONFLICTS, 0, opened.key, opened.value)

    heir = await merging(lives, "empty")
    await heir.until(lambda: lives.broker.read(CONFLICTS)[-1].value == resolved.value)


async def test_what_waits_for_another_op_is_restored_and_goes_on(lives: Lives) -> None:
    send(lives, "second", count(stock(), 3, 2))
    life = await merging(lives)
    await life.quiet()
    assert len(life.topic(PARKED)) == 1 and life.topic(STATES) == []
    await life.die()

    heir = await merging(lives, "empty")
    assert len(heir.pump._mergers[0].parking) == 1
    send(lives, "first", count(stock(), 5, 1))
    await heir.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 8
    await heir.until(lambda: lives.broker.read(PARKED)[-1].value is None)  # what waits no more is taken off the topic
    await heir.die()

    third = await merging(lives, "third")
    assert third.host._recovered[0].parked == []


def make_anew(lives: Lives, topic: str) -> None:
    lives.broker.partition(topic).records.clear()
    lives.broker.partition(topic).end = 0


@pytest.mark.parametrize("kept", [True, False], ids=["with its store", "with an emptied folder"])
async def test_a_state_topic_that_was_made_anew_is_refused_and_its_remedy_brings_every_state_back(
    lives: Lives, kept: bool
) -> None:
    first = await one_life(lives, 1, 2)
    before = lives.broker.read(STATES)[-1].value
    make_anew(lives, STATES)
    heir = lives.start("heir")
    if kept:
        heir.host._folder = first.host._folder
    with pytest.raises(TopicMadeAnew, match="made anew") as failed:
        await heir.own(0)
    assert f"--group {GROUP} --topic {OPS} --reset-offsets --to-earliest" in failed.value.remedy
    assert "delete each one's --data-dir" in failed.value.remedy
    await heir.die()

    lives.broker.committed[GROUP, OPS, 0] = 0
    sell(lives, 3)
    again = await merging(lives, "again")
    await again.quiet()
    assert before != lives.broker.read(STATES)[-1].value and on_hand(lives, lives.broker.read(STATES)[-1].value) == 15


async def test_where_the_first_ops_are_gone_no_remedy_takes_the_stores_away(lives: Lives) -> None:
    first = await one_life(lives, 1, 2)
    make_anew(lives, STATES)
    lives.broker.retain(OPS, 0, 1)
    heir = lives.start("heir")
    heir.host._folder = first.host._folder
    with pytest.raises(TopicMadeAnew) as failed:
        await heir.own(0)
    assert "backup" in failed.value.remedy and "keep each worker's --data-dir" in failed.value.remedy


async def test_what_had_no_effect_does_not_stop_a_worker_over_an_empty_topic(lives: Lives) -> None:
    lives.broker.append(OPS, 0, b"stranger", b"noise")
    lives.broker.append(OPS, 0, b"store-1.1", lives.cloud.batch(Command("nothing", "", stock().scope, 1, ())))
    send(lives, "early", count(stock(), 3, 2, "store-2.1"), replica="store-2.1")
    await one_life(lives)
    assert lives.broker.committed[GROUP, OPS, 0] == 3 and not lives.broker.read(STATES)
    heir = await merging(lives, "empty")
    send(lives, "real", count(stock(), 5, 1))
    await heir.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 5


async def test_a_first_command_that_was_refused_does_not_stop_a_worker_over_an_empty_topic(lives: Lives) -> None:
    """Its device had no right at all, so nothing of it was seen; another's record was taken since."""
    lines = lives.cloud.devices.lines
    lines["store-2"] = device(lives.cloud.identities["store-2"], permissions=())
    send(lives, "refused", count(stock(), 3, 1, "store-2.1"), replica="store-2.1")
    lives.broker.append(OPS, 0, b"store-1.1", lives.cloud.batch(Command("nothing", "", stock().scope, 1, ())))
    await one_life(lives)
    assert lives.broker.committed[GROUP, OPS, 0] == 2 and not lives.broker.read(STATES)
    heir = await merging(lives, "empty")
    send(lives, "real", count(stock(), 5, 1))
    await heir.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 5


async def test_rows_that_a_crash_let_out_ahead_of_their_states_do_not_stop_the_next_worker(lives: Lives) -> None:
    lives.broker.append(OPS, 0, b"stranger", b"noise")
    await one_life(lives)
    sell(lives, 1)
    lives.broker.refusing[STATES] = KafkaError.MSG_SIZE_TOO_LARGE
    first = await merging(lives)
    await first.until(lambda: bool(lives.deaths))
    await first.die()
    lives.broker.refusing.clear()
    assert lives.broker.read(RECEIPTS) and not lives.broker.read(STATES)
    heir = await merging(lives, "empty")
    await heir.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 5


async def test_a_broker_that_is_away_fails_the_recovery(lives: Lives) -> None:
    await one_life(lives, 1)
    heir = lives.start("empty")
    lives.broker.set_up(False)
    with pytest.raises(RecoveryFailed):
        await heir.own(0)


async def test_what_comes_between_our_recovery_and_fausts_is_taken_too(lives: Lives) -> None:
    await one_life(lives, 1)
    first = lives.broker.read(STATES)[-1]
    await one_life(lives, 2, folder="b")
    second = lives.broker.read(STATES)[-1]
    lives.broker.remove(STATES, 0, second.offset)
    lives.broker.partition(STATES).end = second.offset
    heir = lives.start("empty")
    await heir.own(0)
    assert heir.pump.open_stores()[0].get(key(stock())) == first.value

    table = next(iter(heir.host.app.tables.values()))
    table.apply_changelog_batch([_changelog_event(second)])

    store = heir.pump.open_stores()[0]
    assert store.get(key(stock())) == second.value
    assert table.persisted_offset(SimpleNamespace(partition=0)) == second.offset == store.mark.position


async def test_faust_is_told_how_far_the_stores_are(lives: Lives) -> None:
    life = lives.start()
    table = next(iter(life.host.app.tables.values()))
    assert table.persisted_offset(SimpleNamespace(partition=0)) is None
    await life.own(0)
    assert table.persisted_offset(SimpleNamespace(partition=0)) is None
    life.read()
    sell(lives, 1)
    await life.quiet()
    assert table.persisted_offset(SimpleNamespace(partition=0)) == 0
    assert table._changelog_topic_name() == STATES


async def test_recovering_commits_nothing(lives: Lives) -> None:
    await one_life(lives, 1)
    before = dict(lives.broker.committed)
    heir = lives.start("empty")
    await heir.own(0)
    assert lives.broker.committed == before


async def test_the_records_of_a_range_and_no_others(lives: Lives) -> None:
    for value in (b"0", b"1", b"2", b"3"):
        lives.broker.append(STATES, 0, b"a" if value != b"1" else b"b", value)
    reader = ChangelogReader("nowhere")

    assert reader.ends([(STATES, 0), (STATES, 1), (RECEIPTS, 0)]) == {(STATES, 0): 4, (STATES, 1): 0, (RECEIPTS, 0): 0}
    assert [(r.offset, r.key, r.value) for r in reader.records(STATES, 0, range(1, 3))] == [
        (1, b"b", b"1"),
        (2, b"a", b"2"),
    ]
    assert [r.value for r in reader.records(STATES, 0, range(1))] == [b"0"]


async def test_where_a_question_is_refused_the_same_client_learns_who_leads_now(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks on with the leader's epoch that it knew, and is refused for ever; and freeing one may wait for ever."""
    made: list[Admin] = []

    class Holding(Admin):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(lives.broker, config)
            self._fenced = True
            made.append(self)

        def list_offsets(self, *args: Any, **options: Any) -> Any:
            if self._fenced:
                raise KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))
            return super().list_offsets(*args, **options)

        def list_topics(self, timeout: float) -> None:
            self._fenced = False

    monkeypatch.setattr(asking, "AdminClient", Holding)
    reader = ChangelogReader("nowhere")
    assert reader.ends([(STATES, 0)]) == {(STATES, 0): 0}
    assert len(made) == 1


async def test_a_strangers_state_in_an_owned_partition_is_answered(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_streams.faust_driver.mender.CHECK_SECONDS", 0.02)
    life = await merging(lives)
    sell(lives, 1)
    await life.quiet()
    older = life.topic(STATES)[-1]
    sell(lives, 2)
    await life.quiet()
    newest = life.topic(STATES)[-1]
    lives.broker.append(STATES, 0, older.key, older.value, older.headers)
    await life.until(lambda: life.topic(STATES)[-1].value == newest.value)
    await asyncio.sleep(0.05)
    assert len(life.topic(STATES)) == 4, "answered once, and our own answer is no news"


def _changelog_event(record: Any) -> Any:
    return SimpleNamespace(
        message=SimpleNamespace(
            key=record.key, value=record.value, offset=record.offset, headers=list(record.headers), partition=0
        )
    )


# -- a topic that was made anew and filled again


def fill_again(lives: Lives, *states: Stored) -> None:
    """The state topic was deleted and made again while its worker was away, and has these, and more of others."""
    make_anew(lives, STATES)
    lives.broker.topic_ids[STATES] = "second"
    for state in states:
        lives.broker.append(STATES, 0, state.key, state.value, state.headers)
    for _ in range(10):
        lives.broker.append(STATES, 0, b"Stock/s1/gone", None, groups.headers(0, last=True))


async def same_folder(lives: Lives, first: Life) -> Life:
    heir = lives.start("a")
    heir.host._folder = first.host._folder
    await heir.own(0)
    return heir


async def test_a_store_that_was_away_while_its_topic_was_made_anew_and_filled_again_has_both(lives: Lives) -> None:
    """By its offsets alone nothing tells: the new topic is longer. Going on behind what the store had would pass over a newer state for good."""
    send(lives, "only here", count(stock("oat"), 2, 1))
    first = await one_life(lives, 1, 2)
    await one_life(lives, 3, folder="b")
    newest = lives.broker.read(STATES)[-1]
    fill_again(lives, newest)

    heir = await same_folder(lives, first)
    store = heir.pump.open_stores()[0]
    assert on_hand(lives, store.get(key(stock()))) == 15, "what only the topic has"
    heir.read()
    sell(lives, 4)
    await heir.quiet()
    told = {record.key: record.value for record in lives.broker.read(STATES) if record.value}
    assert on_hand(lives, told[key(stock())]) == 20
    assert on_hand(lives, told[key(stock("oat"))]) == 2, "what only the store had is published again"
    await heir.die()

    again = await same_folder(lives, first)
    assert again.host._recovered[0].records == 0, "it goes on where it was"


async def test_a_worker_that_dies_before_it_has_answered_joins_them_again(lives: Lives) -> None:
    send(lives, "only here", count(stock("oat"), 2, 1))
    first = await one_life(lives, 1, 2)
    await one_life(lives, 3, folder="b")
    fill_again(lives, lives.broker.read(STATES)[-1])

    killed = await same_folder(lives, first)
    await killed.die()
    heir = await same_folder(lives, first)
    heir.read()
    sell(lives, 4)
    await heir.quiet()
    told = {record.key: record.value for record in lives.broker.read(STATES) if record.value}
    assert (on_hand(lives, told[key(stock())]), on_hand(lives, told[key(stock("oat"))])) == (20, 2)


async def test_a_store_that_does_not_know_its_topics_learns_them_and_reads_on(lives: Lives) -> None:
    """It is of a release that did not ask."""
    first = await one_life(lives, 1, 2)
    with on_disk(first) as store:
        store.follow("", store.mark)
    heir = await same_folder(lives, first)
    assert heir.host._recovered[0].records == 0
    assert heir.pump.open_stores()[0].topics == "first first first"
