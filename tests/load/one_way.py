"""An app with collections of each direction: prices that a head office says, readings of sensors, and what is sold."""

from __future__ import annotations

from driftlog import App, Counter, Document, Register, Transaction, field

app = App("oneway")
space = app.space("oneway", partitions=2)


@space.collection(scope="store", id="sku", direction="down")
class Price(Document):
    store: str
    sku: str
    amount: Register[int] = 0


@space.collection(scope="store", id="name", direction="up", keep="1s")
class Reading(Document):
    store: str
    name: str
    times: Counter
    unit: Register[str] = field(default="", on_conflict="review")


@space.collection(scope="store", id="sku")
class Sold(Document):
    store: str
    sku: str
    pieces: Counter


@space.command
def say(tx: Transaction, store: str, sku: str, amount: int) -> None:
    tx.edit(Price, store, sku).amount.set(amount)


@space.command
def sense(tx: Transaction, store: str, name: str, unit: str = "") -> None:
    reading = tx.edit(Reading, store, name)
    reading.times.increment(1)
    if unit:
        reading.unit.set(unit)


@space.command
def sell(tx: Transaction, store: str, sku: str) -> int:
    tx.edit(Sold, store, sku).pieces.increment(1)
    return tx.edit(Price, store, sku).amount.value
