"""Decoded states of one partition, bounded.

Two generations: what is used moves to the young one; when that is full it becomes the old one and the old one is dropped. What
has changes that are not yet in the store (dirty or in flight) is pinned: dropping it would bring back an older state.
Pinned documents do not count against the bound; otherwise a small one would turn on every access.
"""

from __future__ import annotations

from collections.abc import Callable

from driftlog_crdt import DocumentState
from driftlog_schemas.identity import DocumentId
from driftlog_streams.core.rules import Collection

DEFAULT_SIZE = 100_000


class Entry:
    """A document under merge. `size` is about how many bytes its state takes; -1 when not measured."""

    __slots__ = ("collection", "document", "flights", "rejected", "size", "state", "told")

    def __init__(self, document: DocumentId, collection: Collection, state: DocumentState, size: int) -> None:
        self.document = document
        self.collection = collection
        self.state = state
        self.size = size
        self.flights = 0
        """In how many unfinished flights (and the next) it is."""
        self.rejected: list[tuple[str, int]] = []
        """Dots seen without effect that no finished flight tells yet."""
        self.told = 0
        """How many of those are told by unfinished flights."""

    def tell(self) -> int:
        """A flight is sealed with all of `rejected`; how many of them it is the first to tell."""
        new = len(self.rejected) - self.told
        self.told += new
        return new

    def landed(self, told: int) -> None:
        """A flight is stored that was the first to tell `told` rejected dots."""
        self.flights -= 1
        assert self.flights >= 0, "a document lands as often as it flies"
        if told:
            del self.rejected[:told]
            self.told -= told


class StateCache:
    """key -> entry, read through `load` (the raw state record of the store)."""

    def __init__(self, load: Callable[[bytes], bytes | None], size: int = DEFAULT_SIZE) -> None:
        self._load = load
        self._size = size
        self._limit = size
        self._young: dict[bytes, Entry] = {}
        self._old: dict[bytes, Entry] = {}

    def get(self, key: bytes, document: DocumentId, collection: Collection) -> Entry:
        """The entry of a document; of its empty state when the store has none."""
        entry = self._young.get(key)
        if entry is not None:
            return entry
        entry = self._old.get(key)
        if entry is None:
            raw = self._load(key)
            state = collection.type.new() if raw is None else collection.codec.decode(raw)
            entry = Entry(document, collection, state, 0 if raw is None else len(raw))
        self._young[key] = entry
        if len(self._young) > self._limit:
            self._turn()
        return entry

    def _turn(self) -> None:
        pinned = {key: entry for key, entry in self._old.items() if entry.flights and key not in self._young}
        pinned.update((key, entry) for key, entry in self._young.items() if entry.flights)
        self._old, self._young = self._young, pinned
        self._limit = self._size + len(pinned)  # pinned ones take no room, or every access would turn again

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
