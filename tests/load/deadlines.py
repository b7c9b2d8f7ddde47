"""The app under load with a deadline of seconds on its names. It runs in the place of `app`, on the same topics."""

from __future__ import annotations

from driftlog import App, Counter, Document, Register, Transaction, field
from tests.load.app import PARTITIONS, of_this_run


def declare(space_name: str, partitions: int = PARTITIONS) -> App:
    """The app on a space of this name."""
    app = App("load")
    space = app.space(space_name, partitions=partitions)

    @space.collection(scope="place", id="item")
    class Item(Document):
        place: str
        item: str
        hits: Counter
        label: Register[str] = field(default="", on_conflict="review", deadline="3s")

    @space.command
    def name(tx: Transaction, place: str, item: str, label: str) -> str:
        """Name something; of two names at once one is chosen, by a person or in the end by the clock."""
        tx.edit(Item, place, item).label.set(label)
        return label

    return app


app = of_this_run(declare)
