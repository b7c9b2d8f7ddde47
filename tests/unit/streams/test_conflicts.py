"""What is published of two people's writes, for every kind of field that can be in conflict."""

from __future__ import annotations

import pytest

from driftlog_crdt import DELETE, DOCUMENT, DocumentState, Plain
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus, DocumentOp
from tests.unit.streams.cloud import NOW_MS, Cloud, command

PARCEL, ADDRESS = DocumentId("Parcel", "s1", "p"), DocumentId("Address", "s1", "a")
HOUR_MS = 3_600_000


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
    assert (found.field, found.rule, found.winner.value, found.loser.value) == ("stage", "ranked", "shipped", "packed")
    assert (found.winner.command_id, found.loser.command_id) == ("", "c2")


def test_the_side_that_wins_a_flag_stands(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "ready", "disable", None)
    parcel.write(2, parcel.unseen(), "ready", "enable", None)
    found = parcel.newest()
    assert (found.winner.value, found.loser.value) == (False, True)


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
    assert ended.resolved_by is not None and ended.resolved_by.value is None


def test_a_custom_conflict_shows_values_not_what_they_were_written_on(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "cart", "set", 3)
    parcel.write(2, parcel.unseen(), "cart", "set", 4)
    found = parcel.newest()
    assert {found.winner.value, found.loser.value} == {3, 4}
    assert parcel.cloud.value(PARCEL, "cart") == 7


def test_a_record_conflicts_as_a_whole_under_its_strictest_field(address: Writers) -> None:
    address.write(1, address.unseen(), "street", "set", "Main 1")
    address.write(2, address.unseen(), "city", "set", "Ulm")
    found = address.newest()
    assert (found.field, found.policy, found.status) == ("", "review", ConflictStatus.OPEN)
    assert found.deadline_ms == NOW_MS + HOUR_MS
    assert (found.winner.value, found.loser.value) == ({"street": "", "city": "Ulm"}, {"street": "Main 1", "city": ""})


def test_a_silent_field_publishes_nothing(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "note", "set", "x")
    parcel.write(2, parcel.unseen(), "note", "set", "y")
    parcel.cloud.fly()
    assert parcel.cloud.conflicts() == []


def test_deleting_the_document_ends_its_conflicts(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "stage", "set", "shipped")
    parcel.write(2, parcel.unseen(), "stage", "set", "packed")
    found = parcel.newest()
    parcel.write(1, parcel.seen(), DOCUMENT, DELETE, None)
    ended = parcel.newest()
    assert (ended.id, ended.status) == (found.id, ConflictStatus.RESOLVED)
    assert ended.resolved_by is not None and ended.resolved_by.command_id == "c3"


def test_a_value_that_is_not_of_the_declared_type_is_rejected(parcel: Writers) -> None:
    parcel.write(1, parcel.unseen(), "note", "set", 5)
    assert parcel.cloud.verdicts() == {"c1": "rejected invalid"}
    assert parcel.cloud.value(PARCEL, "note") == ""
