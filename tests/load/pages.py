"""An app whose items are reports of many pages, beside a counter. It runs in the place of `app`, on the same topics."""

from __future__ import annotations

from driftlog import App, Counter, Document, Text
from tests.load.app import PARTITIONS, of_this_run

PAGES = "pages"


def declare(space_name: str, partitions: int = PARTITIONS) -> App:
    """The app on a space of this name."""
    app = App("load")
    space = app.space(space_name, partitions=partitions)

    @space.collection(scope="place", id="item")
    class Item(Document):
        place: str
        item: str
        hits: Counter
        pages: Text

    return app


app = of_this_run(declare)
