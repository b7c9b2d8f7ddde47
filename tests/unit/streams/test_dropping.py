"""What waits for a change that never comes can be given up: decided by the log, told as a rejection, without effect for ever."""

from __future__ import annotations

import pytest

from driftlog_schemas.identity import CLOUD_REPLICA
from driftlog_schemas.messages import Forgetting, Verdict
from driftlog_streams.core.flight import Stage
from tests.unit.streams.cloud import Cloud, change, command, count, ledger, stock

LATER = "store-2.1"
WAITS = "store-1.1/1/waits"


def waiting_for_somebody(cloud: Cloud) -> None:
    """Its writer had seen a change of another that the cloud does not have."""
    named = change(stock(), "name", "set", "b", 1, context={LATER: 1})
    cloud.merge(command("waits", named, count(ledger(), 5, 1)))


def test_what_is_given_up_is_rejected_seen_and_waits_no_more(cloud: Cloud) -> None:
    waiting_for_somebody(cloud)
    cloud.merge(command("behind", count(stock(), 3, 2)))
    cloud.merge(command("beside", count(ledger(), 7, 2)))
    assert cloud.verdicts() == dict.fromkeys(("waits", "behind", "beside"), "parked gap")
    cloud.drop(WAITS)
    assert cloud.verdicts() == {"waits": "rejected dropped", "behind": "accepted", "beside": "accepted"}
    assert cloud.value(stock(), "on_hand") == 3
    assert cloud.value(ledger(), "sold") == 7
    assert cloud.parked() == {}
    assert cloud.row().entries[0].decided_at == 3
    cloud.merge(command("late", change(stock(), "name", "set", "a", 1, replica=LATER)), replica=LATER)
    assert cloud.value(stock(), "name") == "a", "what was missing counts as ever"
    assert cloud.row(CLOUD_REPLICA).forgot == (), "nothing is forgotten by it"


def test_behind_its_own_writers_gap_it_keeps_its_place_until_that_comes(cloud: Cloud) -> None:
    cloud.merge(command("waits", count(stock(), 5, 2)))
    cloud.merge(command("behind", count(stock(), 3, 3)))
    cloud.drop(WAITS)
    assert cloud.verdicts() == {"waits": "rejected dropped", "behind": "parked gap"}
    assert cloud.state(stock()).vector == {}
    (kept,) = [parked for name, parked in cloud.parked().items() if name == WAITS.encode()]
    assert kept.dropped_at == 2
    cloud.merge(command("first", count(stock(), 1, 1)))
    assert cloud.verdicts() == {"waits": "rejected dropped", "behind": "accepted", "first": "accepted"}
    assert cloud.value(stock(), "on_hand") == 4
    assert cloud.parked() == {}


def test_it_stays_given_up_though_its_writer_has_long_gone_on(cloud: Cloud) -> None:
    """Its row keeps it as long as its changes are not seen."""
    cloud.merge(command("waits", count(stock(), 5, 2)))
    cloud.drop(WAITS)
    cloud.fly()
    cloud.merge_value(cloud.batch(command("other", count(ledger(), 1, 1)), floor=2))
    cloud.fly()
    assert cloud.row().floor == 1
    cloud.new_life(committed=3)
    cloud.restore_parked()
    cloud.merger.resume(3)
    cloud.merge_value(cloud.batch(command("first", count(stock(), 1, 1)), floor=3))
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 1
    assert cloud.state(stock()).vector == {"store-1.1": 2}
    assert cloud.parked() == {}
    for seq in (2, 3):
        cloud.merge_value(cloud.batch(command(f"on-{seq}", count(ledger(), 1, seq)), floor=4))
        cloud.fly()
    assert cloud.row().floor > 1


def test_a_late_copy_of_it_or_of_the_word_changes_nothing(cloud: Cloud) -> None:
    value = cloud.batch(command("waits", count(stock(), 5, 2)))
    cloud.merge_value(value)
    word = cloud.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=Forgetting(-1, drop=(WAITS, "store-1.1/2/next")))
    cloud.merge_value(word)
    cloud.merge_value(value)
    cloud.merge(command("next", count(stock(), 1, 3)))
    cloud.merge_value(word)
    assert cloud.verdicts() == {"waits": "rejected dropped", "next": "parked gap"}
    cloud.merge(command("first", count(stock(), 1, 1)))
    cloud.merge_value(value)
    assert cloud.verdicts() == {"waits": "rejected dropped", "next": "accepted", "first": "accepted"}
    assert cloud.value(stock(), "on_hand") == 2


def test_what_waits_no_longer_is_not_given_up(cloud: Cloud) -> None:
    cloud.merge(command("waits", count(stock(), 5, 2)))
    cloud.merge(command("first", count(stock(), 1, 1)))
    cloud.drop(WAITS, "store-1.1/9/never", "nonsense")
    assert cloud.verdicts() == {"waits": "accepted", "first": "accepted"}
    assert cloud.value(stock(), "on_hand") == 6


def test_it_goes_with_what_the_partition_remembers(cloud: Cloud) -> None:
    cloud.merge(command("waits", count(stock(), 5, 2)))
    cloud.drop(WAITS)
    cloud.forget(1)
    assert cloud.verdicts() == {"waits": "rejected dropped"}
    assert cloud.parked() == {}
    assert cloud.state(stock()).vector == {}


@pytest.mark.parametrize("rows_out", [True, False])
@pytest.mark.parametrize("marks_out", [True, False])
@pytest.mark.parametrize("committed", [0, 1, 2])
def test_a_crash_in_the_middle_drops_nothing_before_its_time(
    cloud: Cloud, committed: int, rows_out: bool, marks_out: bool
) -> None:
    """Offset 0 waits, 1 is a guard's question that it could have changed, 2 is the word, of which a part got out."""
    log = [
        cloud.batch(command("waits", change(stock(), "name", "set", "b", 1, context={LATER: 1}))),
        cloud.batch(command("behind", count(stock(), 4, 2))),
    ]
    for value in log:
        cloud.merge_value(value)
        if cloud.end <= committed:
            cloud.fly()
    parked = dict(cloud.parked())
    log.append(cloud.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=Forgetting(-1, drop=(WAITS,))))
    cloud.merge_value(log[2])
    (part,) = cloud.seal().partitions
    if rows_out:
        cloud.rows.update(part.rows)
    if marks_out:
        cloud.published += [record for record in part.outcomes if record.topic.endswith(".parked")]
    cloud.new_life(committed=committed)
    cloud.restore_parked()
    cloud.merger.resume(committed)
    for offset in range(committed, 2):
        cloud.merge_value(log[offset], offset=offset)
        cloud.fly()
    assert cloud.state(stock()).vector == {}, "at the records before the word it waits, as it did"
    assert len(parked) <= len(cloud.merger.parking) == 2
    cloud.merge_value(log[2], offset=2)
    assert cloud.verdicts() == {"waits": "rejected dropped", "behind": "accepted"}
    assert cloud.value(stock(), "on_hand") == 4
    assert cloud.parked() == {}


def test_a_crash_before_its_states_are_stored_finds_it_given_up(cloud: Cloud) -> None:
    waiting_for_somebody(cloud)
    cloud.fly()
    cloud.drop(WAITS)
    cloud.seal()
    cloud.carry_out(until=Stage.STORE)
    cloud.rows.update({r.key.decode(): r.value for r in cloud.published if r.topic.endswith(".receipts") and r.value})
    cloud.new_life(committed=2)
    cloud.restore_parked()
    cloud.merger.resume(2)
    cloud.fly()
    assert cloud.state(stock()).vector == {"store-1.1": 1}
    assert cloud.value(ledger(), "sold") == 0
    assert cloud.parked() == {}


def test_the_net_takes_a_word_back(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.merge(command("waits", count(stock(), 5, 2)))
    cloud.fly()
    cloud.drop(WAITS)
    cloud.merge(command("first", count(stock(), 1, 1)))
    cloud.merger._net.carefully(RuntimeError("unforeseen"), lambda record: None)
    (arrival,) = cloud.merger.parking.waiting()
    assert arrival.dropped_at == -1
    assert cloud.merger._at.book.get("store-1.1").entries[0].outcomes[0].verdict is Verdict.PARKED  # type: ignore[union-attr]


def test_of_two_copies_of_a_command_the_one_given_up_is_the_first_word(cloud: Cloud) -> None:
    """Both were first written in a life that is over, and both wait for the same; the second is told why the first was refused."""
    cloud.merge_value(cloud.batch(replica="store-1.9", ends=("store-1.1",)))
    for life, number in (("store-1.2", 1), ("store-1.3", 1)):
        waits = command("both", change(stock(), "name", "set", "b", 1, replica=life, context={LATER: 1}))
        cloud.merge_value(cloud.batch(waits._replace(root="store-1.1"), replica=life, number=number))
    cloud.drop("store-1.2/1/both")
    cloud.merge(command("late", change(stock(), "name", "set", "a", 1, replica=LATER)), replica=LATER)
    cloud.fly()
    told = [cloud.row(life).entries[0].outcomes[0] for life in ("store-1.2", "store-1.3")]
    assert [(outcome.verdict, outcome.code) for outcome in told] == [(Verdict.REJECTED, "dropped")] * 2
    assert cloud.value(stock(), "name") == "a"
