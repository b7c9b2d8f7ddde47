"""What is published of two people's writes, for every kind of field that can be in conflict."""

from __future__ import annotations

import pytest

from driftlog_crdt import DELETE, DOCUMENT, DocumentState, Plain
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus, DocumentOp
from driftlog_streams.core import conflicts
from tests.unit.streams.cloud import NOW_MS, Cloud, command

PARCEL, ADDRESS = DocumentId("Parcel", "s1", "p"), DocumentId("Address", "s1", "a")
HOUR_MS = 3_600_000


def values(conflict: Conflict) -> list[Plain]:
    return [version.value for version in conflict.versions]


class Writers:
    """Two stores that write what they mean on what they see."""

    def __init__(self, cloud: Cloud, document: DocumentId) -> None:
        self.cloud = cloud
        self.document = document
        self.kind = cloud.rules.collections[document.collection].type
        self.count = 0

    def write(self, store: int, seen: DocumentState, field: str, kind: str, value: Plain) -> None:
        self.count += 1
        replica = f"store-{store}.1"
        op = self.kind.prepare(seen, replica, (NOW_MS + self.count) << 16, field, kind, value)
        self.cloud.merge(command(f"c{self.count}", DocumentOp(self.document, op)), replica=replica)

    def unseen(self) -> DocumentState:
        return self.kind.new()

    def seen(self) -> DocumentState:
        return self.kind.copy(self.cloud.state(self.document))

    def newest(self) -> Conflict:
        self.cloud.fly()
        return self.cloud.conflicts()[-1]


@pytest.fixture
def parcel() -> Writers:
    return Writers(Cloud(), PARCEL)


@pytest.fixture
def address() -> Writers:
    return Writers(Cloud(), ADDRESS)


def test_the_stage_further_along_stands_whatever_the_clocks_say(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "stage", "set", "shipped")
    parcel.write(2, parcel.unseen(), "stage", "set", "packed")
    found = parcel.newest()
    assert (found.field, found.rule, values(found)) == ("stage", "ranked", ["shipped", "packed"])


def test_the_side_that_wins_a_flag_stands(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "ready", "disable", None)
    parcel.write(2, parcel.unseen(), "ready", "enable", None)
    found = parcel.newest()
    assert values(found) == [False, True]


def test_a_key_of_a_map_is_its_own_place(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "labels", "set", ["left", "a"])
    parcel.write(2, parcel.unseen(), "labels", "set", ["right", "b"])
    parcel.cloud.fly()
    assert parcel.cloud.conflicts() == []


def test_a_conflict_at_a_key_is_over_when_the_key_goes(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "labels", "set", ["left", "a"])
    parcel.write(2, parcel.unseen(), "labels", "set", ["left", "b"])
    found = parcel.newest()
    assert (found.field, found.status, found.winner.value) == ("labels.left", ConflictStatus.OPEN, "b")
    parcel.write(1, parcel.seen(), "labels", "remove", "left")
    ended = parcel.newest()
    assert (ended.id, ended.field, ended.status) == (found.id, "labels.left", ConflictStatus.RESOLVED)
    assert ended.decided_by is not None and ended.decided_by.value is None


def test_a_custom_conflict_shows_values_not_what_they_were_written_on(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "cart", "set", 3)
    parcel.write(2, parcel.unseen(), "cart", "set", 4)
    found = parcel.newest()
    assert values(found) == [4, 3]
    assert parcel.cloud.value(PARCEL, "cart") == 7


def test_a_record_conflicts_as_a_whole_under_its_strictest_field(address: Writers) -> None:
    address.write(1, address.unseen(), "street", "set", "Main 1")
    address.write(2, address.unseen(), "city", "set", "Ulm")
    found = address.newest()
    assert (found.field, found.policy, found.status) == ("", "review", ConflictStatus.OPEN)
    assert found.deadline_ms == NOW_MS + HOUR_MS
    assert values(found) == [{"street": "", "city": "Ulm"}, {"street": "Main 1", "city": ""}]


def test_a_silent_field_publishes_nothing(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "note", "set", "x")
    parcel.write(2, parcel.unseen(), "note", "set", "y")
    parcel.cloud.fly()
    assert parcel.cloud.conflicts() == []


# -- one record for a place


CROWD = 400


def offline_writers(parcel: Writers, count: int) -> None:
    """Each of them writes a label without having heard of any other: lives of one device, for there are two devices here."""
    for number in range(count):
        replica = f"store-1.{number + 1}"
        op = parcel.kind.prepare(
            parcel.unseen(), replica, (NOW_MS + number) << 16, "labels", "set", ["left", f"{number:03}"]
        )
        arrived = command(f"c{number}", DocumentOp(parcel.document, op))._replace(actor=f"person-{number}")
        parcel.cloud.merge(arrived, replica=replica, append_ms=NOW_MS + 10 * number)


def test_hundreds_of_offline_writers_are_one_conflict_and_one_decision_ends_it(parcel: Writers) -> None:
    offline_writers(parcel, CROWD)
    parcel.cloud.fly()
    (found,) = parcel.cloud.conflicts()
    assert (found.status, len(found.versions), found.omitted) == (ConflictStatus.OPEN, CROWD, 0)
    assert values(found) == [f"{number:03}" for number in reversed(range(CROWD))]
    assert {(v.command_id, v.actor) for v in found.versions} == {(f"c{n}", f"person-{n}") for n in range(CROWD)}
    parcel.write(2, parcel.seen(), "labels", "set", ["left", "one for all"])
    ended = parcel.newest()
    assert len(parcel.cloud.conflicts()) == 2
    assert (ended.id, ended.status, ended.versions) == (found.id, ConflictStatus.RESOLVED, found.versions)
    assert ended.decided_by is not None and ended.decided_by.value == "one for all"


def test_a_crowd_of_writers_costs_each_of_them_a_few_steps(parcel: Writers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: how many pairs of values are compared while `CROWD` writers open one conflict and one ends it."""
    from driftlog_crdt import dotted

    compared = []
    true_differ = dotted.differ
    monkeypatch.setattr(dotted, "differ", lambda one, other: compared.append(1) or true_differ(one, other))
    offline_writers(parcel, CROWD)
    parcel.write(2, parcel.seen(), "labels", "set", ["left", "one for all"])
    assert len(parcel.newest().versions) == CROWD
    assert len(compared) < 5 * CROWD


def test_a_record_holds_so_many_versions_and_counts_the_rest(parcel: Writers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "MAX_VERSIONS", 7)
    offline_writers(parcel, 30)
    found = parcel.newest()
    assert (values(found), found.omitted) == ([f"{number:03}" for number in range(29, 22, -1)], 23)
    monkeypatch.setattr(conflicts, "MAX_BYTES", 3)
    parcel.cloud.new_life()
    parcel.write(2, parcel.unseen(), "labels", "set", ["left", "oldest"])
    found = parcel.newest()
    assert (values(found), found.omitted) == (["029", "028"], 29)


def test_who_wrote_is_kept_in_the_state_and_the_deadline_does_not_move(address: Writers) -> None:
    cloud = address.cloud
    for store, at in ((1, 0), (2, 1_000)):
        op = address.kind.prepare(address.unseen(), f"store-{store}.1", NOW_MS << 16, "city", "set", f"city-{store}")
        arrived = command(f"c{store}", DocumentOp(address.document, op))._replace(actor=f"person-{store}")
        cloud.merge(arrived, replica=f"store-{store}.1", append_ms=NOW_MS + at)
        cloud.fly()
        cloud.new_life()  # it knows only what the store has
    late = address.kind.prepare(address.unseen(), "store-2.2", NOW_MS << 16, "city", "set", "late")
    cloud.merge(command("c3", DocumentOp(address.document, late)), replica="store-2.2", append_ms=NOW_MS + 9_000)
    cloud.fly()
    first, second = cloud.conflicts()
    assert first.id == second.id
    assert (first.opened_ms, second.opened_ms, second.detected_ms) == (NOW_MS + 1_000, NOW_MS + 1_000, NOW_MS + 9_000)
    assert first.deadline_ms == second.deadline_ms == NOW_MS + 1_000 + HOUR_MS
    told = {(v.replica, v.command_id, v.actor, v.append_ms) for v in second.versions}
    assert told == {
        ("store-1.1", "c1", "person-1", NOW_MS),
        ("store-2.1", "c2", "person-2", NOW_MS + 1_000),
        ("store-2.2", "c3", "", NOW_MS + 9_000),
    }
    cloud.new_life()
    address.count = 3
    address.write(1, address.seen(), "city", "set", "Ulm")
    ended = address.newest()
    assert (ended.versions, ended.opened_ms) == (second.versions, second.opened_ms)
    assert ended.decided_by is not None and (ended.decided_by.command_id, ended.decided_by.seen) == ("c4", 3)


def test_a_place_that_is_fought_over_again_opens_its_record_again(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "stage", "set", "shipped")
    parcel.write(2, parcel.unseen(), "stage", "set", "packed")
    first = parcel.newest()
    both = parcel.seen()
    parcel.write(1, both, "stage", "set", "open")
    assert parcel.newest().status is ConflictStatus.RESOLVED
    parcel.write(2, both, "stage", "set", "shipped")
    again = parcel.newest()
    assert (again.id, again.status, values(again)) == (first.id, ConflictStatus.RECORDED, ["shipped", "open"])


def test_what_was_opened_and_ended_within_one_flight_is_told_too(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "stage", "set", "shipped")
    parcel.write(2, parcel.unseen(), "stage", "set", "packed")
    parcel.write(1, parcel.seen(), "stage", "set", "open")
    (told,) = (parcel.newest(), parcel.cloud.conflicts())[1]
    assert (told.status, values(told)) == (ConflictStatus.RESOLVED, ["shipped", "packed"])


def test_who_wrote_is_not_kept_where_nobody_is_told(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "note", "set", "x")
    parcel.write(1, parcel.seen(), "stage", "set", "open")
    note, stage = (parcel.seen().fields[name][0].origin for name in ("note", "stage"))
    assert note is None
    assert stage is not None and stage.command_id == "c2"


def test_deleting_the_document_ends_its_conflicts(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "stage", "set", "shipped")
    parcel.write(2, parcel.unseen(), "stage", "set", "packed")
    found = parcel.newest()
    parcel.write(1, parcel.seen(), DOCUMENT, DELETE, None)
    ended = parcel.newest()
    assert (ended.id, ended.status) == (found.id, ConflictStatus.RESOLVED)
    assert ended.decided_by is not None and ended.decided_by.command_id == "c3"


def test_a_value_that_is_not_of_the_declared_type_is_rejected(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "note", "set", 5)
    assert parcel.cloud.verdicts() == {"c1": "rejected invalid"}
    assert parcel.cloud.value(PARCEL, "note") == ""
