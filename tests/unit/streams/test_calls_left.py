"""A space with reactions moves: what was called for in the closed logs takes effect once, wherever it stood when they ended."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftlog_schemas.partitioning import partition_of
from driftlog_streams.errors import RecoveryFailed
from tests.few import few
from tests.unit.streams import reacting
from tests.unit.streams.reacting import HERE, THERE, World
from tests.unit.streams.reactions_moved import close, close_on_calls, confirm, logs_of, move

AFTER = 5


@pytest.fixture(autouse=True)
def mended() -> Iterator[None]:
    reacting.broken.clear()
    yield
    reacting.broken.clear()


def test_a_call_that_waits_when_its_log_ends_is_carried_out_where_the_space_goes_on(tmp_path: Path) -> None:
    world = World()
    world.transfer("1", 5)
    world.step(0)
    world.fly(0)
    close(world)
    world.step(1)
    confirm(world)
    assert world.row(1).reactions.waiting and world.stock() == (0, 0)
    after, left = move(world, AFTER, tmp_path)
    assert len(left.waiting) == 1
    after.settle()
    assert after.stock() == (5, 1)


def test_a_call_that_comes_behind_the_end_of_its_log_is_carried_out_once(tmp_path: Path) -> None:
    """Its change stands before the end of another one, and is merged again by a worker that had died."""
    world = World()
    world.transfer("1", 5)
    close(world)
    confirm(world, crashes=3)
    behind = len(world.partitions[1].log) - 1
    assert behind >= 1 and world.stock() == (0, 0)
    world.partitions[1].log += world.partitions[1].log[-1:]  # and once more
    confirm(world)
    after, left = move(world, AFTER, tmp_path)
    assert len(left.waiting) == 1
    after.settle()
    assert after.stock() == (5, 1)


def test_what_was_taken_before_the_end_and_comes_again_behind_it_is_a_repetition(tmp_path: Path) -> None:
    world = World()
    world.transfer("1", 5)
    world.settle()
    called = world.partitions[1].log[0]
    close(world)
    world.partitions[1].log.append(called)
    confirm(world)
    after, left = move(world, AFTER, tmp_path)
    assert not left.waiting
    after.settle()
    assert after.stock() == (5, 1)


def test_an_answer_behind_the_end_counts_for_nothing_and_one_before_it_for_all(tmp_path: Path) -> None:
    world = World()
    world.transfer("1", 5)
    world.transfer("2", 7)
    world.step(0, 2)
    world.fly(0)
    world.step(1, 2)
    world.react(1)  # its answer to the first record of calls
    close(world)
    confirm(world)
    answered = world.stock()
    after, left = move(world, AFTER, tmp_path)
    assert answered[1] + len(left.waiting) == 2
    after.settle()
    assert after.stock() == (12, 2)


def test_behind_the_end_workers_write_no_answers(tmp_path: Path) -> None:
    world = World()
    world.transfer("1", 5)
    close_on_calls(world)
    length = len(world.partitions[1].log)
    for _ in range(3):
        world.react(1)
    assert len(world.partitions[1].log) == length
    world.start()
    world.react(1)
    assert len(world.partitions[1].log) == length


def test_what_follows_there_is_told_apart_from_what_came_along(tmp_path: Path) -> None:
    """Its positions are higher, whatever partition it comes from; and the documents go on where they were."""
    world = World()
    for number in range(3):
        world.transfer(str(number), 1)
    close_on_calls(world, 3)
    after, left = move(world, AFTER, tmp_path)
    assert left.waiting
    for number in range(3, 6):
        after.transfer(str(number), 1)
        after.transfer(str(number), 1, store=THERE)
    after.settle()
    assert after.stock() == (9, 9)


def test_a_call_goes_to_the_partition_that_its_command_has_now(tmp_path: Path) -> None:
    world = World()
    scopes = [f"s{number}" for number in range(12)]
    for at, scope in enumerate(scopes):
        world.transfer(str(at), 1, to=scope)
    close_on_calls(world, len(scopes))
    after, _ = move(world, AFTER, tmp_path)
    assert len({partition_of(scope, AFTER) for scope in scopes}) > 2
    after.settle()
    assert [after.stock(scope) for scope in scopes] == [(1, 1)] * len(scopes)


def test_a_command_that_this_release_does_not_have_is_set_aside_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.transfer("1", 5)
    close_on_calls(world)
    monkeypatch.delitem(reacting.SPACE.commands, "arrive")  # type: ignore[arg-type]
    after, _ = move(world, AFTER, tmp_path)
    after.settle()
    monkeypatch.undo()
    assert [one.code for one in after.quarantined] == ["reaction_refused"]


def test_what_had_failed_may_be_sent_again_where_the_space_goes_on_once(tmp_path: Path) -> None:
    """A reaction that raised, and a command that was refused."""
    world = World()
    world.fail("goods_arrive", {"1": 5})
    world.fail("arrive", {"2": 7})
    close(world)
    confirm(world)
    after, left = move(world, AFTER, tmp_path)
    assert len(left.failed) == len(after.quarantined) == 2
    assert len({(one.partition, one.offset) for one in after.quarantined}) == 2
    for index in (0, 1, 0, 1):
        after.again(index)
    after.settle()
    assert after.stock() == (12, 2) and len(after.quarantined) == 2


def test_what_failed_and_was_not_set_aside_when_the_last_worker_died_is_so_where_the_space_goes_on(
    tmp_path: Path,
) -> None:
    world = reacting.with_a_failure_unmerged()
    close(world)
    world.start()
    for number in (0, 1):
        world.step(number, 5)
        world.fly(number)
    assert world.row(1).reactions.unlisted and not world.quarantined
    after, left = move(world, AFTER, tmp_path)
    assert len(left.failed) == 1
    (one,) = after.quarantined
    assert (one.code, "closed: the gate is closed" in one.reason) == ("reaction_refused", True)
    after.again()
    after.again()
    after.settle()
    assert after.stock() == (5, 1)


def test_what_a_person_has_dropped_does_not_come_along(tmp_path: Path) -> None:
    """Of two that one record has set aside, the second."""
    world = World()
    world.fail("arrive", {"1": 5, "2": 7})
    first, second = world.quarantined
    assert first.offset == second.offset
    world.dropped.append((1, f"{second.offset}.1"))
    close(world)
    confirm(world)
    after, left = move(world, AFTER, tmp_path)
    assert len(left.failed) == 1
    after.again()
    after.settle()
    assert after.stock() == (5, 1)


@pytest.mark.parametrize("what", ["goods_arrive", "arrive"])
def test_what_a_person_has_sent_again_behind_the_end_is_sent_again_there(tmp_path: Path, what: str) -> None:
    world = World()
    world.fail(what, {"1": 5})
    close(world)
    confirm(world)
    world.again()
    world.again()
    confirm(world)
    after, left = move(world, AFTER, tmp_path)
    assert len(left.again) == 1
    after.settle()
    assert after.stock() == (5, 1)
    after.again(0)
    after.settle()
    assert after.stock() == (5, 1), "once"


def test_what_was_sent_again_before_the_end_and_waits_is_no_failure_any_more(tmp_path: Path) -> None:
    world = World()
    world.fail("arrive", {"1": 5})
    world.again()
    close(world)
    confirm(world)
    after, left = move(world, AFTER, tmp_path)
    assert (len(left.waiting), left.again, left.failed) == (1, [], [])
    after.settle()
    assert after.stock() == (5, 1)


def test_what_waits_and_is_not_readable_keeps_the_space_where_it_is(tmp_path: Path) -> None:
    world = World()
    world.transfer("1", 5)
    close_on_calls(world)
    (offset, _), *_ = world.row(1).reactions.waiting or ((0, 0),)
    world.partitions[1].log[offset] = world.partitions[0].log[0]
    with pytest.raises(RecoveryFailed, match="does not say any more what waits"):
        move(world, AFTER, tmp_path)


def test_a_space_in_which_nothing_was_called_for_leaves_nothing(tmp_path: Path) -> None:
    world = World()
    close(world)
    confirm(world)
    assert logs_of(world) and not move(world, AFTER, tmp_path)[1]


@pytest.mark.parametrize("seed", few(range(12), 4))
def test_over_two_moves_in_which_workers_die_each_transfer_arrives_once(tmp_path: Path, seed: int) -> None:
    """Logs are closed one after the other, at any time, between whatever else is written."""
    world, chance, sent = World(), random.Random(seed), 0
    for partitions in (AFTER, 1):
        for _ in range(chance.randint(2, 6)):
            world.transfer(f"{sent}", 1, store=chance.choice([HERE, THERE]), to=THERE)
            sent += 1
        order = chance.sample(range(world.rules.partitions), world.rules.partitions)
        for number in order:
            for _ in range(chance.randint(0, 4)):
                at = chance.randrange(world.rules.partitions)
                world.step(at, chance.randint(0, 3))
                world.react(at)
                world.fly(at)
            close(world, [number])
        confirm(world, chance, crashes=chance.randint(0, 4))
        world, _ = move(world, partitions, tmp_path)
    world.live(chance, crashes=2)
    assert world.stock() == (sent, sent)


def test_of_a_record_of_calls_those_that_are_answered_stay(tmp_path: Path) -> None:
    """A batch answers the first of two, for a guard may refuse it."""
    world = World()
    world.transfer("1", 5)
    world.transfer("2", 7)
    world.step(0, 2)
    world.fly(0)
    world.step(1)
    world.react(1)
    close(world)
    confirm(world)
    assert world.stock() == (5, 1) and [first for _, first in world.row(1).reactions.waiting] == [1]
    after, left = move(world, AFTER, tmp_path)
    assert len(left.waiting) == 1
    after.settle()
    assert after.stock() == (12, 2)
