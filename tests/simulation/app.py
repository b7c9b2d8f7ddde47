"""The app that the simulated world runs: a shop small enough to judge, and documents of every field type (`all_types`).

`transfer` and `post` write two documents, so that a half visible command can be seen; the guard refuses in the cloud what no
single edge could know; notes and boards are deleted while others write on them; `reprice` is a command that one device is not permitted to send; `rename` is urgent and `tag` is not, so they overtake what was written before.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import PositiveInt

from driftlog import AddWinsSet, App, Counter, Document, Refused, Register, Transaction, field
from tests.simulation import all_types

PARTITIONS = 3

app = App("shop")
retail = app.space("retail", partitions=PARTITIONS)


@retail.collection(scope="store", id="sku")
class Stock(Document):
    """What lies on the shelves."""

    store: str
    sku: str
    on_hand: Counter
    price: Register[int] = field(default=0, on_conflict="review", deadline="48h")
    name: Register[str] = field(default="", on_conflict="record")
    shelf: Register[str] = ""
    tags: AddWinsSet[str]


@retail.collection(scope="store", id="day")
class Ledger(Document):
    """What was taken in."""

    store: str
    day: str
    sold: Counter
    remark: Register[str] = field(default="", on_conflict="record")


@retail.collection(scope="store", id="key")
class Note(Document):
    """Something written down; a delete takes it whatever others are doing to it."""

    store: str
    key: str
    wording: Register[str] = field(default="", on_conflict="record")
    read: Counter


@retail.collection(scope="store", id="key", on_delete="update-wins")
class Board(Document):
    """Something pinned up; a delete takes what its writer had seen."""

    store: str
    key: str
    title: Register[str] = field(default="", on_conflict="record")
    pins: AddWinsSet[str]


@retail.command
def receive(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> None:
    tx.edit(Stock, store, sku).on_hand.increment(qty)


@retail.command
def sell(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
    stock = tx.edit(Stock, store, sku)
    if stock.on_hand.value < qty:
        raise Refused("out_of_stock", f"{stock.on_hand.value} left")
    stock.on_hand.decrement(qty)
    tx.edit(Ledger, store, "today").sold.increment(qty)
    return stock.on_hand.value


@retail.command
def transfer(tx: Transaction, store: str, source: str, target: str, qty: PositiveInt) -> None:
    tx.edit(Stock, store, source).on_hand.decrement(qty)
    tx.edit(Stock, store, target).on_hand.increment(qty)


@retail.command
def reprice(tx: Transaction, store: str, sku: str, price: int) -> None:
    tx.edit(Stock, store, sku).price.set(price)


@retail.command(priority="critical")
def rename(tx: Transaction, store: str, sku: str, name: str) -> None:
    stock = tx.edit(Stock, store, sku)
    stock.name.set(name)
    stock.shelf.set(name[:1])


@retail.command(priority="low")
def tag(tx: Transaction, store: str, sku: str, word: str) -> None:
    tx.edit(Stock, store, sku).tags.add(word)


@retail.command
def untag(tx: Transaction, store: str, sku: str, word: str) -> None:
    tx.edit(Stock, store, sku).tags.remove(word)


@retail.command
def post(tx: Transaction, store: str, sku: str, remark: str) -> None:
    tx.edit(Ledger, store, "today").remark.set(remark)
    tx.edit(Stock, store, sku).name.set(remark)


@retail.command
def note(tx: Transaction, store: str, sku: str, text: str) -> None:
    written = tx.edit(Note, store, sku)
    written.wording.set(text)
    written.read.increment()


@retail.command
def glance(tx: Transaction, store: str, sku: str) -> None:
    tx.edit(Note, store, sku).read.increment()


@retail.command
def discard(tx: Transaction, store: str, sku: str) -> None:
    written = tx.edit(Note, store, sku)
    if not written.exists:
        raise Refused("nothing_there")
    written.delete()


@retail.command
def pin(tx: Transaction, store: str, sku: str, word: str) -> None:
    board = tx.edit(Board, store, sku)
    board.pins.add(word)
    board.title.set(word)


@retail.command
def clear(tx: Transaction, store: str, sku: str) -> None:
    board = tx.edit(Board, store, sku)
    if not board.exists:
        raise Refused("nothing_there")
    board.delete()


@retail.guard(Stock)
def never_negative(before: Stock, after: Stock) -> None:
    if after.on_hand.value < 0:
        raise Refused("recount", "more went than was there")


for kind, policy in ((all_types.Job, "delete-wins"), (all_types.Tool, "update-wins")):
    retail.collection(scope="store", id="sku", on_delete=policy)(kind)
    retail.guard(kind)(all_types.not_while_locked)
retail.collection(scope="store", id="sku", unit="record")(all_types.Address)
retail.guard(all_types.Address)(all_types.a_place_there_is)
for command in all_types.COMMANDS:
    retail.command(command)


CONTRACT = app.contract
SPACE = CONTRACT.spaces["retail"]
COLLAPSED = replace(
    CONTRACT,
    spaces={
        "retail": replace(SPACE, collections={n: replace(c, history="collapsed") for n, c in SPACE.collections.items()})
    },
)
"""The same app, of whose pending changes only the result is sent. No worker need know."""
SHARED = "shared"


def device_of_node(node: str) -> str:
    """Whose folder a node has: `edge-1+2` is the second copy of that of `edge-1`, or given its identity file."""
    return node.partition("+")[0]


EDGES: dict[str, tuple[str, ...]] = {
    "store-1": ("s1", SHARED),
    "store-2": ("s2", "s4", SHARED),
    "office": ("s1", "s2", "s4", SHARED),
}
"""device -> the scopes it subscribes to and may write; s1 and s2 share a partition"""
FORBIDDEN = {"store-2": frozenset({"reprice"})}
"""device -> commands that it is not permitted to send"""
