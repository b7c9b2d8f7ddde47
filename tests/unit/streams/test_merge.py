"""A command is merged whole or not at all, once, and its decision is made once and for ever."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog_schemas import bounds, topics
from driftlog_schemas.contract import GuardContract, Refused
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command, ConflictStatus
from driftlog_streams.core.chain import verdict_of
from driftlog_streams.core.flight import Stage
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, count, key, ledger, stock

MINUTE = 60_000


def test_any_number_of_deliveries_takes_effect_once(cloud: Cloud) -> None:
    for number in range(3):
        cloud.merge(command(f"c{number}", count(stock(), 5, 1)))
    assert cloud.value(stock(), "on_hand") == 5
    assert cloud.verdicts() == {"c0": "accepted", "c1": "accepted", "c2": "accepted"}


def test_a_guard_undoes_the_whole_command_and_counts_it_as_seen(cloud: Cloud) -> None:
    cloud.merge(command("stocked", count(stock(), 3, 1)))
    cloud.merge(command("oversold", count(ledger(), 5, 1), count(stock(), -5, 2)))
    cloud.merge(command("sold", count(ledger(), 2, 2), count(stock(), -2, 3)))
    assert cloud.verdicts() == {"stocked": "accepted", "oversold": "rejected recount", "sold": "accepted"}
    assert (cloud.value(stock(), "on_hand"), cloud.value(ledger(), "sold")) == (1, 2)
    assert cloud.state(ledger()).vector == {"store-1.1": 2}


def test_a_guard_with_a_defect_rejects_and_the_queue_goes_on(cloud: Cloud) -> None:
    cloud.merge(command("boom", change(stock(), "name", "set", "explode", 1)), command("next", count(stock(), 1, 2)))
    assert cloud.verdicts() == {"boom": "rejected guard_failed", "next": "accepted"}


@pytest.mark.parametrize(("code", "reason"), [("odd", 5), (5, "odd"), (None, None), ("x" * 9_000, "y" * 9_000)])
def test_whatever_a_guard_says_is_said_as_bounded_text(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, code: Any, reason: Any
) -> None:
    def refuse(*_: object) -> None:
        raise Refused(code, reason)

    guard = GuardContract("odd", "Stock", refuse)
    stocks = cloud.rules.collections["Stock"]
    monkeypatch.setitem(cloud.rules.collections, "Stock", stocks._replace(guards=[guard]))
    cloud.merge(command("refused", count(stock(), 5, 1)))
    cloud.merge(command("other", count(ledger(), 1, 1)))
    assert cloud.verdicts()["other"] == "accepted"
    (entry, _) = cloud.row().entries
    outcome = verdict_of(entry, "refused")
    assert outcome.code.startswith(str(code)[:20]) and len(outcome.code) <= bounds.MAX_CODE
    assert outcome.reason.startswith(str(reason)[:20]) and len(outcome.reason) <= bounds.MAX_REASON


def test_a_refused_command_opens_no_conflict(cloud: Cloud) -> None:
    cloud.merge(command("one", change(stock(), "price", "set", 10, 1)))
    two = change(stock(), "price", "set", 20, 1, replica="store-2.1")
    cloud.merge(command("two", two, count(stock(), -1, 2, "store-2.1")), replica="store-2.1")
    assert cloud.verdicts()["two"] == "rejected recount"
    assert cloud.conflicts() == []


def test_ops_of_one_command_on_one_document_build_on_each_other(cloud: Cloud) -> None:
    cloud.merge(command("c", *(count(stock(), 1, seq) for seq in range(1, 6))))
    assert cloud.value(stock(), "on_hand") == 5


def test_one_dot_twice_in_a_command_is_malformed(cloud: Cloud) -> None:
    cloud.merge(command("c", count(stock(), 1, 1), count(stock(), 1, 1)))
    cloud.fly()
    assert [n.code for n in cloud.notices()] == ["malformed"]
    assert cloud.state(stock()).vector == {} and not cloud.merger.parking


def test_a_state_over_its_size_guard_is_rejected(cloud: Cloud) -> None:
    limit = cloud.rules.collections["Stock"].limit
    cloud.merge(command("small", change(stock(), "name", "set", "x" * 1000, 1)))
    cloud.merge(command("huge", change(stock(), "name", "set", "x" * limit, 2)))
    cloud.merge(command("after", count(stock(), 1, 3)))
    assert cloud.verdicts() == {"small": "accepted", "huge": "rejected too_large", "after": "accepted"}
    assert cloud.value(stock(), "name") == "x" * 1000


def test_a_clock_beyond_the_bound_counts_as_the_append_time(cloud: Cloud) -> None:
    fast = change(stock(), "name", "set", "fast", 1, ms=NOW_MS + 60 * MINUTE)
    cloud.merge(command("fast", fast))
    later = change(stock(), "name", "set", "later", 1, replica="store-2.1", ms=NOW_MS + MINUTE)
    cloud.merge(command("later", later), replica="store-2.1", append_ms=NOW_MS + MINUTE)
    cloud.fly()
    assert cloud.value(stock(), "name") == "later"
    assert (cloud.row().skew_ms, cloud.row("store-2.1").skew_ms) == (60 * MINUTE, 0)


def test_concurrent_prices_are_one_conflict_and_a_write_that_saw_both_ends_it(cloud: Cloud) -> None:
    cloud.merge(command("a", change(stock(), "price", "set", 10, 1)))
    b = change(stock(), "price", "set", 20, 1, replica="store-2.1", ms=NOW_MS + 1)
    cloud.merge(command("b", b), replica="store-2.1")
    cloud.fly()
    (opened,) = cloud.conflicts()
    assert (opened.status, [v.value for v in opened.versions]) == (ConflictStatus.OPEN, [20, 10])
    assert opened.deadline_ms == NOW_MS + 48 * 60 * MINUTE
    cloud.merge(command("c", change(stock(), "price", "set", 15, 2, context={"store-2.1": 1})))
    cloud.fly()
    ended = cloud.conflicts()[-1]
    assert (ended.id, ended.status) == (opened.id, ConflictStatus.RESOLVED)
    assert ended.decided_by is not None and ended.decided_by.command_id == "c"


def test_a_replay_publishes_the_same_conflict_again(cloud: Cloud) -> None:
    cloud.merge(command("a", change(stock(), "price", "set", 10, 1)))
    value = cloud.batch(command("b", change(stock(), "price", "set", 20, 1, replica="store-2.1")), replica="store-2.1")
    cloud.fly()
    cloud.merge_value(value)
    cloud.seal()
    cloud.carry_out(until=Stage.SECOND)
    cloud.new_life()
    cloud.merge_value(value, offset=1)
    cloud.fly()
    first, second = cloud.conflicts()
    assert first == second


# -- a crash between the row and the states


def crashed(cloud: Cloud, value: bytes, *, let_through: DocumentId | None = None) -> None:
    """Merge a record and die when its row, and at most one document's state, has been published."""
    offset = cloud.end
    cloud.merge_value(value)
    flight = cloud.seal()
    cloud.carry_out(until=Stage.SECOND)
    (part,) = flight.partitions
    if let_through is not None:
        cloud.store[key(let_through)] = dict(part.writes)[key(let_through)]
    published = {r.key.decode(): r.value for r in part.outcomes if r.topic == topics.receipts_topic("retail")}
    cloud.rows.update({replica: row for replica, row in published.items() if "." in replica and row is not None})
    cloud.new_life(committed=offset)


@pytest.mark.parametrize("through", [stock(), ledger(), None])
@pytest.mark.parametrize(("sold", "verdict"), [(2, "accepted"), (5, "rejected recount")])
def test_a_crash_lets_no_command_be_decided_twice(
    cloud: Cloud, through: DocumentId | None, sold: int, verdict: str
) -> None:
    cloud.merge(command("stocked", count(stock(), 3, 1)))
    cloud.fly()
    value = cloud.batch(command("sale", count(ledger(), sold, 1), count(stock(), -sold, 2)))
    crashed(cloud, value, let_through=through)
    cloud.merge_value(value, offset=1)

    assert cloud.verdicts()["sale"] == verdict
    left = 3 - sold if verdict == "accepted" else 3
    assert (cloud.value(stock(), "on_hand"), cloud.value(ledger(), "sold")) == (left, 3 - left)
    assert (cloud.state(stock()).vector, cloud.state(ledger()).vector) == ({"store-1.1": 2}, {"store-1.1": 1})


def test_what_was_accepted_before_a_crash_asks_no_guard_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    value = cloud.batch(command("wide", count(ledger(), 1, 1), count(stock(), 1, 1)))
    crashed(cloud, value, let_through=ledger())
    guards = cloud.rules.collections["Stock"].guards
    monkeypatch.setattr(guards[0].__class__, "check", property(lambda self: pytest.fail("asked again")))
    cloud.merge_value(value, offset=0)
    assert cloud.value(stock(), "on_hand") == 1


def test_a_row_that_a_state_hangs_on_leaves_before_it() -> None:
    """Half of a command of several documents may reach the topic: what became of it must stand there already."""
    for name, urgent in (("narrow", False), ("wide", True), ("oversold", True)):
        one = Cloud()
        one.merge(command("stocked", count(stock(), 3, 1)))
        one.fly()
        one.merge(*_command_named(name))
        (part,) = one.seal().partitions
        receipts = topics.receipts_topic("retail")
        assert any(r.topic == receipts and r.key == b"store-1.1" for r in part.outcomes) is urgent, name


def _command_named(name: str) -> list[Command]:
    ops = {
        "narrow": [count(stock(), 1, 2)],
        "wide": [count(ledger(), 1, 1), count(stock(), -1, 2)],
        "oversold": [count(stock(), -9, 2)],
    }
    return [command(name, *ops[name])]


def test_an_old_dot_beside_a_new_one_is_no_way_past_the_guards(cloud: Cloud) -> None:
    cloud.merge(command("stocked", count(stock(), 3, 1)))
    cloud.merge(command("trick", count(stock(), 3, 1), count(stock(), -50, 2)))
    assert cloud.verdicts()["trick"] == "rejected invalid"
    assert cloud.value(stock(), "on_hand") == 3
