"""The rights of a life that is over come back through the log: to its device, or to whoever holds the counter; nobody gives to the dead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from driftlog import App, BoundedCounter, Document
from driftlog import field as declared
from driftlog_crdt import PAST, Plain
from driftlog_schemas.devices import SLACK_MS
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import DocumentOp
from driftlog_schemas.signing import Identity
from driftlog_streams.core import memory
from driftlog_streams.core.admission import doubtful
from driftlog_streams.faust_driver.admitting import Admitting
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, device

app = App("hall")
space = app.space("retail", partitions=1)


@space.collection(scope="hall", id="name")
class Event(Document):
    hall: str
    name: str
    seats: BoundedCounter = declared(lower=0)
    kept: BoundedCounter = declared(lower=0, initial=10, holder="store-2")
    room: BoundedCounter = declared(lower=None, upper=9, initial=9)


EVENT = DocumentId("Event", "s1", "x")


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Documents fold when a second, fourth, ... replica writes."""
    monkeypatch.setattr(memory, "FOLD_FROM", 2)
    return Cloud(declared_space=app.contract.spaces["retail"])


def send(hall: Cloud, name: str, replica: str, seq: int, kind: str, value: Plain, field: str = "seats") -> None:
    op: DocumentOp = change(EVENT, field, kind, value, seq, replica=replica)
    hall.merge_value(hall.batch(command(name, op), replica=replica, read=hall.end - 1))


@pytest.mark.parametrize(
    ("heir", "spender", "verdict"),
    [
        ("store-1", "store-1.2", "accepted"),
        ("store-1", "store-2.1", "rejected invalid"),
        ("", "store-2.1", "rejected invalid"),
    ],
)
def test_what_a_retired_life_had_its_device_may_spend(hall: Cloud, heir: str, spender: str, verdict: str) -> None:
    send(hall, "make", "store-1.1", 1, "increment", 5)
    hall.forget(1, retired={"store-1.1": heir})
    hall.forget(2)
    send(hall, "look", spender, 1, "increment", 0)
    send(hall, "spend", spender, 2, "decrement", 5)
    assert PAST in hall.state(EVENT).fields["seats"]
    assert hall.verdicts()["spend"] == verdict
    assert hall.value(EVENT, "seats") == (0 if verdict == "accepted" else 5)


def test_what_a_device_that_is_gone_had_comes_back_to_the_holder(hall: Cloud) -> None:
    send(hall, "give", "store-2.1", 1, "transfer", ["store-1.1", 10], "kept")
    send(hall, "take", "store-1.1", 1, "decrement", 1, "kept")
    hall.forget(2, retired={"store-1.1": "", "store-2.1": "store-2"})
    hall.forget(3)
    for seq, name in enumerate(("look", "again"), 1):
        send(hall, name, "store-2.2", seq, "increment", 0, "kept")
    send(hall, "another", "store-2.3", 1, "increment", 0, "kept")
    send(hall, "spend", "store-2.2", 3, "decrement", 9, "kept")
    assert hall.verdicts()["spend"] == "accepted"
    assert hall.value(EVENT, "kept") == 0


def test_a_transfer_to_a_life_that_is_over_is_refused(hall: Cloud) -> None:
    send(hall, "make", "store-1.1", 1, "increment", 5)
    hall.merge_value(hall.batch(replica="store-2.2", ends=("store-2.1",)))
    send(hall, "lost", "store-1.1", 2, "transfer", ["store-2.1", 3])
    send(hall, "kept", "store-1.1", 3, "transfer", ["store-2.2", 3])
    verdicts = hall.verdicts()
    assert (verdicts["lost"], verdicts["kept"]) == ("rejected invalid", "accepted")


def rebased(hall: Cloud, name: str, replica: str, seq: int, kind: str, value: Plain, field: str = "seats") -> None:
    """A command that was first written in the device's first life."""
    op: DocumentOp = change(EVENT, field, kind, value, seq, replica=replica)
    hall.merge_value(hall.batch(command(name, op)._replace(root="store-1.1"), replica=replica, read=hall.end - 1))


def test_a_spend_that_was_promised_in_a_life_that_is_over_is_covered_by_what_that_life_had(hall: Cloud) -> None:
    send(hall, "make", "store-1.1", 1, "increment", 5)
    hall.merge_value(hall.batch(replica="store-1.2", ends=("store-1.1",)))
    rebased(hall, "promised", "store-1.2", 1, "decrement", 4)
    rebased(hall, "too much", "store-1.2", 2, "decrement", 2)
    send(hall, "new", "store-1.2", 3, "decrement", 2)
    verdicts = hall.verdicts()
    assert (verdicts["promised"], verdicts["too much"]) == ("accepted", "rejected no_rights")
    assert verdicts["new"] == "rejected invalid", "of what was never promised before"
    assert hall.value(EVENT, "seats") == 1
    send(hall, "more", "store-1.2", 4, "increment", 3)
    rebased(hall, "too much", "store-1.2", 5, "decrement", 2)
    assert hall.verdicts()["too much"] == "accepted", "tried again it is decided anew"
    assert hall.value(EVENT, "seats") == 2


def test_the_rights_of_a_life_that_may_still_write_are_its_own(hall: Cloud) -> None:
    send(hall, "make", "store-1.1", 1, "increment", 5)
    send(hall, "spend", "store-1.2", 1, "decrement", 1)
    assert hall.verdicts()["spend"] == "rejected invalid"


def test_what_was_parked_for_a_life_that_is_over_meets_what_the_next_one_has_taken(hall: Cloud) -> None:
    send(hall, "make", "store-1.1", 1, "increment", 5)
    send(hall, "late", "store-1.1", 3, "decrement", 3)
    hall.merge_value(hall.batch(replica="store-1.2", ends=("store-1.1",)))
    rebased(hall, "promised", "store-1.2", 1, "decrement", 4)
    value = hall.batch(
        command("gap", change(EVENT, "seats", "increment", 0, 2)),
        replica="store-1.1",
        number=2,
        prev=hall.heads["store-1.1", 1],
    )
    hall.merge_value(value)
    assert hall.verdicts()["promised"] == "accepted"
    assert hall.value(EVENT, "seats") == 1


NOBODY = ("ghost.1", "store-9.abcdefgh", "cloud.forget")
"""Well-formed names without an enrolled device; the workers' own."""
NO_LIFE = ("ghost", "store-2", "UP.1", "store-2.", ".1", "store-2.LIFE", "not a name", "store-2.1.")


@pytest.mark.parametrize("heir", [*NOBODY, *NO_LIFE])
@pytest.mark.parametrize("kind", ["transfer", "transfer_room"])
def test_a_transfer_to_nobody_is_refused(hall: Cloud, heir: str, kind: str) -> None:
    field = "seats" if kind == "transfer" else "room"
    send(hall, "make", "store-1.1", 1, "increment" if kind == "transfer" else "decrement", 5, field)
    send(hall, "lost", "store-1.1", 2, kind, [heir, 3], field)
    send(hall, "kept", "store-1.1", 3, kind, ["store-2.2", 5], field)
    verdicts = hall.verdicts()
    assert (verdicts["lost"], verdicts["kept"]) == ("rejected invalid", "accepted"), "what was not given is still there"


def test_whom_a_right_is_given_must_have_been_enrolled_when_the_record_was_appended(hall: Cloud) -> None:
    """Or else a replay after the enrolment would decide otherwise; reading the registry to its end may show that it was."""
    send(hall, "make", "store-1.1", 1, "increment", 5)
    hall.devices.lines["store-3"] = device(Identity.create("store-3"), enrolled_ms=NOW_MS + SLACK_MS + 1)
    op = change(EVENT, "seats", "transfer", ["store-3.1", 3], 2, replica="store-1.1")
    value = hall.batch(command("early", op), replica="store-1.1", read=hall.end - 1)
    assert doubtful(hall.admit(value))
    hall.merge_value(value)
    value = hall.batch(command("late", op_of(op, 3)), replica="store-1.1", read=hall.end - 1)
    assert not doubtful(hall.admit(value, NOW_MS + SLACK_MS + 2))
    hall.merge_value(value, append_ms=NOW_MS + SLACK_MS + 2)
    verdicts = hall.verdicts()
    assert (verdicts["early"], verdicts["late"]) == ("rejected invalid", "accepted")


async def test_whom_a_right_is_given_is_looked_for_once_more_before_it_is_refused(hall: Cloud) -> None:
    """The newest till was enrolled a moment ago, and this worker has not read that yet."""
    new, asked = device(Identity.create("store-3")), []

    def catch_up() -> None:
        asked.append("registry")
        hall.devices.lines["store-3"] = new

    hall.devices.catch_up = catch_up  # type: ignore[method-assign]
    admitting = Admitting(hall.rules, hall.devices, lambda: None, lambda _: {"tp": 9})  # type: ignore[arg-type]
    op = change(EVENT, "seats", "transfer", ["store-3.1", 3], 1, replica="store-1.1")
    value = hall.batch(command("give", op), replica="store-1.1")
    message = SimpleNamespace(value=value, timestamp=NOW_MS / 1000, timestamp_type=1, partition=0, tp="tp", offset=8)
    admission = await admitting.decide(message)
    assert not doubtful(admission) and asked == ["registry"]


def op_of(given: DocumentOp, seq: int) -> DocumentOp:
    return given._replace(op=given.op._replace(seq=seq))


def test_a_transfer_to_nobody_that_had_to_wait_is_refused_after_a_restart(hall: Cloud) -> None:
    send(hall, "make", "store-1.1", 1, "increment", 5)
    send(hall, "lost", "store-1.1", 3, "transfer", ["ghost.1", 3])
    hall.fly()
    hall.new_life(committed=hall.end)
    hall.restore_parked()
    hall.merger.resume(hall.end)
    send(hall, "gap", "store-1.1", 2, "increment", 0)
    assert hall.verdicts()["lost"] == "rejected invalid"


def test_a_command_beside_a_transfer_to_nobody_is_taken(hall: Cloud) -> None:
    ops = [change(EVENT, "seats", "increment", n, n, replica="store-1.1") for n in (1, 2)]
    lost = change(EVENT, "seats", "transfer", ["ghost.1", 1], 3, replica="store-1.1")
    commands = [command("first", ops[0]), command("second", ops[1]), command("lost", lost)]
    hall.merge_value(hall.batch(*commands, replica="store-1.1"))
    verdicts = hall.verdicts()
    assert (verdicts["first"], verdicts["second"], verdicts["lost"]) == ("accepted", "accepted", "rejected invalid")


def test_a_transfer_to_nobody_is_refused_after_one_to_somebody(hall: Cloud) -> None:
    """What was found good once says nothing of whom a right is given."""
    send(hall, "make", "store-1.1", 1, "increment", 5)
    send(hall, "given", "store-1.1", 2, "transfer", ["store-2.2", 1])
    send(hall, "lost", "store-1.1", 3, "transfer", ["ghost.1", 1])
    verdicts = hall.verdicts()
    assert (verdicts["given"], verdicts["lost"]) == ("accepted", "rejected invalid")
