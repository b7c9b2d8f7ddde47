"""Of each number exactly one batch wins, whatever else claims it; the row is the answer to all of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from driftlog_crdt import Place
from driftlog_schemas import row_room
from driftlog_schemas.messages import ChainEntry, Verdict
from driftlog_schemas.row_columns import short_name
from driftlog_schemas.sparing import MOST
from driftlog_streams.core import chain
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, count, ledger, stock

REPLICA = "store-1.1"


def sale(seq: int, amount: int = 1, replica: str = REPLICA) -> tuple[object, ...]:
    return (command(f"{replica}-{seq}-{amount}", count(stock(), amount, seq, replica)),)


def sent(cloud: Cloud, seq: int, **options: object) -> bytes:
    return cloud.batch(command(f"c{seq}", count(stock(), 1, seq)), **options)  # type: ignore[arg-type]


def notice(cloud: Cloud) -> str:
    cloud.fly()
    found = cloud.row().notice
    return "" if found is None else found.code


def test_batches_enter_in_order_and_the_row_stands_at_the_newest(cloud: Cloud) -> None:
    for seq in (1, 2, 3):
        cloud.merge_value(sent(cloud, seq))
    cloud.fly()
    row = cloud.row()
    assert (row.last, row.head, row.floor, len(row.entries)) == (3, cloud.heads[REPLICA, 3], 1, 3)
    assert [e.digest for e in row.entries] == [cloud.heads[REPLICA, n][:8] for n in (1, 2, 3)]


def test_one_row_leaves_per_replica_and_flight(cloud: Cloud) -> None:
    for seq in range(1, 6):
        cloud.merge_value(sent(cloud, seq))
    (part,) = cloud.seal().partitions
    assert [replica for replica, _ in part.rows] == [REPLICA]


def test_the_same_batch_again_is_answered_with_the_first_verdicts(cloud: Cloud) -> None:
    value = cloud.batch(command("oversold", count(stock(), -1, 1)), command("sold", count(ledger(), 1, 1)))
    cloud.merge_value(value)
    cloud.fly()
    first = cloud.row()
    cloud.merge_value(value)
    cloud.fly()
    assert cloud.row() == first
    assert [(o.command_id, o.verdict, o.code) for o in first.entries[0].outcomes] == [
        ("oversold", Verdict.REJECTED, "recount")
    ]


def test_another_batch_of_a_known_number_is_forked_and_nothing_of_it_is_seen(cloud: Cloud) -> None:
    cloud.merge_value(sent(cloud, 1))
    cloud.merge_value(cloud.batch(command("other", count(ledger(), 7, 1)), number=1))
    assert notice(cloud) == "forked"
    assert cloud.state(ledger()).vector == {} and cloud.row().last == 1


def test_a_wrong_prev_is_forked(cloud: Cloud) -> None:
    cloud.merge_value(sent(cloud, 1))
    cloud.merge_value(sent(cloud, 2, prev=bytes(16)))
    assert notice(cloud) == "forked"
    assert cloud.state(stock()).vector == {REPLICA: 1}


def test_a_batch_after_a_missing_one_is_early_and_enters_when_that_has_come(cloud: Cloud) -> None:
    first, second, third = (sent(cloud, seq) for seq in (1, 2, 3))
    cloud.merge_value(first)
    cloud.merge_value(third)
    assert notice(cloud) == "early" and cloud.row().last == 1
    cloud.merge_value(second)
    cloud.merge_value(third)
    assert notice(cloud) == "" and cloud.row().last == 3
    assert cloud.value(stock(), "on_hand") == 3


def crash_with_rows_out(cloud: Cloud, committed: int) -> None:
    """The rows of what was merged have left, nothing else of it has."""
    for part in cloud.seal().partitions:
        cloud.rows.update(part.rows)
    cloud.new_life(committed=committed)


def test_an_early_batch_that_is_read_again_after_a_crash_is_early_still(cloud: Cloud) -> None:
    """The row knows by now what it follows: when it was first met that was missing, and a replay decides the same."""
    first, second, third = (sent(cloud, seq) for seq in (1, 2, 3))
    for value in (first, third, second):
        cloud.merge_value(value)
    crash_with_rows_out(cloud, committed=0)
    for offset, value in enumerate((first, third, second, third)):
        cloud.merge_value(value, offset)
    cloud.fly()
    assert [entry.offset for entry in cloud.row().entries] == [0, 2, 3]


def test_what_a_batch_changes_is_of_the_record_that_was_taken_also_after_a_crash(cloud: Cloud) -> None:
    """The state keeps when the log took a write: of the record that was early it must not be."""
    prices = [command(f"p{seq}", change(stock(), "price", "set", seq, seq)) for seq in (1, 2, 3)]
    first, second, third = (cloud.batch(price) for price in prices)
    for offset, value in enumerate((first, third, second, third)):
        cloud.merge_value(value, offset, NOW_MS + offset)
    crash_with_rows_out(cloud, committed=0)
    for offset, value in enumerate((first, third, second, third)):
        cloud.merge_value(value, offset, NOW_MS + offset)
    (standing,) = cloud.rules.collections["Stock"].type.writes_at(cloud.state(stock()), Place("price"))
    assert standing.value == 3 and standing.origin is not None and standing.origin.append_ms == NOW_MS + 3


def test_nothing_known_is_early_while_something_before_it_is_unanswered(cloud: Cloud) -> None:
    first, second = sent(cloud, 1), sent(cloud, 2)
    cloud.merge_value(second)
    assert notice(cloud) == "early"
    cloud.merge_value(first)
    cloud.merge_value(second)
    cloud.fly()
    assert cloud.row().last == 2 and cloud.value(stock(), "on_hand") == 2


def test_a_lost_row_is_anchored_again_and_the_dots_guard_against_doubles(cloud: Cloud) -> None:
    values = [sent(cloud, seq) for seq in (1, 2)]
    for value in values:
        cloud.merge_value(value)
    cloud.fly()
    cloud.rows.clear()
    cloud.new_life()
    cloud.merge_value(values[1])
    cloud.merge_value(sent(cloud, 3, floor=3))
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 3
    assert cloud.row().last == 3


def test_an_older_row_than_its_writer_was_told_is_a_lost_one(cloud: Cloud) -> None:
    """A cut-off worker's late row was the last word when its owner ended, and the newer one is compacted away."""
    cloud.merge_value(sent(cloud, 1))
    cloud.fly()
    late = dict(cloud.rows)
    for seq in (2, 3):
        cloud.merge_value(sent(cloud, seq))
    cloud.fly()
    cloud.rows.clear()
    cloud.rows.update(late)
    cloud.new_life()
    cloud.merge_value(sent(cloud, 4, floor=4))
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 4
    assert cloud.row().last == 4 and [entry.number for entry in cloud.row().entries] == [4]


def test_below_the_row_the_dots_tell(cloud: Cloud) -> None:
    old = sent(cloud, 1)
    cloud.merge_value(old)
    cloud.fly()
    cloud.merge_value(sent(cloud, 2, floor=2))
    cloud.fly()
    assert [e.number for e in cloud.row().entries] == [2]
    cloud.merge_value(old)
    assert notice(cloud) == ""
    cloud.merge_value(cloud.batch(command("other", count(ledger(), 7, 1)), number=1))
    assert notice(cloud) == "forked"
    assert cloud.state(ledger()).vector == {}


def test_an_ended_life_sends_nothing_more(cloud: Cloud) -> None:
    cloud.merge_value(sent(cloud, 1))
    cloud.merge_value(cloud.batch(ends=("store-1.1",)))
    cloud.fly()
    assert cloud.row().ended == "ended"
    cloud.merge_value(sent(cloud, 2))
    assert notice(cloud) == "ended"
    assert cloud.state(stock()).vector == {REPLICA: 1}


# -- how long the row remembers


def test_an_entry_stays_while_a_crash_could_replay_it(cloud: Cloud) -> None:
    cloud.merge_value(sent(cloud, 1))
    cloud.merge_value(sent(cloud, 2, floor=2))
    cloud.seal()
    cloud.merge_value(sent(cloud, 3, floor=3))
    assert [e.number for e in cloud.merger.work.rows[REPLICA].entries] == [1, 2, 3]
    cloud.carry_out()
    cloud.merge_value(sent(cloud, 4, floor=3))
    assert [e.number for e in cloud.merger.work.rows[REPLICA].entries] == [3, 4]


def test_an_entry_stays_while_a_command_of_it_waits(cloud: Cloud) -> None:
    cloud.merge_value(cloud.batch(command("late", change(stock(), "name", "set", "b", 1, context={"store-2.1": 1}))))
    cloud.fly()
    cloud.merge_value(cloud.batch(command("next", count(ledger(), 1, 1)), floor=2))
    assert cloud.verdicts() == {"late": "parked gap", "next": "accepted"}
    cloud.merge(command("first", change(stock(), "name", "set", "a", 1, replica="store-2.1")), replica="store-2.1")
    assert cloud.verdicts()["late"] == "accepted"


def oversold(name: str) -> tuple[bytes, chain.Refused]:
    return short_name(name), chain.Refused(int(name.rpartition("-")[2]), "recount")


def refuse(cloud: Cloud, number: int, **options: object) -> None:
    """A batch whose only command is rejected, as its name says."""
    refused = command(f"no-{number}", count(stock(f"s{number}"), -1, 1))
    cloud.merge_value(cloud.batch(refused, **options))  # type: ignore[arg-type]
    cloud.fly()


def test_what_was_rejected_is_remembered_beyond_its_entry(cloud: Cloud) -> None:
    """Another copy of the folder may ask for what its replica asks for no more: the states do not tell it from what was accepted."""
    refuse(cloud, 1)
    cloud.merge_value(sent(cloud, 2, floor=2))
    cloud.fly()
    row = cloud.row()
    assert [e.number for e in row.entries] == [2], "the entry is gone"
    assert (dict(row.refused), row.refused_from) == (dict([oversold("no-1")]), 1)


def test_of_what_was_rejected_a_row_keeps_the_newest_and_says_how_far_back(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "MAX_REFUSED", 2)
    for number in (1, 2, 3, 4):
        refuse(cloud, number, floor=number)
    row = cloud.row()
    assert (dict(row.refused), row.refused_from) == (dict(map(oversold, ["no-2", "no-3"])), 2)


def test_a_lost_row_does_not_claim_that_nothing_was_rejected_before_it(cloud: Cloud) -> None:
    refuse(cloud, 1)
    cloud.rows.clear()
    cloud.new_life()
    cloud.merge_value(sent(cloud, 2, floor=2))
    cloud.fly()
    assert (dict(cloud.row().refused), cloud.row().refused_from) == ({}, 2)


def test_a_full_row_takes_no_more_until_its_replica_asks_for_less(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_room, "MAX_ENTRIES", 3)
    for seq in (1, 2, 3, 4):
        cloud.merge_value(value := sent(cloud, seq))
        cloud.fly()
    assert notice(cloud) == "window_full" and cloud.row().last == 3
    del value
    cloud.merge_value(sent(cloud, 4, number=4, floor=3))
    assert notice(cloud) == "" and [e.number for e in cloud.row().entries] == [3, 4]


@pytest.mark.slow
def test_a_row_of_rejections_stays_a_record_that_a_broker_takes(cloud: Cloud) -> None:
    for number in range(30):
        refused = [
            command(f"{number}-{n}-{'x' * 100}", count(stock(f"s{number}-{n}"), -1, 1)) for n in range(400)
        ]  # each is answered with a code and a reason
        cloud.merge_value(cloud.batch(*refused))
    cloud.fly()
    row = cloud.rules.records.encode_chain_row(cloud.row())
    assert len(row) <= row_room.MAX_ROW_BYTES
    assert notice(cloud) == "early"  # the first that found no room was `window_full`, those behind it came too early
    assert cloud.row().last < 30


def test_what_a_row_holds_is_counted_as_batches_come_and_go(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0

    def told_by(entries: Sequence[ChainEntry]) -> int:
        nonlocal looked_at
        looked_at += len(entries)
        return row_room.told_by(entries)

    monkeypatch.setattr(chain, "told_by", told_by)
    for number in range(1, 61):
        at_once = [command(f"no-{number}-{n}", count(stock(f"s{number}-{n}"), -1, 1)) for n in range(number % 3)]
        cloud.merge_value(cloud.batch(*at_once, number=number, floor=max(1, number - 40)))
        row = cloud.merger.work.rows[REPLICA]
        assert row.told == row_room.told_by(row.entries)
        cloud.fly()
        if number == 50:  # another worker reads it from the store
            cloud.new_life()
    assert len(row.entries) == 41
    assert looked_at < 5 * 60, "not the whole row with each batch"


def test_a_late_word_of_another_worker_does_not_replace_what_knows_more(cloud: Cloud) -> None:
    for seq in (1, 2):
        cloud.merge_value(sent(cloud, seq))
        cloud.fly()
    newer = cloud.row()
    older = dataclasses.replace(newer, last=1, offset=0, entries=newer.entries[:1])
    assert chain.later(newer, older) is newer and chain.later(older, newer) is newer


@pytest.mark.parametrize(
    "spoiled", [{"head": b"?" * 32}, {"last": 7}, {"device_id": "store-9"}, {"head": b"?" * 32, "ended": "ended"}]
)
def test_a_row_that_names_another_batch_at_the_same_record_is_not_believed(
    cloud: Cloud, spoiled: dict[str, Any]
) -> None:
    cloud.merge_value(sent(cloud, 1))
    cloud.fly()
    ours = cloud.row()
    copy = dataclasses.replace(ours, **spoiled)
    assert chain.later(ours, copy) is ours
    assert chain.later(ours, dataclasses.replace(ours, notice=None)) is not ours, "the newest of our own words"


def test_strangers_get_few_answers_and_known_devices_all(cloud: Cloud) -> None:
    stranger = cloud.batch(*sale(1))  # type: ignore[arg-type]
    del cloud.devices.lines["store-1"]
    for _ in range(50):
        cloud.merge_value(stranger)
    cloud.merge_value(stranger, append_ms=NOW_MS + 60_000)
    cloud.fly()
    assert [n.code for n in cloud.notices()] == ["unknown_device"] * 7


def test_however_much_is_sent_in_vain_the_log_has_a_few_lines_of_it(cloud: Cloud) -> None:
    cloud.merge_value(sent(cloud, 1))
    forked = sent(cloud, 2, prev=bytes(16))
    with capture_logs() as lines:
        for _ in range(100):
            cloud.merge_value(forked)
        del cloud.devices.lines["store-1"]
        for _ in range(100):
            cloud.merge_value(forked)
    assert Counter(line["event"] for line in lines) == {"batch not taken": MOST, "batch refused": MOST}
