"""A shop: stock that every store sells from, online or not."""

from __future__ import annotations

from decimal import Decimal

from pydantic import PositiveInt

from driftlog import AddWinsSet, App, Counter, Document, Refused, Register, Transaction, field

app = App("shop")
retail = app.space("retail", partitions=8)


@retail.collection(scope="store", id="sku")
class Stock(Document):
    """What one store has of one article."""

    store: str
    sku: str
    name: Register[str] = ""
    price: Register[Decimal] = field(default=Decimal("0"), on_conflict="review", deadline="48h")
    on_hand: Counter
    tags: AddWinsSet[str]


@retail.command
def receive(tx: Transaction, store: str, sku: str, qty: PositiveInt, name: str = "") -> int:
    """Goods arrive."""
    stock = tx.edit(Stock, store, sku)
    if name and stock.name.value != name:
        stock.name.set(name)
    stock.on_hand.increment(qty)
    return stock.on_hand.value


@retail.command
def sell(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
    """Sell what is there."""
    stock = tx.edit(Stock, store, sku)
    if stock.on_hand.value < qty:
        raise Refused("out_of_stock", f"{stock.on_hand.value} left")
    stock.on_hand.decrement(qty)
    return stock.on_hand.value


@retail.command
def transfer(tx: Transaction, store: str, sku: str, to_sku: str, qty: PositiveInt) -> int:
    """Repack: two documents of one store change together or not at all."""
    source, target = tx.edit(Stock, store, sku), tx.edit(Stock, store, to_sku)
    if source.on_hand.value < qty:
        raise Refused("out_of_stock", f"{source.on_hand.value} left")
    source.on_hand.decrement(qty)
    target.on_hand.increment(qty)
    return target.on_hand.value


@retail.command(priority="high")
def set_price(tx: Transaction, store: str, sku: str, price: Decimal) -> str:
    """A new price; two at once are shown to a person."""
    if price < 0:
        raise Refused("bad_price", "a price is not negative")
    stock = tx.edit(Stock, store, sku)
    stock.price.set(price)
    return str(stock.price.value)


@retail.command
def tag(tx: Transaction, store: str, sku: str, add: str = "", remove: str = "") -> list[str]:
    """Put a tag on, or take one off."""
    stock = tx.edit(Stock, store, sku)
    if add:
        stock.tags.add(add)
    if remove:
        stock.tags.remove(remove)
    return sorted(stock.tags.value)


@retail.guard(Stock)
def never_negative(before: Stock, after: Stock) -> None:
    """Two stores cannot sell the same last piece."""
    if after.on_hand.value < 0 and after.on_hand.value < before.on_hand.value:
        raise Refused("recount", f"sold more than was there: {after.on_hand.value}")
