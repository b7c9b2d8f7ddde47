"""The next release of the app under load: it adds a field, a collection and a command. Both run at once while a fleet is upgraded."""

from __future__ import annotations

import os

from pydantic import PositiveInt

from driftlog import AddWinsSet, App, Counter, Document, Register, Transaction, field
from tests.load.app import PARTITIONS, PARTITIONS_VARIABLE, SPACE_VARIABLE


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
        misses: Counter

    @space.collection(scope="place", id="day")
    class Tally(Document):
        place: str
        day: str
        count: Counter

    @space.command
    def hit(tx: Transaction, place: str, item: str, times: PositiveInt = 1) -> int:
        """Count something."""
        document = tx.edit(Item, place, item)
        document.hits.increment(times)
        return document.hits.value

    @space.command
    def name(tx: Transaction, place: str, item: str, label: str) -> str:
        """Name something; two names at once are recorded."""
        tx.edit(Item, place, item).label.set(label)
        return label

    @space.command
    def miss(tx: Transaction, place: str, item: str, times: PositiveInt = 1) -> int:
        """Count what was missed, there and in the day's tally."""
        document = tx.edit(Item, place, item)
        document.misses.increment(times)
        tx.edit(Tally, place, "today").count.increment(times)
        return document.misses.value

    return app


app = declare(
    os.environ.get(SPACE_VARIABLE, "load"), partitions=int(os.environ.get(PARTITIONS_VARIABLE, str(PARTITIONS)))
)
