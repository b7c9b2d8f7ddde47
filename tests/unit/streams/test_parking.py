"""Commands that come too early wait, whole and bounded, and go on in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.messages import Batch, ParkedCommand
from driftlog_schemas.signing import Identity
from driftlog_streams.core.flight import Stage
from driftlog_streams.core.parking import Parking
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, count, ledger, stock


def test_a_gap_parks_and_its_predecessor_releases_in_order(cloud: Cloud) -> None:
    for seq in (4, 3, 2):
        cloud.merge(command(f"c{seq}", count(stock(), 1, seq)))
    assert cloud.verdicts() == {f"c{seq}": "parked gap" for seq in (4, 3, 2)}
    assert len(cloud.parked()) == 3
    cloud.merge(command("c1", count(stock(), 1, 1)))
    assert cloud.verdicts() == {f"c{seq}": "accepted" for seq in (1, 2, 3, 4)}
    assert cloud.value(stock(), "on_hand") == 4
    assert cloud.parked() == {} and len(cloud.merger.parking) == 0


def test_the_row_tells_by_which_record_what_had_waited_was_decided(cloud: Cloud) -> None:
    """Its agent may have been away all the while: the batch is older than what it has read by then."""
    cloud.merge(command("late", change(stock(), "name", "set", "b", 1, context={"store-2.1": 1})))
    cloud.merge(command("first", change(stock(), "name", "set", "a", 1, replica="store-2.1")), replica="store-2.1")
    cloud.merge(command("more", count(ledger(), 1, 1)))
    cloud.fly()
    assert [(entry.offset, entry.decided_at) for entry in cloud.row().entries] == [(0, 1), (2, -1)]


def test_a_missing_context_parks(cloud: Cloud) -> None:
    cloud.merge(command("late", change(stock(), "name", "set", "b", 1, context={"store-2.1": 1})))
    assert cloud.verdicts() == {"late": "parked gap"}
    cloud.merge(command("first", change(stock(), "name", "set", "a", 1, replica="store-2.1")), replica="store-2.1")
    assert cloud.verdicts() == {"late": "accepted", "first": "accepted"}
    assert cloud.value(stock(), "name") == "b"


def test_a_parked_command_keeps_back_what_follows_on_its_documents_only(cloud: Cloud) -> None:
    cloud.merge(command("gap", count(stock(), 1, 2), count(ledger(), 1, 1)))
    cloud.merge(command("behind", count(ledger(), 1, 2)), command("beside", count(stock("milk"), 1, 1)))
    assert cloud.verdicts() == {"gap": "parked gap", "behind": "parked gap", "beside": "accepted"}
    cloud.merge(command("missing", count(stock(), 1, 1)))
    assert cloud.verdicts() == dict.fromkeys(("gap", "behind", "beside", "missing"), "accepted")


def test_a_command_waits_for_one_missing_thing_after_the_other(cloud: Cloud) -> None:
    cloud.merge(command("both", count(stock(), 1, 2), count(ledger(), 1, 2)))
    cloud.merge(command("stock", count(stock(), 1, 1)))
    assert cloud.verdicts()["both"] == "parked gap"
    cloud.merge(command("ledger", count(ledger(), 1, 1)))
    assert cloud.verdicts()["both"] == "accepted"


def test_a_rejected_command_releases_too(cloud: Cloud) -> None:
    cloud.merge(command("after", count(stock(), 7, 2)))
    cloud.merge(command("oversold", count(stock(), -7, 1)))
    assert cloud.verdicts() == {"oversold": "rejected recount", "after": "accepted"}


def test_a_forbidden_command_after_a_gap_waits_for_its_turn_to_be_seen(cloud: Cloud) -> None:
    cloud.merge(command("bad", change(stock(), "on_hand", "increment", -1, 2)))
    assert cloud.verdicts() == {"bad": "parked gap"}
    cloud.merge(command("first", count(stock(), 1, 1)))
    assert cloud.verdicts() == {"bad": "rejected invalid", "first": "accepted"}


def test_a_parked_command_that_comes_again_is_parked_once(cloud: Cloud) -> None:
    value = cloud.batch(command("c2", count(stock(), 1, 2)))
    cloud.merge_value(value)
    cloud.merge_value(value)
    cloud.fly()
    parked = [r for r in cloud.published if r.topic == topics.parked_topic("retail")]
    assert len(parked) == 1
    cloud.merge(command("c1", count(stock(), 1, 1)))
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 2


def test_over_the_bound_nothing_is_kept_and_nothing_is_seen() -> None:
    cloud = Cloud(Parking(limit=4))
    cloud.merge(*(command(f"c{seq}", count(stock(), 1, seq)) for seq in (2, 3, 4)))
    assert cloud.verdicts() == {"c2": "parked gap", "c3": "parked gap", "c4": "deferred parking_full"}
    other = command("other", count(stock(), 1, 2, "store-2.1"))
    cloud.merge(other, replica="store-2.1")
    assert cloud.verdicts()["other"] == "parked gap", "one replica may not take all places"
    cloud.merge(command("c1", count(stock(), 1, 1)), command("c4", count(stock(), 1, 4)))
    cloud.merge(command("c4", count(stock(), 1, 4)))
    assert cloud.value(stock(), "on_hand") == 4


def test_what_waits_is_bounded_in_bytes_too() -> None:
    big = "x" * 20_000
    cloud = Cloud(Parking(limit_bytes=100_000))
    for seq in range(2, 7):
        cloud.merge(command(f"c{seq}", change(stock(), "name", "set", big, seq)))
    found = cloud.verdicts()
    assert [found[f"c{seq}"] for seq in range(2, 7)] == ["parked gap"] * 2 + ["deferred parking_full"] * 3
    cloud.merge(command("other", count(stock("milk"), 1, 2, "store-2.1")), replica="store-2.1")
    assert cloud.verdicts()["other"] == "parked gap", "one replica may not take all the room"
    cloud.merge(command("c1", count(stock(), 1, 1)))
    assert cloud.verdicts()["c3"] == "accepted"
    for seq in (4, 5):
        cloud.merge(command(f"c{seq}-again", change(stock(), "name", "set", big, seq + 1)))
    assert cloud.verdicts()["c4-again"] == "parked gap", "what was released made room"


def test_tombstones_leave_only_when_the_states_are_stored(cloud: Cloud) -> None:
    cloud.merge(command("c2", count(stock(), 1, 2)))
    cloud.fly()
    cloud.merge(command("c1", count(stock(), 1, 1)))
    cloud.seal()
    cloud.carry_out(until=Stage.STORE)
    assert cloud.merger.work.empty and len(cloud.parked()) == 1
    cloud.deck.clear()


def test_a_crash_between_release_and_tombstone_merges_nothing_twice(cloud: Cloud) -> None:
    cloud.merge(command("c2", count(stock(), 1, 2)))
    cloud.fly()
    cloud.merge(command("c1", count(stock(), 1, 1)))
    cloud.seal()
    cloud.carry_out()
    cloud.new_life()
    cloud.restore_parked()
    cloud.merger.resume(2)
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 2
    assert cloud.parked() == {}


def test_a_crash_before_the_states_finds_the_command_parked_again(cloud: Cloud) -> None:
    cloud.merge(command("c2", count(stock(), 1, 2)))
    cloud.fly()
    value = cloud.batch(command("c1", count(stock(), 1, 1)))
    cloud.merge_value(value)
    cloud.seal()
    cloud.carry_out(until=Stage.SECOND)
    cloud.new_life()
    cloud.restore_parked()
    cloud.merger.resume(1)
    cloud.merge_value(value, offset=1)
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 2
    assert cloud.parked() == {}


def test_what_waits_is_of_the_release_that_wrote_it_also_after_a_restart(cloud: Cloud) -> None:
    """Else this release would reject in the end what only another one allows."""
    wider = command("wider", change(stock(), "name", "set", "tea", 2, context={"store-2.1": 1}))
    cloud.merge_value(cloud.batch(wider, app_version="another's"))
    cloud.fly()
    cloud.new_life()
    cloud.restore_parked()
    (waiting,) = cloud.merger.parking.waiting()
    assert waiting.batch.app_version == "another's"


# -- who may write the topic is given no rights by it


def parked(value: bytes, name: str = "c2", append_ms: int = NOW_MS) -> ParkedCommand:
    return ParkedCommand(append_ms, 4, name, value)


def forged(cloud: Cloud) -> dict[str, ParkedCommand]:
    """What a stranger may put there, by what is wrong with it."""
    sealed, open_ = cloud.rules.batches.seal, cloud.rules.batches.open
    c1, c2 = command("c1", count(stock(), 1, 1)), command("c2", count(stock(), 1, 2))
    good = open_(cloud.batch(c1, c2))
    ghost, thief = Identity.create("ghost"), Identity.create("store-1")
    unknown = encode_body(Batch("retail", 0, "ghost.1", 1, (command("c2", count(stock(), 1000, 1, "ghost.1")),)))
    elsewhere = encode_body(Batch("retail", 1, "store-1.1", 1, (c2,)))
    return {
        "noise": parked(b"noise"),
        "nothing": parked(b""),
        "an unknown device": parked(sealed(unknown, ghost)),
        "another key": parked(sealed(good.body, thief)),
        "a signature of something else": parked(cloud.envelope(replace(good, body=unknown))),
        "another partition": parked(sealed(elsewhere, cloud.identities["store-1"])),
        "no such command": parked(cloud.envelope(good), "c3"),
        "no command at all": parked(
            sealed(encode_body(Batch("retail", 0, "store-1.1", 1, ())), cloud.identities["store-1"])
        ),
        "before there was a device": parked(cloud.envelope(good), append_ms=-1),
    }


@pytest.mark.parametrize("wrong", sorted(forged(Cloud())))
def test_what_its_device_has_not_signed_is_not_restored(cloud: Cloud, wrong: str) -> None:
    with pytest.raises(Undecodable):
        cloud.merger.restore(forged(cloud)[wrong], cloud.devices)
    cloud.merger.resume(0)
    cloud.fly()
    assert not cloud.merger.parking and not any(record.value for record in cloud.published)


@pytest.mark.parametrize("number", [4, 5])
def test_of_a_life_of_which_nothing_was_taken_nothing_waits(cloud: Cloud, number: int) -> None:
    """Its writer had not read up to the floor, and said that it has an answer to all before its fifth batch."""
    cloud.merge(command("other", count(stock("milk"), 1, 1, "store-2.1")), replica="store-2.1")
    cloud.forget(1)
    older = cloud.batch(command("c2", count(stock(), 1, 1)), number=number, floor=number)
    cloud.merge_value(cloud.batch(command("c2", count(stock(), 1, 1)), number=5, floor=5, read=-1))
    cloud.fly()
    row = cloud.row()
    assert row.notice is not None and row.notice.code == "away" and row.refused_from == 5
    cloud.new_life()
    with pytest.raises(Undecodable, match="nothing waits"):
        cloud.merger.restore(parked(older), cloud.devices)


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_below_a_chain_that_an_older_release_has_anchored_anew_only_what_came_before_it_can_wait(
    cloud: Cloud, offset: int
) -> None:
    """It may have left the entry of what waits behind. What came later was none of this chain."""
    fork = cloud.batch(command("c2", count(stock(), 1, 2)), number=1)
    cloud.merge(command("other", count(stock("milk"), 1, 1, "store-2.1")), replica="store-2.1")
    cloud.merge_value(cloud.batch(command("c5", count(ledger(), 1, 1)), number=5, floor=5, prev=b"?" * 16))
    cloud.fly()
    assert (cloud.row().floor, cloud.row().refused_from, cloud.row().entries[0].offset) == (5, 5, 1)
    cloud.new_life()
    word = replace(parked(fork), offset=offset)
    if offset < 1:
        cloud.merger.restore(word, cloud.devices)
    else:
        with pytest.raises(Undecodable, match="nothing waits"):
            cloud.merger.restore(word, cloud.devices)
    assert len(cloud.merger.parking) == (offset < 1)


def test_what_has_come_together_is_restored_each_by_itself(cloud: Cloud) -> None:
    cloud.merge(*(command(f"c{seq}", count(stock(), 1, seq)) for seq in (2, 3, 4)))
    cloud.fly()
    cloud.new_life()
    cloud.restore_parked()
    cloud.merger.resume(1)
    assert len(cloud.merger.parking) == 3
    cloud.merge(command("c1", count(stock(), 1, 1, "store-1.2")), replica="store-1.2")
    assert cloud.value(stock(), "on_hand") == 1


def test_what_cannot_be_looked_at_when_it_is_restored_holds_up_nobody(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both had been released, and their tombstones were lost, and their states."""
    two = cloud.batch(*(command(f"c{seq}", count(stock(), 1, seq)) for seq in (1, 2)))
    cloud.merge_value(two)
    cloud.rows.update(cloud.seal().partitions[0].rows)
    cloud.new_life()
    for name in ("c1", "c2"):
        cloud.merger.restore(parked(two, name), cloud.devices)
    decide = cloud.merger._net._decider.decide

    def failing(arrival: Any, *rest: Any) -> Any:
        if arrival.command.id == "c1":
            raise KeyError("nobody foresaw this")
        return decide(arrival, *rest)

    monkeypatch.setattr(cloud.merger._net._decider, "decide", failing)
    cloud.merger.resume(0)
    cloud.fly()
    assert [kept.code for kept in cloud.quarantined()] == ["unforeseen_command"]
    assert len(cloud.merger.parking) == 1, "c2 waits behind it, as behind a gap"
    cloud.merge(command("good", count(stock("milk"), 1, 1, "store-2.1")), replica="store-2.1")
    assert cloud.value(stock("milk"), "on_hand") == 1


def test_a_wake_up_costs_what_it_wakes() -> None:
    cloud = Cloud(Parking(limit=100_000))
    for start in range(2, 1002, 250):
        cloud.merge(*(command(f"c{seq}", count(stock(), 1, seq)) for seq in range(start, start + 250)))
    looked_at = 0
    decide = cloud.merger._net._decider.decide

    def counting(*arguments: object) -> object:
        nonlocal looked_at
        looked_at += 1
        return decide(*arguments)  # type: ignore[arg-type]

    cloud.merger._net._decider.decide = counting  # type: ignore[method-assign, assignment]
    for seq in range(1, 101):
        cloud.merge(command(f"o{seq}", count(stock(), 1, seq, "store-2.1")), replica="store-2.1")
    assert looked_at == 100
    cloud.merge(command("c1", count(stock(), 1, 1)))
    assert looked_at == 100 + 1001
