"""Whatever one record does, the next good one is merged, and what failed is in the quarantine with nothing of it seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from driftlog_crdt import DocumentState, Op
from driftlog_schemas.contract import Refused
from driftlog_schemas.messages import ChainRow, ConflictStatus
from driftlog_streams.core import conflicts, flight, merge
from driftlog_streams.core.rules import MAX_RECORD_BYTES
from driftlog_streams.errors import WorkerError
from tests.unit.streams.cloud import Cloud, change, command, count, key, ledger, stock

Plant = Callable[[pytest.MonkeyPatch, Cloud], None]


def poisoned(cloud: Cloud) -> None:
    """A batch of which one command fails wherever the plant says; then a good one on another document."""
    cloud.merge(command("before", count(stock(), 3, 1), count(ledger(), 1, 1)))
    cloud.merge(
        command("beside", count(ledger(), 1, 2)),
        command("poison", change(stock(), "name", "set", "poison", 2), count(ledger(), 5, 3)),
        command("behind", count(ledger(), 1, 4)),
    )
    cloud.merge(command("good", count(stock("milk"), 1, 1)))


def in_apply(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> None:
    """A field type fails after it has changed half of the state."""
    kind = cloud.rules.collections["Stock"].type.__class__
    take = kind.take

    def failing(self: Any, state: DocumentState, op: Op) -> Any:
        applied = take(self, state, op)
        if op.value == "poison":
            raise KeyError("nobody foresaw this")
        return applied

    monkeypatch.setattr(kind, "take", failing)


def in_encode(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> None:
    """The state merges, and no record can be made of it."""
    codec = cloud.rules.collections["Stock"].codec.__class__
    encode = codec.encode_with_version

    def failing(self: Any, document: Any, state: DocumentState) -> tuple[bytes, bytes]:
        if "poison" in repr(state.fields.get("name")):
            raise OverflowError("no record of this")
        return encode(self, document, state)

    monkeypatch.setattr(codec, "encode_with_version", failing)


def in_guard(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> None:
    """A guard raises what cannot even be told."""

    class Untold(Refused):
        def __init__(self) -> None:
            self.code, self.reason = _Unspeakable(), ""  # type: ignore[assignment]

    class _Unspeakable:
        def __str__(self) -> str:
            raise RuntimeError("no word for it")

    guards = cloud.rules.collections["Stock"].guards

    def check(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
        if "poison" in repr(after.fields.get("name")):
            raise Untold

    collection = cloud.rules.collections["Stock"]
    watched = dataclasses.replace(guards[0], check=check)
    cloud.rules.collections["Stock"] = collection._replace(guards=(watched,))
    cloud.new_life()


@pytest.mark.parametrize("plant", [in_apply, in_encode, in_guard])
def test_what_nobody_foresaw_is_set_aside_and_the_rest_flows(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    plant(monkeypatch, cloud)
    poisoned(cloud)
    assert cloud.verdicts() == {
        "before": "accepted",
        "beside": "accepted",
        "poison": "deferred quarantined",
        "behind": "parked gap",
        "good": "accepted",
    }
    assert (cloud.value(stock(), "on_hand"), cloud.value(stock(), "name")) == (3, "")
    assert (cloud.value(ledger(), "sold"), cloud.value(stock("milk"), "on_hand")) == (2, 1)
    (set_aside,) = cloud.quarantined()
    assert (set_aside.offset, set_aside.replica, set_aside.code) == (1, "store-1.1", "unforeseen_command")
    assert cloud.admit(set_aside.record)
    assert cloud.acknowledged == [0, 1, 2]


@pytest.mark.parametrize("plant", [in_apply, in_encode, in_guard])
def test_what_it_had_kept_back_goes_on_when_it_comes_mended(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    with monkeypatch.context() as planted:
        plant(planted, cloud)
        poisoned(cloud)
        cloud.fly()
    cloud.merge(command("poison", change(stock(), "name", "set", "tea", 2), count(ledger(), 5, 3)))
    assert cloud.verdicts()["behind"] == "accepted"
    assert (cloud.value(stock(), "name"), cloud.value(ledger(), "sold")) == ("tea", 8)


def test_what_fails_half_way_on_a_document_that_had_left_is_taken_back(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else that was merged since the last flight has changed it, and nobody tries its changes first."""
    cloud.merge(command("before", count(ledger(), 3, 1)))
    cloud.fly()
    with monkeypatch.context() as planted:
        kind = cloud.rules.collections["Ledger"].type.__class__
        take = kind.take

        def failing(self: Any, state: DocumentState, op: Op) -> Any:
            applied = take(self, state, op)
            if op.value == 13:
                raise KeyError("nobody foresaw this")
            return applied

        planted.setattr(kind, "take", failing)
        cloud.merge(command("poison", count(ledger(), 4, 2), count(ledger(), 13, 3)))
        assert cloud.verdicts() == {"before": "accepted", "poison": "deferred quarantined"}
    assert cloud.value(ledger(), "sold") == 3
    cloud.merge(command("mended", count(ledger(), 4, 2), count(ledger(), 13, 3)))
    assert cloud.verdicts()["mended"] == "accepted" and cloud.value(ledger(), "sold") == 20


def test_a_document_of_which_no_record_can_be_made_holds_up_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where it is to be published again, nor where it would be what its scope's digest stands in when another one is purged."""
    cloud.merge(command("a", change(stock("poison"), "name", "set", "poison", 1), count(stock("b"), 1, 1)))
    cloud.merge(command("gone", change(stock("b"), "", "delete", None, 2, context={})))
    cloud.fly()
    in_encode(monkeypatch, cloud)
    assert cloud.merger.publish_again(key(stock("poison")))
    cloud.merge(command("good", count(ledger(), 1, 1)))
    assert cloud.verdicts()["good"] == "accepted"
    cloud.forget(cloud.end - 1, stock("b"))
    cloud.fly()
    assert cloud.store[key(stock("b"))] is None and cloud.acknowledged == [*range(cloud.end)]


def test_a_settlement_that_fails_is_taken_back(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.merge(command("a", change(stock(), "price", "set", 5, 1)))
    cloud.merge(command("b", change(stock(), "price", "set", 6, 1, replica="store-2.1")), replica="store-2.1")
    cloud.fly()
    (due,) = cloud.overdue()
    as_settled, failed = conflicts.settle, list[int]()

    def failing(*args: Any) -> Any:
        record = as_settled(*args)
        if not failed:
            failed.append(1)
            raise KeyError("nobody foresaw this")
        return record

    monkeypatch.setattr(conflicts, "settle", failing)
    cloud.settle(due)
    cloud.fly()
    assert failed and cloud.conflicts()[-1].status is ConflictStatus.SETTLED


def test_a_batch_that_fails_outside_of_its_commands_is_set_aside_whole(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    skew = merge._skew

    def failing(newest_ms: int, append_ms: int) -> int:
        if "bad" in cloud.sent.get(("store-2.1", 1), ()) and cloud.merger._at.offset == 1:
            raise ArithmeticError("no such clock")
        return skew(newest_ms, append_ms)

    monkeypatch.setattr(merge, "_skew", failing)
    cloud.merge(command("one", count(stock(), 1, 1)))
    cloud.merge(command("bad", count(stock(), 1, 1, "store-2.1")), replica="store-2.1")
    cloud.merge(command("two", count(stock(), 1, 2)))
    cloud.fly()
    assert cloud.row().last == 2 and cloud.value(stock(), "on_hand") == 2
    assert [q.offset for q in cloud.quarantined()] == [1]
    assert [(n.device_id, n.code) for n in cloud.notices()] == [("store-2", "quarantined")]


def test_a_batch_whose_row_cannot_be_written_is_set_aside_whole(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = cloud.rules.records.encode_chain_row

    def failing(row: ChainRow) -> bytes:
        if row.last == 2:
            raise OverflowError("no record of this")
        return encode(row)

    monkeypatch.setattr(cloud.rules.records, "encode_chain_row", failing)
    cloud.merge(command("one", count(stock(), 1, 1)))
    cloud.merge(command("bad", count(stock(), 1, 2)))
    cloud.merge(command("good", count(stock("milk"), 1, 1, "store-2.1")), replica="store-2.1")
    cloud.fly()
    assert (cloud.row().last, cloud.row("store-2.1").last) == (1, 1)
    assert (cloud.value(stock(), "on_hand"), cloud.value(stock("milk"), "on_hand")) == (1, 1)
    assert [q.offset for q in cloud.quarantined()] == [1]


def test_nobody_waits_for_a_batch_that_is_set_aside(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had parked a command before its row could not be written; its predecessor comes, and finds nobody."""
    encode = cloud.rules.records.encode_chain_row

    def failing(row: ChainRow) -> bytes:
        if row.replica == "store-2.1":
            raise OverflowError("no record of this")
        return encode(row)

    monkeypatch.setattr(cloud.rules.records, "encode_chain_row", failing)
    waits = change(stock("milk"), "name", "set", "x", 1, replica="store-2.1", context={"store-1.1": 1})
    cloud.merge(command("waits", waits), replica="store-2.1")
    cloud.fly()
    assert [q.offset for q in cloud.quarantined()] == [0]
    assert len(cloud.merger.parking) == 0
    cloud.merge(command("came", count(stock("milk"), 1, 1)))
    cloud.fly()
    assert cloud.state(stock("milk")).vector == {"store-1.1": 1}


def test_parked_commands_are_as_before_when_a_merge_is_taken_back(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.merge(command("waits", count(stock("milk"), 1, 2)))
    cloud.fly()
    in_encode(monkeypatch, cloud)
    cloud.merge(command("wakes", count(stock("milk"), 1, 1)), command("new", count(stock("rice"), 1, 2)))
    cloud.merge(command("poison", change(stock(), "name", "set", "poison", 1)))
    assert cloud.verdicts() == {
        "waits": "accepted",
        "wakes": "accepted",
        "new": "parked gap",
        "poison": "deferred quarantined",
    }
    assert [key.decode() for key in cloud.parked()] == ["store-1.1/2/new"]


@pytest.mark.parametrize("error", [WorkerError("the disk is full"), OSError(5, "Input/output error"), MemoryError()])
def test_what_is_not_the_records_fault_ends_the_life(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(cloud.merger._at.cache, "get", failing)
    with pytest.raises(type(error)):
        cloud.merge(command("c", count(stock(), 1, 1)))
    assert not cloud.merger.work.outcomes


def test_a_guard_that_finds_no_memory_is_no_verdict(cloud: Cloud) -> None:
    def check(*_: object) -> None:
        raise MemoryError

    collection = cloud.rules.collections["Stock"]
    hungry = dataclasses.replace(collection.guards[0], check=check)
    cloud.rules.collections["Stock"] = collection._replace(guards=(hungry,))
    cloud.new_life()
    with pytest.raises(MemoryError):
        cloud.merge(command("c", count(stock(), 1, 1)))


# -- sizes, as they are sent


def test_a_record_that_no_broker_takes_is_a_rejection(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The declared guard and the estimate let it pass; the row as it would be sent does not."""
    collection = cloud.rules.collections["Stock"]
    cloud.rules.collections["Stock"] = collection._replace(limit=1 << 30, guards=())
    cloud.new_life()
    cloud.merge(command("big", change(stock(), "name", "set", "\u20ac" * 290_000, 1)))
    cloud.merge(command("good", count(stock(), 1, 2)))
    assert cloud.verdicts() == {"big": "rejected too_large", "good": "accepted"}


def test_no_record_leaves_that_no_broker_takes(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(cloud)
    monkeypatch.setattr(flight, "MAX_RECORD_BYTES", 100)
    with pytest.raises(flight.Oversized):
        cloud.seal()
    assert MAX_RECORD_BYTES < (1 << 20) - 10_000


# -- states that this release cannot read


def test_an_unreadable_state_holds_up_its_document_only(cloud: Cloud) -> None:
    cloud.merge(command("one", count(stock(), 1, 1)), command("two", count(stock("milk"), 1, 1)))
    cloud.fly()
    (broken,) = [k for k in cloud.store if b"tea" in k]
    cloud.store[broken] = b"\x00of another age"
    cloud.new_life(committed=1)
    cloud.merge(command("three", count(stock(), 1, 2)), command("four", count(stock("milk"), 1, 2)))
    cloud.merge(command("five", count(stock(), 1, 3)))
    found = cloud.verdicts()
    assert (found["three"], found["four"], found["five"]) == (
        "deferred quarantined",
        "accepted",
        "deferred quarantined",
    )
    assert cloud.store[broken] == b"\x00of another age", "it is carried along unread"
