"""Rejected means without effect, for what was built on it too; and what had no effect is told."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog import App, BoundedCounter, Counter, Custom, Document, List, Map, Refused, Register, Text
from driftlog import field as declared
from driftlog_crdt import DELETE, DOCUMENT, DocumentState, Plain
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import DocumentOp
from tests.unit.streams.cloud import NOW_MS, Cloud, command

app = App("hall")
space = app.space("retail", partitions=1)


@space.collection(scope="hall", id="name")
class Event(Document):
    hall: str
    name: str
    seats: BoundedCounter = declared(lower=0)
    sold: Counter
    bins: Map[Counter]
    text: Text
    stops: List[str]
    total: Custom[int] = declared(default=0, merge=lambda base, left, right: left + right - base)
    title: Register[str] = ""


@space.collection(scope="hall", id="name", on_delete="update-wins")
class Shelf(Document):
    hall: str
    name: str
    count: Counter
    text: Text


@space.collection(scope="hall", id="name", unit="record")
class Address(Document):
    hall: str
    name: str
    street: Register[str] = ""
    city: Register[str] = ""


@space.collection(scope="hall", id="name")
class Free(Document):
    """Nobody looks at it: an op is asked on the document itself, without a trial."""

    hall: str
    name: str
    seats: BoundedCounter = declared(lower=0)
    text: Text


@space.guard(Event)
@space.guard(Shelf)
def modest(before: Any, after: Any) -> None:
    counts = [after.count] if isinstance(after, Shelf) else [after.seats, after.sold, after.total]
    if any(count.value >= 1_000 for count in counts) or "ugly" in after.text.value:
        raise Refused("immodest", "too much of it")
    if isinstance(after, Event) and ("ugly" in after.stops.value or 1_000 in after.bins.value.values()):
        raise Refused("immodest", "too much of it")


@space.guard(Address)
def not_there(before: Address, after: Address) -> None:
    if after.street.value == "ugly":
        raise Refused("immodest", "nobody lives there")


EVENT, SHELF, ADDRESS, FREE = (DocumentId(name, "s1", "x") for name in ("Event", "Shelf", "Address", "Free"))


class Till:
    """A device that writes on what it sees: what the cloud last told it, and its own changes since."""

    def __init__(self, cloud: Cloud, document: DocumentId, store: int = 1) -> None:
        self.cloud, self.document, self.store = cloud, document, store
        self.replica = f"store-{store}.1"
        self.kind = cloud.rules.collections[document.collection].type
        self.view: DocumentState = self.kind.new()
        self.unsure = 0
        self.waiting: list[tuple[str, list[DocumentOp]]] = []

    def write(self, name: str, *changes: tuple[str, str, Plain]) -> None:
        ops = []
        for field, kind, value in changes:
            op = self.kind.prepare(self.view, self.replica, NOW_MS << 16, field, kind, value, self.unsure)
            self.kind.apply(self.view, op)
            self.unsure += 1
            ops.append(DocumentOp(self.document, op))
        self.waiting.append((name, ops))

    def send(self) -> None:
        for name, ops in self.waiting:
            self.cloud.merge(command(name, *ops), replica=self.replica)
        self.waiting = []

    def hear(self) -> None:
        self.view, self.unsure = self.kind.copy(self.cloud.state(self.document)), 0


@pytest.fixture
def hall() -> Cloud:
    return Cloud(declared_space=app.contract.spaces["retail"])


BUILT: list[tuple[DocumentId, tuple[str, str, Plain], tuple[str, str, Plain]]] = [
    (EVENT, ("seats", "increment", 1_000), ("seats", "decrement", 10)),
    (EVENT, ("seats", "increment", 1_000), ("seats", "transfer", ["store-2.1", 10])),
    (EVENT, ("bins", "increment", ["k", 1_000]), ("bins", "remove", "k")),
    (EVENT, ("text", "insert", [0, "ugly"]), ("text", "insert", [2, "x"])),
    (EVENT, ("stops", "insert", [0, ["ugly"]]), ("stops", "insert", [1, ["x"]])),
    (EVENT, ("total", "set", 1_000), ("total", "set", 1_001)),
    (SHELF, ("count", "increment", 1_000), (DOCUMENT, DELETE, None)),
    (SHELF, ("text", "insert", [0, "ugly"]), (DOCUMENT, DELETE, None)),
    (ADDRESS, ("street", "set", "ugly"), ("city", "set", "Ulm")),
]


@pytest.mark.parametrize(("document", "bad", "built"), BUILT, ids=lambda value: "-".join(map(str, value)))
def test_what_is_built_on_a_refused_change_is_refused(
    hall: Cloud, document: DocumentId, bad: tuple[str, str, Plain], built: tuple[str, str, Plain]
) -> None:
    till = Till(hall, document)
    till.write("bad", bad)
    till.write("built", built)
    till.send()
    assert hall.verdicts() == {"bad": "rejected immodest", "built": "rejected builds_on_refused"}
    assert not till.kind.exists(hall.state(document))
    till.hear()
    field = document.collection
    again = {"Event": ("sold", "increment", 5), "Shelf": ("count", "increment", 5), "Address": ("city", "set", "Ulm")}
    till.write("again", again[field])
    till.send()
    assert hall.verdicts()["again"] == "accepted"
    assert hall.state(document).refused == {}


@pytest.mark.parametrize(
    "plain",
    [
        ("sold", "increment", 5),
        ("seats", "increment", 5),
        ("title", "set", "Night"),
        ("bins", "increment", ["k", 5]),
        ("text", "insert", [0, "fine"]),
    ],
)
def test_what_means_the_same_anyhow_is_merged(hall: Cloud, plain: tuple[str, str, Plain]) -> None:
    till = Till(hall, EVENT)
    till.write("bad", ("sold", "increment", 1_000))
    till.write("plain", plain)
    till.send()
    assert hall.verdicts() == {"bad": "rejected immodest", "plain": "accepted"}
    assert hall.state(EVENT).refused == {"store-1.1": ((1, 1, False),)}


def test_a_delete_of_text_takes_what_is_there_of_what_its_writer_saw(hall: Cloud) -> None:
    till = Till(hall, EVENT)
    till.write("good", ("text", "insert", [0, "hello"]))
    till.write("bad", ("text", "insert", [2, "ugly"]))
    till.write("cut", ("text", "delete", [1, 6]))
    till.send()
    assert hall.verdicts() == {"good": "accepted", "bad": "rejected immodest", "cut": "accepted"}
    assert hall.value(EVENT, "text") == "hlo"


def test_text_after_a_refused_delete_of_the_document_is_refused(hall: Cloud) -> None:
    """Its characters count anew in a new document, so they would be taken for others here."""
    till = Till(hall, EVENT)
    till.write("good", ("text", "insert", [0, "abc"]))
    till.send()
    till.hear()
    till.write("bad", (DOCUMENT, DELETE, None), ("sold", "increment", 1_000))
    till.write("new", ("text", "insert", [0, "xyz"]))
    till.write("cut", ("text", "delete", [1, 1]))
    till.send()
    assert [hall.verdicts()[name] for name in ("bad", "new", "cut")] == [
        "rejected immodest",
        "rejected builds_on_refused",
        "rejected builds_on_refused",
    ]
    assert hall.value(EVENT, "text") == "abc"


def test_nobody_takes_what_was_not_his(hall: Cloud) -> None:
    forger = Till(hall, EVENT)
    forger.kind.apply(
        forger.view, forger.kind.prepare(forger.view, "store-2.1", 0, "seats", "increment", 900)
    )  # a right that nobody ever gave
    view = forger.view
    gift = forger.kind.prepare(view, "store-2.1", 0, "seats", "transfer", ["store-1.1", 900])
    forger.kind.apply(view, gift)
    stolen = forger.kind.prepare(view, "store-1.1", NOW_MS << 16, "seats", "decrement", 900)._replace(context=None)
    hall.merge(command("stolen", DocumentOp(EVENT, stolen)))
    assert hall.verdicts() == {"stolen": "rejected invalid"}
    assert hall.value(EVENT, "seats") == 0


@pytest.mark.parametrize("document", [EVENT, FREE], ids=["guarded", "unguarded"])
def test_rights_made_earlier_in_a_command_may_be_spent_in_it(hall: Cloud, document: DocumentId) -> None:
    till = Till(hall, document)
    till.write("both", ("seats", "increment", 5), ("seats", "decrement", 4))
    till.write("text", ("text", "insert", [0, "ab"]), ("text", "insert", [1, "c"]))
    till.send()
    assert hall.verdicts() == {"both": "accepted", "text": "accepted"}


def test_a_command_that_spends_more_than_it_has_changes_nothing(hall: Cloud) -> None:
    till = Till(hall, EVENT)
    till.write("bad", ("seats", "increment", 1_000))
    till.write("both", ("sold", "increment", 1), ("seats", "increment", 5), ("seats", "decrement", 6))
    till.send()
    assert hall.verdicts()["both"] == "rejected builds_on_refused"
    assert (hall.value(EVENT, "seats"), hall.value(EVENT, "sold")) == (0, 0)


def test_a_change_that_a_delete_has_won_over_is_told(hall: Cloud) -> None:
    one, two = Till(hall, EVENT), Till(hall, EVENT, 2)
    one.write("made", ("sold", "increment", 5))
    one.send()
    one.hear()
    one.write("gone", (DOCUMENT, DELETE, None))
    two.write("late", ("sold", "increment", 3))
    one.send()
    two.send()
    assert hall.verdicts() == {"made": "accepted", "gone": "accepted", "late": "no_effect no_effect"}
