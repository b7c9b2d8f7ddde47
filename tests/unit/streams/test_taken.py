"""A command that two copies of a folder hold unsent counts once, whichever life brings it, and whatever a crash lets through."""

from __future__ import annotations

import dataclasses

import pytest

from driftlog_schemas.messages import Command, DocumentOp, Verdict
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import chain, taken
from driftlog_streams.core.flight import Stage
from tests.unit.streams.cloud import Cloud, change, command, count, ledger, stock

OLD, ONE, OTHER = "store-1.old", "store-1.one", "store-1.other"


def rooted(name: str, *ops: DocumentOp, root: str = OLD) -> Command:
    return command(name, *ops)._replace(root=root)


def send(cloud: Cloud, replica: str, *commands: Command, ends: tuple[str, ...] = ()) -> bytes:
    value = cloud.batch(*commands, replica=replica, ends=ends)
    cloud.merge_value(value)
    return value


def ended(cloud: Cloud) -> None:
    """The old life has sent one batch, and both that follow it have begun."""
    send(cloud, OLD, command("own", count(stock(), 1, 1, OLD)))
    send(cloud, ONE, ends=(OLD,))
    send(cloud, OTHER, ends=(OLD,))


def verdict(cloud: Cloud, replica: str, name: str) -> str:
    """Of the newest batch."""
    cloud.fly()
    outcome = chain.verdict_of(cloud.row(replica).entries[-1], name)
    return f"{outcome.verdict.value} {outcome.code}".strip()


# -- ends


def test_a_life_is_ended_by_the_one_that_follows_it_and_nothing_of_it_is_taken_after_that(cloud: Cloud) -> None:
    ended(cloud)
    send(cloud, OLD, command("late", count(stock(), 100, 2, OLD)))
    cloud.fly()
    row = cloud.row(OLD)
    assert (row.ended, row.ended_at, row.last) == ("ended", 1, 1)
    assert row.notice is not None and row.notice.code == "ended"
    assert cloud.value(stock(), "on_hand") == 1


def test_a_life_that_nobody_knows_is_ended_too(cloud: Cloud) -> None:
    send(cloud, ONE, ends=(OLD,))
    send(cloud, OLD, command("late", count(stock(), 100, 1, OLD)))
    cloud.fly()
    assert (cloud.row(OLD).ended, cloud.row(OLD).last) == ("ended", 0)
    assert cloud.state(stock()).vector == {}


def test_a_batch_of_the_old_life_that_is_in_its_chain_is_answered_after_the_end_too(cloud: Cloud) -> None:
    first = send(cloud, OLD, command("own", count(stock(), 1, 1, OLD)))
    send(cloud, ONE, ends=(OLD,))
    cloud.merge_value(first)
    cloud.fly()
    assert cloud.row(OLD).notice is None and cloud.value(stock(), "on_hand") == 1


def test_the_end_that_a_crash_has_not_let_through_is_made_again(cloud: Cloud) -> None:
    send(cloud, OLD, command("own", count(stock(), 1, 1, OLD)))
    cloud.fly()
    value = send(cloud, ONE, ends=(OLD,))
    (part,) = cloud.seal().partitions
    cloud.rows.update((replica, row) for replica, row in part.rows if replica == ONE)
    cloud.new_life(committed=1)
    cloud.merge_value(value, offset=1)
    cloud.fly()
    assert cloud.row(OLD).ended_at == 1


def test_an_end_that_a_crash_let_out_ahead_of_the_log_is_not_taken_for_an_older_one(cloud: Cloud) -> None:
    first = send(cloud, OLD, command("own", count(stock(), 1, 1, OLD)))
    second = send(cloud, OLD, command("more", count(stock(), 10, 2, OLD)))
    early = send(cloud, ONE, rooted("early", count(stock(), 100, 1, ONE)))
    send(cloud, OTHER, ends=(OLD,))
    (part,) = cloud.seal().partitions
    cloud.rows.update((replica, row) for replica, row in part.rows if replica == OLD)
    cloud.new_life()
    for offset, value in enumerate((first, second, early)):
        cloud.merge_value(value, offset)
    assert verdict(cloud, ONE, "early") == "deferred root_open", "as it was decided before the crash"


# -- commands with a root


def test_a_command_waits_while_its_root_may_still_send_it(cloud: Cloud) -> None:
    send(cloud, OLD, command("own", count(stock(), 1, 1, OLD)))
    send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)))
    assert verdict(cloud, ONE, "c") == "deferred root_open"
    assert ONE not in cloud.state(stock()).vector
    send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)), ends=(OLD,))
    assert verdict(cloud, ONE, "c") == "accepted"
    assert cloud.value(stock(), "on_hand") == 11


def test_the_second_to_bring_a_command_is_told_the_first_verdict_and_its_ops_do_nothing(cloud: Cloud) -> None:
    ended(cloud)
    send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)))
    send(cloud, OTHER, rooted("c", count(stock(), 10, 1, OTHER)))
    assert verdict(cloud, ONE, "c") == "accepted"
    assert verdict(cloud, OTHER, "c") == "accepted repeated"
    assert cloud.state(stock()).vector == {OLD: 1, ONE: 1, OTHER: 1}, "its dot is used up"
    send(cloud, OTHER, rooted("d", count(stock(), 100, 2, OTHER)))
    assert verdict(cloud, OTHER, "d") == "accepted"
    assert cloud.value(stock(), "on_hand") == 111


def test_the_verdict_is_kept_over_a_restart(cloud: Cloud) -> None:
    ended(cloud)
    send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)), rooted("no", count(ledger(), -1, 1, ONE)))
    send(cloud, ONE, rooted("oversold", count(stock("milk"), -1, 1, ONE)))
    cloud.fly()
    cloud.new_life(committed=cloud.end)
    send(cloud, OTHER, rooted("oversold", count(stock("milk"), -1, 1, OTHER)))
    assert verdict(cloud, OTHER, "oversold") == "rejected recount", "told as the first was told"
    told = chain.verdict_of(cloud.row(OTHER).entries[-1], "oversold")
    assert "another copy" in told.reason
    assert cloud.row(OLD).taken[short_name("oversold")][1:] == (Verdict.REJECTED, "recount")


def test_what_its_agent_runs_again_by_itself_is_not_decided() -> None:
    outcome = chain.CommandOutcome("c", Verdict.REJECTED, "builds_on_refused")
    assert not taken.final(outcome) and not taken.final(outcome._replace(code="purged"))
    assert taken.final(outcome._replace(code="recount"))


def test_of_two_that_wait_one_counts(cloud: Cloud) -> None:
    ended(cloud)
    awaited = {"store-2.1": 1}
    for replica in (ONE, OTHER):
        send(cloud, replica, rooted("c", change(stock(), "name", "set", replica, 1, replica=replica, context=awaited)))
    assert verdict(cloud, OTHER, "c") == "parked gap"
    cloud.merge(command("first", change(stock(), "name", "set", "a", 1, replica="store-2.1")), replica="store-2.1")
    assert (verdict(cloud, ONE, "c"), verdict(cloud, OTHER, "c")) == ("accepted", "accepted repeated")
    assert cloud.value(stock(), "name") == ONE


def test_a_full_row_leaves_it_to_a_person(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taken, "MAX_TAKEN", 1)
    ended(cloud)
    send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)), rooted("d", count(ledger(), 1, 1, ONE)))
    assert verdict(cloud, ONE, "d") == "deferred taken_full"
    send(cloud, OTHER, rooted("c", count(stock(), 10, 1, OTHER)))
    assert verdict(cloud, OTHER, "c") == "accepted repeated"


def test_a_full_row_is_a_record_that_a_broker_takes(cloud: Cloud) -> None:
    ended(cloud)
    cloud.fly()
    row = cloud.row(OLD)
    ids = [f"command-{n}" for n in range(taken.MAX_TAKEN)]
    fresh = {short_name(name): taken.Taken(1 << 50, Verdict.REJECTED, "oversold") for name in ids}
    assert len(cloud.rules.records.encode_chain_row(taken.kept(row, fresh))) < 256 * 1024


# -- crashes


def test_the_roots_row_out_before_the_states_makes_no_repeat_of_the_record_itself(cloud: Cloud) -> None:
    ended(cloud)
    cloud.fly()
    value = send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)))
    (part,) = cloud.seal().partitions
    cloud.rows.update((replica, row) for replica, row in part.rows if replica == OLD)
    cloud.new_life(committed=3)
    cloud.merge_value(value, offset=3)
    assert verdict(cloud, ONE, "c") == "accepted"
    assert cloud.value(stock(), "on_hand") == 11


@pytest.mark.parametrize("rows", [(), (ONE,), (OTHER,), (ONE, OTHER)], ids=str)
def test_states_out_before_the_roots_row_count_once(cloud: Cloud, rows: tuple[str, ...]) -> None:
    ended(cloud)
    cloud.fly()
    values = [send(cloud, replica, rooted("c", count(stock(), 10, 1, replica))) for replica in (ONE, OTHER)]
    (part,) = cloud.seal().partitions
    cloud.store.update(part.writes)
    cloud.rows.update((replica, row) for replica, row in part.rows if replica in rows)
    cloud.new_life(committed=3)
    for offset, value in enumerate(values, 3):
        cloud.merge_value(value, offset)
    assert (verdict(cloud, ONE, "c"), verdict(cloud, OTHER, "c")) == ("accepted", "accepted repeated")
    assert cloud.value(stock(), "on_hand") == 11
    assert cloud.row(OLD).taken[short_name("c")].offset == 3


def test_what_a_later_record_will_bring_is_not_known_yet(cloud: Cloud) -> None:
    """Parked at 3, decided by the record at 4; a replay that finds the row of 4 parks it at 3 as before."""
    ended(cloud)
    awaiting = change(stock(), "name", "set", "b", 1, replica=ONE, context={"store-2.1": 1})
    first = send(cloud, ONE, rooted("c", awaiting))
    send(cloud, OTHER, rooted("c", count(ledger(), 5, 1, OTHER)))
    cloud.fly()
    cloud.published.clear()
    del cloud.rows[ONE]
    cloud.new_life()
    cloud.numbers.clear()
    cloud.rows[ONE] = cloud.rules.records.encode_chain_row(_begun(cloud))
    cloud.merge_value(first, offset=3)
    assert verdict(cloud, ONE, "c") == "parked gap"


def _begun(cloud: Cloud) -> chain.ChainRow:
    """The row of ONE after its first batch."""
    head = cloud.heads[ONE, 1]
    entry = chain.ChainEntry(1, head[:8], 1)
    return chain.ChainRow("store-1", ONE, "retail", 0, 1, head, 1, (entry,), offset=1)


def test_what_was_merged_since_the_last_flight_is_taken_back_with_the_rest(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(cloud)
    cloud.fly()
    send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)))
    work = cloud.merger.work
    assert work.taken
    cloud.merger._at.take_back()
    assert not cloud.merger.work.taken and not cloud.merger._at.book.get(OLD).taken  # type: ignore[union-attr]


def test_of_two_rows_of_an_ended_life_the_one_with_more_commands_is_later(cloud: Cloud) -> None:
    ended(cloud)
    cloud.fly()
    before = cloud.row(OLD)
    send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)))
    cloud.fly()
    after = cloud.row(OLD)
    open_row = dataclasses.replace(before, ended="", ended_at=-1)
    assert chain.later(after, before) is after and chain.later(before, after) is after
    assert chain.later(before, open_row) is before and chain.later(open_row, before) is before


def test_a_flight_stops_nowhere_for_it(cloud: Cloud) -> None:
    """The root's row travels with the states: it tells nothing that a replay would not find again."""
    ended(cloud)
    cloud.fly()
    send(cloud, ONE, rooted("c", count(stock(), 10, 1, ONE)))
    flight = cloud.seal()
    assert flight.urgent() == set() and flight.plain() == {OLD, ONE}
    cloud.carry_out(Stage.DONE)
