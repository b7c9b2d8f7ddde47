"""The app that runs under load: one collection with each kind of field, small states, no guards.

Every run has a space of its own, so that runs on one broker share no topics. Processes learn its name and partition count
from the environment; the process that judges calls `declare`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pydantic import PositiveInt

from driftlog import AddWinsSet, App, Counter, Document, Register, Transaction, field

SPACE_VARIABLE = "DRIFTLOG_LOAD_SPACE"
PARTITIONS_VARIABLE = "DRIFTLOG_LOAD_PARTITIONS"
PARTITIONS = 8

COLLECTION = "Item"
COUNTER, LABEL, TAGS = "hits", "label", "tags"


def declare(space_name: str, partitions: int = PARTITIONS) -> App:
    """The app on a space of this name."""
    app = App("load")
    space = app.space(space_name, partitions=partitions)

    @space.collection(scope="place", id="item")
    class Item(Document):
        place: str
        item: str
        hits: Counter
        label: Register[str] = field(default="", on_conflict="record")
        tags: AddWinsSet[str]

    @space.collection(scope="place", id="meter", history="collapsed")
    class Meter(Document):
        place: str
        meter: str
        turns: Counter

    @space.collection(scope="place", id="offer", offline_limit="20s")
    class Offer(Document):
        place: str
        offer: str
        price: Register[int] = 0

    @space.command
    def offer(tx: Transaction, place: str, offer: str, price: int) -> int:
        """Offer something at a price that who is away for long does not know."""
        tx.edit(Offer, place, offer).price.set(price)
        return price

    @space.command
    def turn(tx: Transaction, place: str, meter: str) -> int:
        """Count where only the count is of interest."""
        document = tx.edit(Meter, place, meter)
        document.turns.increment(1)
        return document.turns.value

    @space.command
    def hit(tx: Transaction, place: str, item: str, times: PositiveInt = 1) -> int:
        """Count something."""
        document = tx.edit(Item, place, item)
        document.hits.increment(times)
        return document.hits.value

    @space.command(priority="high")
    def hit_first(tx: Transaction, place: str, item: str) -> int:
        """Count something that may not wait."""
        return hit(tx, place, item)

    @space.command(requires_fresh="1s")
    def hit_now(tx: Transaction, place: str, item: str) -> int:
        """Count something, on what the cloud has now."""
        return hit(tx, place, item)

    @space.command
    def name(tx: Transaction, place: str, item: str, label: str) -> str:
        """Name something; two names at once are recorded."""
        tx.edit(Item, place, item).label.set(label)
        return label

    return app


def of_this_run(declare: Callable[[str, int], App]) -> App:
    """The app as a process of a run is told it by its environment."""
    return declare(os.environ.get(SPACE_VARIABLE, "load"), int(os.environ.get(PARTITIONS_VARIABLE, str(PARTITIONS))))


app = of_this_run(declare)
