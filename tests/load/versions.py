"""Versions of one app: 1.9 lacks a field that 2.0 has; 2.0 supports 1.9, and 2.0 of later does not any more."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from driftlog import AddWinsSet, App, Counter, Document, Space, Transaction
from tests.load.app import PARTITIONS, of_this_run


def declare(
    space_name: str, partitions: int = PARTITIONS, *, version: str, oldest_supported: Mapping[str, str] | None = None
) -> App:
    """The app of this version, on a space of this name."""
    app = App("load", version=version, oldest_supported=oldest_supported or {})
    {"1.9": _older, "2.0": _newer}[version](app.space(space_name, partitions=partitions))
    return app


def _older(space: Space) -> None:
    @space.collection(scope="place", id="item")
    class Item(Document):
        place: str
        item: str
        hits: Counter

    @space.command
    def hit(tx: Transaction, place: str, item: str) -> None:
        tx.edit(Item, place, item).hits.increment(1)


def _newer(space: Space) -> None:
    @space.collection(scope="place", id="item")
    class Item(Document):
        place: str
        item: str
        hits: Counter
        tags: AddWinsSet[str]

    @space.command
    def hit(tx: Transaction, place: str, item: str) -> None:
        tx.edit(Item, place, item).hits.increment(1)

    @space.command
    def tag(tx: Transaction, place: str, item: str, value: str) -> None:
        tx.edit(Item, place, item).tags.add(value)


older = of_this_run(partial(declare, version="1.9"))
newer = of_this_run(partial(declare, version="2.0"))
strict = of_this_run(partial(declare, version="2.0", oldest_supported={"2.0": "2026-01-01"}))
