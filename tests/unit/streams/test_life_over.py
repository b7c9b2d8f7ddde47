"""What waits for a change that nobody will send, because its life is over, is given back: unseen, for the life that follows to take along."""

from __future__ import annotations

import pytest

from driftlog_schemas.messages import Command
from driftlog_streams.core.flight import Stage
from tests.unit.streams.cloud import Cloud, change, command, count, ledger, stock

OLD, NEW, OTHER = "store-1.1", "store-1.2", "store-2.1"
BACK = "deferred life_over"


def behind_a_gap() -> list[Command]:
    """Their life had a change before them that was put off; of the last one only somebody else's is missing."""
    return [
        command("late", count(stock(), 5, 2)),
        command("behind", count(stock(), 3, 3), count(ledger(), 9, 1)),
        command("beside", count(ledger(), 4, 2)),
        command("whole", change(stock("coffee"), "name", "set", "b", 1, context={OTHER: 1})),
        command("after", count(stock("coffee"), 2, 2)),
    ]


def test_what_waits_for_its_own_life_is_given_back_when_that_ends(cloud: Cloud) -> None:
    for one in behind_a_gap():
        cloud.merge(one)
    assert set(cloud.verdicts().values()) == {"parked gap"}
    cloud.merge_value(cloud.batch(command("new", count(stock(), 1, 1, NEW)), replica=NEW, ends=(OLD,)))
    given_back = {"late": BACK, "behind": BACK, "beside": BACK}
    assert cloud.verdicts() == {**given_back, "whole": "parked gap", "after": "parked gap", "new": "accepted"}
    assert len(cloud.parked()) == 2
    assert cloud.state(stock()).vector == {NEW: 1}, "nothing of it is seen"
    assert cloud.row(OLD).entries[0].decided_at == 5
    cloud.merge(command("first", change(stock("coffee"), "name", "set", "a", 1, replica=OTHER)), replica=OTHER)
    assert cloud.verdicts()["whole"] == cloud.verdicts()["after"] == "accepted"
    assert cloud.parked() == {}


def test_the_life_that_follows_counts_it_once(cloud: Cloud) -> None:
    late = cloud.batch(command("late", count(stock(), 5, 2)))
    cloud.merge_value(late)
    cloud.merge_value(cloud.batch(replica=NEW, ends=(OLD,)))
    along = command("late", count(stock(), 5, 1, NEW)).first_written(OLD, NEW)
    cloud.merge_value(cloud.batch(along, replica=NEW))
    cloud.merge_value(late)
    assert cloud.value(stock(), "on_hand") == 5
    assert cloud.verdicts()["late"] == "accepted"
    assert cloud.state(stock()).vector == {NEW: 1}
    assert cloud.parked() == {}


def test_a_life_that_ends_itself_brings_what_was_missing_first(cloud: Cloud) -> None:
    cloud.merge(command("late", count(stock(), 5, 2)))
    cloud.merge_value(cloud.batch(command("first", count(stock(), 1, 1)), ends=(OLD,)))
    assert cloud.verdicts() == {"first": "accepted", "late": "accepted"}
    assert cloud.value(stock(), "on_hand") == 6


@pytest.mark.parametrize("committed", [0, 1, 2])
@pytest.mark.parametrize("rows_out", [(), (OLD,), (NEW,), (OLD, NEW)])
@pytest.mark.parametrize("until", [Stage.FIRST, Stage.SECOND, Stage.STORE, Stage.ACK])
def test_a_crash_gives_back_no_more_and_no_less(
    cloud: Cloud, committed: int, rows_out: tuple[str, ...], until: Stage
) -> None:
    """The record that ends the life was merged, and of its flight some rows got out (both are urgent), or all that comes before `until`."""
    log = [cloud.batch(one) for one in behind_a_gap()[:2]]
    for value in log:
        cloud.merge_value(value)
        if cloud.end <= committed:
            cloud.fly()
    log.append(
        cloud.batch(command("new", count(stock(), 1, 1, NEW), count(ledger(), 1, 1, NEW)), replica=NEW, ends=(OLD,))
    )
    cloud.merge_value(log[2])
    (part,) = cloud.seal().partitions
    cloud.published += [record for record in part.outcomes if record.key.decode() in rows_out]
    cloud.carry_out(until)
    receipts = [record for record in cloud.published if record.topic.endswith(".receipts")]
    cloud.rows.update({record.key.decode(): record.value or b"" for record in receipts})
    cloud.new_life(committed=committed)
    cloud.restore_parked()
    cloud.merger.resume(committed)
    for offset in range(committed, 3):
        cloud.merge_value(log[offset], offset=offset)
    assert cloud.verdicts() == {"late": BACK, "behind": BACK, "new": "accepted"}
    assert cloud.state(stock()).vector == {NEW: 1}
    assert cloud.parked() == {}


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("ended", [OLD, NEW])
def test_a_copied_folder_ends_nothing_with_a_number_that_is_taken(cloud: Cloud, committed: bool, ended: str) -> None:
    """Its record has no changes, so nothing of it is unseen; how much the row remembers of its number decides nothing."""
    copied = cloud.batch(replica=OLD, number=1, ends=(ended,))
    cloud.merge_value(cloud.batch(replica=OLD))
    cloud.merge(command("late", count(stock(), 5, 2, ended)), replica=ended)
    for number in (cloud.numbers[OLD] + 1, cloud.numbers[OLD] + 2):
        cloud.merge_value(cloud.batch(replica=OLD, floor=number))
        if committed:
            cloud.fly()
    cloud.merge_value(copied)
    cloud.fly()
    assert not cloud.row(ended).ended
    assert len(cloud.parked()) == 1
