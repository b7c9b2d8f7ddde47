"""The app of the agent's tests: two spaces, documents of every kind that the agent treats differently, commands that can go wrong."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveInt

from driftlog import AddWinsSet, App, BoundedCounter, Counter, Document, Refused, Register, Text, Transaction, field
from driftlog_crdt import TooLarge

PARTITIONS = 4

app = App("shop")
retail = app.space("retail", partitions=PARTITIONS)
audit = app.space("audit", partitions=1)


@retail.collection(scope="store", id="sku", max_bytes=4096)
class Stock(Document):
    store: str
    sku: str
    on_hand: Counter
    name: Register[str] = ""
    price: Register[int] = field(default=0, on_conflict="review", deadline="48h")
    tags: AddWinsSet[str]


@retail.collection(scope="store", id="day")
class Ledger(Document):
    store: str
    day: str
    sold: Counter


@retail.collection(scope="store", id="name")
class Event(Document):
    store: str
    name: str
    seats: BoundedCounter


@retail.collection(scope="store", id="name", max_age="10m")
class Airspace(Document):
    store: str
    name: str
    closed: Register[bool] = False
    flights: Counter


@retail.collection(scope="store", id="name")
class Leaflet(Document):
    store: str
    name: str
    text: Text


@retail.collection(scope="store", id="name", history="collapsed")
class Meter(Document):
    store: str
    name: str
    reading: Counter
    state: Register[str] = ""
    seen: AddWinsSet[str]


@retail.collection(scope="store", id="name", direction="up", keep="1d")
class Reading(Document):
    store: str
    name: str
    times: Counter
    note: Register[str] = field(default="", on_conflict="record")


@retail.collection(scope="store", id="name", offline_limit="7d")
class Tariff(Document):
    store: str
    name: str
    cents: Register[int] = 0
    sold: Counter


@audit.collection(scope="store", id="id")
class Remark(Document):
    store: str
    id: str
    text: Register[str] = ""


@retail.command
def tax(tx: Transaction, store: str, name: str, cents: int) -> None:
    tx.edit(Tariff, store, name).cents.set(cents)


@retail.command
def sell_taxed(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
    """Sell what is there, and count it for the tariff of today."""
    stock = tx.edit(Stock, store, sku)
    stock.on_hand.decrement(qty)
    tx.edit(Tariff, store, "today").sold.increment(qty)
    return stock.on_hand.value


@retail.command(requires_fresh="1m")
def take_off(tx: Transaction, store: str, name: str) -> int:
    """A drone may not fly on yesterday's restrictions."""
    area = tx.edit(Airspace, store, name)
    if area.closed.value:
        raise Refused("closed")
    area.flights.increment()
    return area.flights.value


@retail.command(requires_fresh=True)
def survey(tx: Transaction, store: str, name: str) -> bool:
    """As fresh as what it looks at says."""
    return tx.edit(Airspace, store, name).closed.value


@retail.command(requires_fresh=True)
def stock_take(tx: Transaction, store: str, sku: str) -> int:
    """What it looks at says nothing of an age."""
    return tx.edit(Stock, store, sku).on_hand.value


@retail.command
def sense(tx: Transaction, store: str, name: str, note: str = "", sku: str = "") -> int:
    """A sensor says something, for the cloud to know, perhaps of something that came in."""
    if sku:
        tx.edit(Stock, store, sku).on_hand.increment(1)
    reading = tx.edit(Reading, store, name)
    reading.times.increment(1)
    if note:
        reading.note.set(note)
    return reading.times.value


@retail.command
def measure(tx: Transaction, store: str, name: str, by: PositiveInt = 1) -> int:
    """Of a meter only the reading is of interest, not how it came to be."""
    meter = tx.edit(Meter, store, name)
    meter.reading.increment(by)
    return meter.reading.value


@retail.command
def observe(tx: Transaction, store: str, name: str, state: str) -> None:
    meter = tx.edit(Meter, store, name)
    meter.state.set(state)
    meter.seen.add(state)


@retail.command
def measure_both(tx: Transaction, store: str, one: str, other: str) -> None:
    for name in (one, other):
        tx.edit(Meter, store, name).reading.increment(1)


@retail.command
def receive(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
    """Goods arrive."""
    stock = tx.edit(Stock, store, sku)
    stock.on_hand.increment(qty)
    return stock.on_hand.value


@retail.command
def sell(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
    """Sell what is there, and book it."""
    stock = tx.edit(Stock, store, sku)
    if stock.on_hand.value < qty:
        raise Refused("out_of_stock", f"{stock.on_hand.value} left")
    stock.on_hand.decrement(qty)
    tx.edit(Ledger, store, "today").sold.increment(qty)
    return stock.on_hand.value


@retail.command(priority="high")
def reprice(tx: Transaction, store: str, sku: str, price: int) -> None:
    tx.edit(Stock, store, sku).price.set(price)


@retail.command(priority="low")
def rename(tx: Transaction, store: str, sku: str, name: str) -> None:
    tx.edit(Stock, store, sku).name.set(name)


@retail.command(priority="critical")
def recall(tx: Transaction, store: str, sku: str) -> None:
    """It must not be sold any more, wherever it is."""
    tx.edit(Stock, store, sku).tags.add("recalled")


@retail.command
def fill(tx: Transaction, store: str, prefix: str, count: PositiveInt) -> None:
    """As many documents at once as told."""
    for number in range(count):
        tx.edit(Stock, store, f"{prefix}{number}").on_hand.increment(1)


@retail.command
def change_then_fail(
    tx: Transaction, store: str, sku: str, how: Literal["refused", "defect", "other_scope", "too_large", "other_space"]
) -> None:
    """Changes two documents, then does not end well."""
    tx.edit(Stock, store, sku).on_hand.increment(100)
    tx.edit(Ledger, store, "today").sold.increment(100)
    match how:
        case "refused":
            raise Refused("changed_my_mind", "after all")
        case "defect":
            raise ZeroDivisionError("a defect of the app")
        case "other_scope":
            tx.edit(Stock, store + "-other", sku).on_hand.increment(1)
        case "too_large":
            tx.edit(Stock, store, sku).name.set("x" * 5000)
        case "other_space":
            tx.edit(Remark, store, "r1").text.set("not from here")


@retail.command
def look(tx: Transaction, store: str, sku: str) -> int:
    """Changes nothing."""
    return tx.edit(Stock, store, sku).on_hand.value


@retail.command
def stubborn(tx: Transaction, store: str, sku: str) -> int:
    """Is refused a change twice, and goes on."""
    stock = tx.edit(Stock, store, sku)
    stock.on_hand.increment(1)
    for name in ("x" * 5000, "green"):
        try:
            stock.name.set(name)
        except TooLarge:
            stock.on_hand.increment(1)
    try:
        stock.tags.add("y" * 5000)
    except TooLarge:
        stock.on_hand.increment(1)
    return stock.on_hand.value


kept: list[Stock] = []


@retail.command
def keep(tx: Transaction, store: str, sku: str) -> None:
    """Keeps what it should not."""
    kept.append(tx.edit(Stock, store, sku))


@retail.command
def label(tx: Transaction, store: str, prefix: str, sizes: list[Annotated[int, Field(ge=0, le=1 << 20)]]) -> None:
    """As much text as told, in bounds: what is drawn from the API's description once made texts of 20 GB here."""
    for number, size in enumerate(sizes):
        tx.edit(Stock, store, f"{prefix}{number}").name.set("x" * size)


@retail.command
def stocktake(tx: Transaction, store: str) -> dict[str, int]:
    """Counts, adds one of each and what was not there, and signs."""
    first = next(iter(tx.list(Stock, store)), None)
    tx.edit(Stock, store, "new").on_hand.increment(1)
    for stock in tx.list(Stock, store):
        stock.on_hand.increment(1)
    note = f"{tx.actor} {tx.command_id} {tx.now.isoformat()} {'none' if first is None else first.sku}"
    tx.edit(Stock, store, "zz").name.set(note)
    return {stock.sku: stock.on_hand.value for stock in tx.list(Stock, store)}


@retail.command
def count(tx: Transaction, shop: str, article: str = "") -> int:
    """How much there is of one article or of all; what it calls its arguments the document calls otherwise."""
    found = [tx.edit(Stock, shop, article)] if article else tx.list(Stock, shop)
    return sum(stock.on_hand.value for stock in found)


class Box(BaseModel):
    """An argument that is more than a number."""

    sku: str
    qty: PositiveInt


class Grade(StrEnum):
    """An argument that is one of a few texts, all of which look like numbers."""

    FIRST = "1"
    SECOND = "2"


@retail.command
def pack(
    tx: Transaction,
    store: str,
    boxes: list[Box],
    grade: Grade = Grade.FIRST,
    label: Grade | Literal[3, "4"] | None = None,
) -> list[object]:
    for box in boxes:
        tx.edit(Stock, store, box.sku).on_hand.decrement(box.qty)
    return [grade, label]


CONTRACT = app.contract
