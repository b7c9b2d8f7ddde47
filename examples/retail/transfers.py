"""Goods that go from one store to another: the sender writes a transfer in its own scope, and the arrival follows in the other's.

The stores need not see each other, nor be online together. The reaction runs in the cloud, on the merged transfer, and the command that it
calls for takes effect once, whatever happens to the workers meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import PositiveInt

from driftlog import App, Counter, Document, Emit, Refused, Register, Transaction

app = App("transfers")
goods = app.space("goods", partitions=8)


@goods.collection(scope="store", id="sku")
class Shelf(Document):
    """What one store has of one article."""

    store: str
    sku: str
    on_hand: Counter
    arrived: Counter


@goods.collection(scope="store", id="number")
class Transfer(Document):
    """Goods on their way from `store`."""

    store: str
    number: str
    to: Register[str] = ""
    sku: Register[str] = ""
    qty: Register[int] = 0


@goods.command
def stock_up(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
    """Goods from a supplier."""
    shelf = tx.edit(Shelf, store, sku)
    shelf.on_hand.increment(qty)
    return shelf.on_hand.value


@goods.command
def send(tx: Transaction, store: str, number: str, to: str, sku: str, qty: PositiveInt) -> int:
    """Goods leave for another store."""
    shelf, transfer = tx.edit(Shelf, store, sku), tx.edit(Transfer, store, number)
    if shelf.on_hand.value < qty:
        raise Refused("out_of_stock", f"{shelf.on_hand.value} left")
    shelf.on_hand.decrement(qty)
    transfer.to.set(to)
    transfer.sku.set(sku)
    transfer.qty.set(qty)
    return shelf.on_hand.value


@goods.command
def arrive(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
    """Goods of a transfer are there."""
    shelf = tx.edit(Shelf, store, sku)
    shelf.on_hand.increment(qty)
    shelf.arrived.increment(1)
    return shelf.on_hand.value


@goods.on_change(Transfer)
def goods_arrive(before: Transfer | None, after: Transfer | None) -> Iterator[Emit]:
    """What left one store arrives in the other."""
    if before is None and after is not None:
        yield Emit(arrive, store=after.to.value, sku=after.sku.value, qty=after.qty.value)
