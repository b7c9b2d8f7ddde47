"""A command is merged whole or not at all, once, and its decision is made once and for ever."""

from __future__ import annotations

from driftlog_schemas import groups, topics
from driftlog_schemas.messages import ConflictStatus
from driftlog_streams.core.flight import Stage
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, count, key, ledger, stock

MINUTE = 60_000


def test_any_number_of_deliveries_takes_effect_once(cloud: Cloud) -> None:
    for number in range(3):
        cloud.merge(command(f"c{number}", count(stock(), 5, 1)))
    assert cloud.value(stock(), "on_hand") == 5
    assert cloud.verdicts() == {"c0": "accepted", "c1": "duplicate", "c2": "duplicate"}


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


def test_a_refused_command_opens_no_conflict(cloud: Cloud) -> None:
    cloud.merge(command("one", change(stock(), "price", "set", 10, 1)))
    two = change(stock(), "price", "set", 20, 1, replica="store-2.1")
    cloud.merge(command("two", two, count(stock(), -1, 2, "store-2.1")), replica="store-2.1")
    assert cloud.verdicts()["two"] == "rejected recount"
    assert cloud.conflicts() == []


def test_ops_of_one_command_on_one_document_build_on_each_other(cloud: Cloud) -> None:
    cloud.merge(command("c", *(count(stock(), 1, seq) for seq in range(1, 6))))
    assert cloud.value(stock(), "on_hand") == 5


def test_the_same_dot_twice_in_a_command_takes_effect_at_most_once(cloud: Cloud) -> None:
    cloud.merge(command("c", count(stock(), 1, 1), count(stock(), 1, 1)))
    cloud.fly()
    assert cloud.value(stock(), "on_hand") in (0, 1)


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
    assert [r.skew_ms for r in cloud.receipts()] == [60 * MINUTE, 0]


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
    cloud.new_life(torn_until=-1)
    cloud.merge_value(value, offset=1)
    cloud.fly()
    first, second = cloud.conflicts()
    assert first == second


# -- half seen: a crash tore the group of a command


def torn(cloud: Cloud, *, rejected: bool) -> tuple[bytes, int]:
    """A command over two documents of which only the ledger's state was published when the worker died."""
    cloud.merge(command("stocked", count(stock(), 3, 1)))
    cloud.fly()
    value = cloud.batch(command("sale", count(ledger(), 5, 1), count(stock(), -5 if rejected else -2, 2)))
    cloud.merge_value(value)
    flight = cloud.seal()
    cloud.carry_out(until=Stage.SECOND)
    kept = next(r for r in flight.states if r.key == key(ledger()))
    assert kept.value is not None
    cloud.store[kept.key] = kept.value
    mark = groups.parse(list(kept.headers))
    assert mark.rejected == ((("store-1.1", 1),) if rejected else ())
    cloud.new_life(torn={key(ledger()): frozenset(mark.rejected)}, torn_until=mark.number)
    return value, mark.number


def test_half_seen_and_accepted_before_is_accepted_without_guards(cloud: Cloud) -> None:
    value, offset = torn(cloud, rejected=False)
    cloud.merge_value(value, offset)
    assert (cloud.value(stock(), "on_hand"), cloud.value(ledger(), "sold")) == (1, 5)
    assert cloud.verdicts()["sale"] == "accepted"


def test_half_seen_and_rejected_before_stays_rejected(cloud: Cloud) -> None:
    value, offset = torn(cloud, rejected=True)
    assert cloud.verdicts()["sale"] == "rejected recount"
    cloud.merge_value(value, offset)
    cloud.fly()
    assert (cloud.value(stock(), "on_hand"), cloud.value(ledger(), "sold")) == (3, 0)
    assert cloud.state(stock()).vector == {"store-1.1": 2}


def test_half_seen_after_the_torn_tail_is_no_way_past_the_guards(cloud: Cloud) -> None:
    cloud.new_life(torn_until=0)
    cloud.merge(command("stocked", count(stock(), 3, 1)))
    cloud.merge(command("trick", count(stock(), 3, 1), count(stock(), -50, 2)))
    assert cloud.verdicts()["trick"] == "rejected invalid"
    assert cloud.value(stock(), "on_hand") == 3


def test_rejected_dots_are_told_until_a_flight_that_tells_them_is_stored(cloud: Cloud) -> None:
    cloud.merge(command("bad", count(stock(), -1, 1)))
    first = cloud.seal()
    cloud.merge(command("good", count(stock(), 2, 2)))
    second = cloud.seal()
    cloud.carry_out()
    cloud.merge(command("better", count(stock(), 2, 3)))
    third = cloud.seal()
    state = topics.state_topic("retail")
    told = [
        groups.parse(list(r.headers)).rejected for f in (first, second, third) for r in f.states if r.topic == state
    ]
    assert told == [(("store-1.1", 1),), (("store-1.1", 1),), ()]
