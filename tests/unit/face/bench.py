"""A document of every kind of field, and an editor that merges what is done to it as an edge and a worker do."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from driftlog import (
    AddWinsSet,
    App,
    BoundedCounter,
    Counter,
    Custom,
    Document,
    Flag,
    GrowCounter,
    GrowSet,
    List,
    Map,
    Max,
    Min,
    MultiValue,
    Ranked,
    Register,
    RemoveWinsSet,
    Text,
    field,
)
from driftlog_crdt import DocumentState, Op, Plain
from driftlog_schemas.contract import CollectionContract

app = App("face")
space = app.space("face", partitions=2)
ME = "me.1"


def both(base: list[str], left: list[str], right: list[str]) -> list[str]:
    return sorted({*left, *right})


@space.collection(scope="place", id="key")
class Thing(Document):
    place: str
    key: str
    count: Counter
    visits: GrowCounter
    seats: BoundedCounter = field(lower=0, initial=10, holder=ME)
    record: Max[int]
    fastest: Min[float]
    price: Register[Decimal] = field(default=Decimal("1.50"), on_conflict="review", deadline="48h")
    note: Register[str | None]
    stage: Ranked[Literal["open", "packed", "shipped"]]
    names: MultiValue[str]
    ready: Flag = field(wins="disable", on_conflict="record")
    cart: Custom[list[str]] = field(merge=both, on_conflict="record")
    weights: AddWinsSet[Decimal]
    banned: RemoveWinsSet[int]
    seen: GrowSet[str]
    labels: Map[Register[str]]
    bins: Map[Counter]
    story: Text
    steps: List[str]


@space.collection(scope="place", id="key", unit="record")
class Address(Document):
    place: str
    key: str
    street: Register[str] = field(default="", on_conflict="record")
    city: Register[str] = ""


THING: CollectionContract = app.contract.collection("Thing")
ADDRESS: CollectionContract = app.contract.collection("Address")


class Bench:
    """One document being edited by one replica."""

    scope, id = "here", "one"

    def __init__(self, collection: CollectionContract = THING) -> None:
        self.collection = collection
        self.state: DocumentState = collection.document.new()
        self.ops: list[Op] = []

    def record(self, field: str, kind: str, value: Plain) -> None:
        document = self.collection.document
        op = document.prepare(self.state, ME, len(self.ops) + 1, field, kind, value)
        document.check(op)
        self.collection.check(op)
        document.apply(self.state, op)
        self.ops.append(op)

    def do(self, field: str, op: str, *args: Plain) -> None:
        """As over HTTP."""
        self.collection.mutate(self, field, op, args)

    def shown(self, field: str) -> Plain:
        """As a reader gets it."""
        return self.collection.present(self.scope, self.id, self.state)[field]
