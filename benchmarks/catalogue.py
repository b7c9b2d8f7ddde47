"""The documents that the algebra's benchmarks work on: one as a shop has it, and one of every field type.

Histories are made by `prepare`, so that ops have the contexts that real writers give them, by replicas that see each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import Any, NamedTuple

from driftlog_crdt import (
    AddWinsSet,
    BoundedCounter,
    Counter,
    Custom,
    DocumentState,
    DocumentType,
    Field,
    FieldType,
    Flag,
    GrowCounter,
    GrowSet,
    List,
    Map,
    Max,
    Min,
    MultiValue,
    Op,
    Plain,
    Ranked,
    Register,
    RemoveWinsSet,
    Text,
    version_of,
)

REPLICAS = ("store-12", "store-12-till-1", "store-12-till-2", "warehouse-3", "cloud")

STOCK = DocumentType(
    "Stock",
    {
        "name": Field(Register("")),
        "price": Field(Register("0"), "review"),
        "on_hand": Field(Counter()),
        "tags": Field(AddWinsSet()),
    },
    max_bytes=1 << 30,
)


class Intent(NamedTuple):
    """What a writer wants: kind and value of an op before it is prepared."""

    kind: str
    value: Plain


def write(document: DocumentType, state: DocumentState, replica: str, field: str, intent: Intent) -> Op:
    """Prepare an op and apply it."""
    hlc = (1_700_000_000_000 + sum(state.vector.values())) << 16
    op = document.prepare(state, replica, hlc, field, *intent)
    document.apply(state, op)
    return op


def texts_of(encoded: bytes) -> bytes:
    """What is JSON in an encoded state, as one text."""
    version = version_of(encoded)
    _, rest = encoded.split(version, 1)
    return b"[%b,%b]" % (version, rest)


def live_stock() -> DocumentState:
    """An article with a name, a price, three tags and some sales, seen by five replicas."""
    state = STOCK.new()
    write(STOCK, state, "cloud", "name", Intent("set", "Oolong tea, loose, 250 g"))
    write(STOCK, state, "cloud", "price", Intent("set", "12.90"))
    for tag in ("tea", "fair trade", "sale"):
        write(STOCK, state, "warehouse-3", "tags", Intent("add", tag))
    for replica in REPLICAS:
        write(STOCK, state, replica, "on_hand", Intent("increment", 24))
        write(STOCK, state, replica, "on_hand", Intent("decrement", 5))
    return state


def follow(
    document: DocumentType, state: DocumentState, field: str, intent: Callable[[int], Intent], count: int
) -> list[Op]:
    """The next `count` ops on a copy of `state`, by all replicas in turn, each seeing all that came before."""
    view = document.copy(state)
    return [
        write(document, view, replica, field, intent(number))
        for number, replica in enumerate(islice(cycle(REPLICAS), count))
    ]


class Sample(NamedTuple):
    """A field type and what its writers do."""

    type: FieldType[Any]
    intent: Callable[[int], Intent]


def _merge_sums(base: Any, left: Any, right: Any) -> Any:
    return left + right - base


def _by_turns(first: str, second: str, value: Callable[[int], Plain]) -> Callable[[int], Intent]:
    """Ten of the one, ten of the other, and so on: what was added is removed again."""
    return lambda n: Intent(first if n // 10 % 2 == 0 else second, value(n % 10))


SAMPLES: Mapping[str, Sample] = {
    "add_wins_set": Sample(AddWinsSet(), _by_turns("add", "remove", lambda n: f"tag {n}")),
    "bounded_counter": Sample(
        BoundedCounter(lower=0, initial=10**9, holder=REPLICAS[0]),
        lambda n: Intent("increment" if n < 10 else "decrement", 10**6 if n < 10 else 1),
    ),
    "counter": Sample(Counter(), lambda n: Intent("increment" if n % 2 else "decrement", n)),
    "custom": Sample(Custom(_merge_sums, 0), lambda n: Intent("set", n)),
    "flag": Sample(Flag(), lambda n: Intent("enable" if n % 2 else "disable", None)),
    "grow_counter": Sample(GrowCounter(), lambda n: Intent("increment", n)),
    "grow_set": Sample(GrowSet(), lambda n: Intent("add", f"tag {n % 20}")),
    "list": Sample(List(), lambda n: Intent("insert", [n, [f"stop {n}"]])),
    "map": Sample(Map(Register()), lambda n: Intent("set", [f"key {n % 10}", n])),
    "max": Sample(Max(), lambda n: Intent("raise", n)),
    "min": Sample(Min(), lambda n: Intent("lower", -n)),
    "multi_value": Sample(MultiValue(), lambda n: Intent("set", n)),
    "ranked": Sample(
        Ranked(["open", "packed", "shipped"]), lambda n: Intent("set", ("open", "packed", "shipped")[n % 3])
    ),
    "register": Sample(Register(), lambda n: Intent("set", f"{n}.90")),
    "remove_wins_set": Sample(RemoveWinsSet(), _by_turns("add", "remove", lambda n: f"tag {n}")),
    "text": Sample(Text(), lambda n: Intent("insert", [n, "x"])),
}
"""Every field type by its name, as `driftlog_crdt.FIELD_TYPES` has it."""
