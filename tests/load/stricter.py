"""The app under load with a guard that it did not have. It stands for an app that somebody thinks of putting into service."""

from __future__ import annotations

from driftlog import AddWinsSet, App, Counter, Document, Refused, Register, Transaction, field
from tests.load.app import PARTITIONS, of_this_run

FORBIDDEN = "by north again"


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

    @space.command
    def hit(tx: Transaction, place: str, item: str, times: int = 1) -> None:
        """Count something."""
        tx.edit(Item, place, item).hits.increment(times)

    @space.command
    def name(tx: Transaction, place: str, item: str, label: str) -> None:
        """Name something; two names at once are recorded."""
        tx.edit(Item, place, item).label.set(label)

    @space.guard(Item)
    def no_such_name(before: Item, after: Item) -> None:
        if after.label.value == FORBIDDEN:
            raise Refused("no_such_name", "nobody may be called so")

    return app


app = of_this_run(declare)
