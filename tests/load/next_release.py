"""The next release of the app under load, as `schemas check` lets it be: a field comes and a field goes, a type widens, a collection and two
commands come. It runs beside the release before it while workers and edges are changed one by one."""

from __future__ import annotations

from pydantic import PositiveInt

from driftlog import App, Counter, Document, Register, Transaction, field
from tests.load.app import PARTITIONS, of_this_run

TALLY = "Tally"


def declare(space_name: str, partitions: int = PARTITIONS) -> App:
    """The app on a space of this name."""
    app = App("load")
    space = app.space(space_name, partitions=partitions)

    @space.collection(scope="place", id="item")
    class Item(Document):
        place: str
        item: str
        hits: Counter
        label: Register[str | None] = field(default=None, on_conflict="record")
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
    def unname(tx: Transaction, place: str, item: str) -> None:
        """Take the name away and leave none."""
        tx.edit(Item, place, item).label.set(None)

    @space.command
    def miss(tx: Transaction, place: str, item: str, times: PositiveInt = 1) -> int:
        """Count what was missed, there and in the day's tally."""
        document = tx.edit(Item, place, item)
        document.misses.increment(times)
        tx.edit(Tally, place, "today").count.increment(times)
        return document.misses.value

    return app


app = of_this_run(declare)
