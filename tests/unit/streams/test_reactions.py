"""Reactions: what follows a change in another partition, once, whatever dies on the way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from driftlog_schemas import bounds
from driftlog_schemas.identity import REACTION_REPLICA
from driftlog_schemas.messages import CommandOutcome, Reactions, Unlisted, Verdict
from driftlog_streams.core import calls, emitting, reaction_book
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.decision import Decision
from driftlog_streams.core.parking import Blocker
from driftlog_streams.core.rules import MAX_RECORD_BYTES, SpaceRules
from driftlog_streams.core.trial import Overrun
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.replaying.open_calls import take_over
from driftlog_streams.replaying.rebuild import Rebuild
from tests.few import few
from tests.unit.streams import reacting
from tests.unit.streams.cloud import IDS, NOW_MS
from tests.unit.streams.reacting import HERE, THERE, World


@pytest.fixture(autouse=True)
def _sound() -> Iterator[None]:
    reacting.broken.clear()
    yield
    reacting.broken.clear()
    reacting.leaving.clear()


def test_a_change_here_makes_a_command_there() -> None:
    world = World()
    world.transfer("1", 5)
    world.settle()
    assert world.stock() == (5, 1)
    assert world.row(1).reactions.waiting == ()
    assert world.quarantined == []


@pytest.mark.parametrize("seed", few(range(25), 5))
def test_the_same_change_merged_again_after_any_crash_takes_effect_once(seed: int) -> None:
    world, chance = World(), random.Random(seed)
    for number in range(12):
        world.transfer(str(number), 1 + number)
    died = world.live(chance, crashes=6)
    assert died > 0
    assert world.stock() == (sum(range(1, 13)), 12)
    assert world.quarantined == []


def test_calls_that_come_twice_are_known_by_their_position() -> None:
    world = World()
    world.transfer("1", 5)
    world.settle()
    calls = world.partitions[1].log[0]
    world.partitions[1].log.append(calls)
    world.settle()
    assert world.stock() == (5, 1)


def test_what_is_merged_once_more_before_it_leaves_calls_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker dies when all that a record calls for is delivered, and nothing else of it. The next one is slow: a guard is ended for time."""
    world = World()
    world.transfers({"1": 5, "2": 7})
    world.step(0)
    for record in world.mergers[0].seal().outcomes:
        world.delivered(record)
    world.start()
    net, ended = world.mergers[0]._net, list[str]()
    decide = net.decide

    def once_too_slow(arrival: Arrival, known: CommandOutcome | None) -> Decision | Blocker:
        if arrival.command.id.startswith("send-2") and not ended:
            ended.append(arrival.command.id)
            raise Overrun("it did not end")
        return decide(arrival, known)

    monkeypatch.setattr(net, "decide", once_too_slow)
    world.settle()
    assert ended and world.stock() == (12, 2)


@pytest.mark.parametrize("what", ["goods_arrive", "arrive"])
def test_one_that_ends_the_program_is_set_aside(what: str) -> None:
    world = World()
    reacting.leaving.add(what)
    world.transfer("1", 5)
    world.settle()
    reacting.leaving.clear()
    (one,) = world.quarantined
    assert "SystemExit" in one.reason
    world.again()
    world.settle()
    assert world.stock() == (5, 1)


def test_two_owners_that_write_one_batch_are_told_apart_by_the_chain() -> None:
    world = World()
    world.transfer("1", 5)
    world.transfer("2", 7)
    world.step(0, 2)
    world.fly(0)
    world.step(1, 5)
    world.react(1)
    world.under_way[1] = 0
    world.react(1)
    world.settle()
    assert world.stock() == (12, 2)


def test_a_replay_runs_no_reaction() -> None:
    world = World()
    world.transfer("1", 5)
    world.settle()
    replay = World(cloud=False)
    replay.devices = world.devices
    for partition, lived in zip(replay.partitions, world.partitions, strict=True):
        partition.log = list(lived.log)
    for number in range(2):
        replay.step(number, 50)
        replay.fly(number)
    assert [p.states for p in replay.partitions] == [p.states for p in world.partitions]
    assert [len(p.log) for p in replay.partitions] == [len(p.log) for p in world.partitions]


def test_a_reaction_that_raises_is_set_aside_and_stops_nothing() -> None:
    world = World()
    reacting.broken.add("goods_arrive")
    world.transfer("1", 5)
    world.transfer("2", 6)
    world.settle()
    assert world.stock() == (0, 0)
    assert [(one.code, one.device_id if hasattr(one, "device_id") else "cloud") for one in world.quarantined] == [
        ("reaction_failed", "cloud")
    ] * 2
    assert "reaction goods_arrive: ZeroDivisionError: a defect of the app" in world.quarantined[0].reason
    reacting.broken.clear()
    for index in (0, 1, 0, 1, 1):  # a person may send it more than once
        world.again(index)
    world.settle()
    assert world.stock() == (11, 2)
    assert world.row(0).reactions.open == ()


def test_a_reaction_that_still_fails_is_set_aside_again() -> None:
    world = World()
    reacting.broken.add("goods_arrive")
    world.transfer("1", 5)
    world.settle()
    world.again()
    world.settle()
    assert len(world.quarantined) == 2
    reacting.broken.clear()
    world.again()
    world.settle()
    assert world.stock() == (5, 1)


def test_what_the_command_refuses_is_set_aside_and_may_be_sent_again() -> None:
    world = World()
    reacting.broken.add("arrive")
    world.transfer("1", 5)
    world.step(0)
    reacting.broken.clear()  # it is called for ...
    world.fly(0)
    assert len(world.partitions[1].log) == 1
    reacting.broken.add("arrive")  # ... and refused when it runs
    world.settle()
    (one,) = world.quarantined
    assert (one.code, one.partition) == ("reaction_refused", 1)
    assert "goods_arrive called for arrive: closed: the gate is closed" in one.reason
    reacting.broken.clear()
    world.again()
    world.again()
    world.settle()
    assert world.stock() == (5, 1)


def refused_after_a_take_over() -> World:
    """The batch that says that a call has failed is merged by a worker which has not read again what was called for."""
    world = reacting.with_a_failure_unmerged()
    world.start()
    world.step(1)
    return world


def test_what_failed_right_after_a_take_over_outlives_a_second_crash() -> None:
    world = refused_after_a_take_over()
    world.fly(1)
    assert world.partitions[1].committed == 2, "nobody reads that batch again"
    world.start()
    world.settle()
    (one,) = world.quarantined
    assert "goods_arrive called for arrive: closed: the gate is closed" in one.reason
    assert world.row(1).reactions.unlisted == ()
    world.again()
    world.settle()
    assert world.stock() == (5, 1)


def test_many_that_failed_right_before_a_take_over_find_room_in_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that one worker had answered since it committed last is merged by the next one before it has read again what was called for."""
    failed, code = range(reaction_book.MAX_UNLISTED + 1), "reaction_refused"
    many = [Unlisted(1 << 40, at, code, "r" * bounds.MAX_REASON) for at in failed]
    known = reaction_book.with_unlisted(Reactions(), many)
    waiting = tuple((1 << 40, at) for at in range(calls.MAX_WAITING))
    known = known._replace(waiting=waiting, open=(bytes(8),) * reaction_book.MAX_OPEN)
    assert reaction_book.with_unlisted(known, many[:3]).unlisted == known.unlisted, "each is there once"
    world = refused_after_a_take_over()
    world.fly(1)
    row = replace(world.row(1), reactions=known)
    assert len(world.rules.records.encode_chain_row(row)) < MAX_RECORD_BYTES

    monkeypatch.setattr(reaction_book, "MAX_REASONS", 0)
    world = refused_after_a_take_over()
    world.step(1)
    world.fly(1)
    assert [one.reason for one in world.row(1).reactions.unlisted] == [""]
    world.start()
    world.settle()
    (one,) = world.quarantined
    assert one.reason.endswith(reaction_book.NOT_KEPT)


@pytest.mark.parametrize("deliveries", [1, 2])
def test_a_crash_while_it_is_set_aside_late_loses_nothing(deliveries: int) -> None:
    """Between what is set aside and the row, and behind the row."""
    world = refused_after_a_take_over()
    world.fly(1)
    world.start()
    world.react(1)
    part = world.mergers[1].seal()
    records = part.outcomes if deliveries == 2 else part.outcomes[::-1][:1]  # topics have no order between them
    for record in records:
        world.delivered(record)
    world.start()
    world.settle()
    assert len(world.quarantined) == deliveries
    world.again()
    world.again(0)
    world.settle()
    assert world.stock() == (5, 1) and world.row(1).reactions.unlisted == ()


def test_what_was_to_be_set_aside_and_was_taken_back_is_set_aside_then() -> None:
    world = refused_after_a_take_over()
    world.fly(1)
    world.start()
    world.react(1)
    assert world.mergers[1].calls.missing() == []
    world.mergers[1]._at.take_back()
    world.settle()
    assert len(world.quarantined) == 1


def test_what_a_guard_refuses_is_told_in_the_row_and_set_aside() -> None:
    world = World()
    world.transfer("1", 2_000_000)
    world.transfer("2", 3)
    world.settle()
    assert world.stock() == (3, 1)
    (one,) = world.quarantined
    assert (one.code, "full: there is no room" in one.reason) == ("reaction_refused", True)
    told = [outcome for entry in world.row(1).entries for outcome in entry.outcomes]
    assert [outcome.verdict for outcome in told] in ([], [Verdict.REJECTED])


def test_a_loop_of_reactions_ends() -> None:
    world = World()
    world.transfer("loop", 0)
    world.settle()
    (one,) = world.quarantined
    assert one.code == "reaction_depth"
    assert "8 reactions have followed one from another" in one.reason


def test_what_is_open_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaction_book, "MAX_OPEN", 2)
    world = World()
    reacting.broken.add("goods_arrive")
    for number in range(4):
        world.transfer(str(number), 1)
    world.settle()
    reacting.broken.clear()
    for index in range(4):
        world.again(index)
    world.settle()
    assert world.stock() == (2, 2), "the newest two"


def test_a_reaction_that_is_gone_or_whose_document_was_too_large_is_set_aside_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    reacting.broken.add("goods_arrive")
    world.transfer("1", 5)
    monkeypatch.setattr(emitting, "MAX_TOLD", 10)
    world.transfer("2", 5)
    world.settle()
    reacting.broken.clear()
    world.again()
    world.settle()
    assert "larger than a record may be" in world.quarantined[-1].reason
    assert world.stock() == (0, 0)


def test_a_reaction_that_runs_for_too_long_is_not_asked_for_ever() -> None:
    """What ends it is the rim's; here it is ended at once."""
    world = World()

    def ends(name: str, cause: str) -> NoReturn:
        asked.append(name)
        raise Overrun("it did not end")

    asked: list[str] = []
    world.mergers[0]._commands._execution._emitter._watch = ends
    for number in range(6):
        world.transfer(str(number), 1)
    world.settle()
    assert asked.count("goods_arrive") == emitting.PATIENCE
    assert sum("goods_arrive" in one.reason for one in world.quarantined) == 6
    assert "not run again by this worker" in world.quarantined[-1].reason


def test_a_reaction_within_its_own_partition() -> None:
    world = World()
    world.transfer("1", 5, to=HERE)
    world.settle()
    assert world.stock(HERE) == (5, 1)


@pytest.mark.parametrize("seed", few(range(10), 4))
def test_failures_and_crashes_together(seed: int) -> None:
    """What failed is listed at least once, and sent again as often as it is listed it takes effect once."""
    world, chance = World(), random.Random(seed)
    reacting.broken.add("goods_arrive")
    for number in range(5):
        world.transfer(str(number), 1)
    world.live(chance, crashes=4)
    assert world.stock() == (0, 0)
    reacting.broken.clear()
    listed = len(world.quarantined)
    for index in range(listed):
        world.again(index)
    for number in range(5, 8):
        world.transfer(str(number), 1, to=THERE)
    world.live(chance, crashes=4)
    assert world.stock() == (8, 8)


def test_a_new_generation_knows_which_calls_may_be_sent_again(tmp_path: Path) -> None:
    """The app that failed is mended by then, so no replay would find it out; and what was sent again since is as it was where the generation ends."""
    world = World()
    world.fail("goods_arrive", {"1": 5, "2": 7})
    ends = len(world.partitions[0].log)
    rows = [world.partitions[0].rows[REACTION_REPLICA]]
    known = world.row(0).reactions
    assert len(known.open) == 2
    world.again()
    world.settle()
    rows.append(world.partitions[0].rows[REACTION_REPLICA])
    assert len(world.row(0).reactions.open) == 1

    stores = WorkerStore(tmp_path / "stores")
    rules, store = SpaceRules(reacting.SPACE, IDS), stores.partition(0)
    rebuilt = Rebuild(rules, 0, store, world.devices)
    for offset, value in enumerate(world.partitions[0].log[:ends]):
        rebuilt.take(ChangelogRecord(b"", value, offset, (), NOW_MS))
    rebuilt.end()
    key = REACTION_REPLICA.encode()
    records = [ChangelogRecord(key, value, at, ()) for at, value in enumerate((*rows, b"noise", None))]
    topic = SimpleNamespace(blocks=lambda topic, partition: [records])
    take_over(rules, topic, 0, store)  # type: ignore[arg-type]
    made = rules.records.decode_chain_row(store.row(REACTION_REPLICA) or b"")
    assert made.reactions == known
    stores.close()


def test_where_nothing_ever_called_no_topic_is_read_for_open_calls(tmp_path: Path) -> None:
    stores = WorkerStore(tmp_path / "stores")
    never = SimpleNamespace(blocks=lambda topic, partition: pytest.fail("it was read"))
    take_over(SpaceRules(replace(reacting.SPACE, reactions={}), IDS), never, 0, stores.partition(0))  # type: ignore[arg-type]
    assert next(iter(stores.partition(0).replicas()), None) is None
    stores.close()
