"""Decoded states of one partition's documents: what is hot stays decoded, what is unsaved stays.

Decoding and encoding a state costs more than merging an op into it, so documents are kept decoded between records. Two
generations: a document that is used enters the young one; when that is full it becomes the old one and the former old one
is forgotten, which is a cheap approximation of least-recently-used. A document that is *dirty* (changed since it was last
sealed into a flight) or *in flight* (sealed, not yet in the store) is pinned: were it forgotten, the next read would find
the older state in the store, and ops would be lost. Pinned documents do not count against the capacity; a capacity below
them would rotate on every access.
"""

from __future__ import annotations

from collections.abc import Callable

from driftlog_crdt import DocumentState
from driftlog_schemas.identity import DocumentId, document_key

from driftlog_streams.rules import CollectionRules

DEFAULT_CAPACITY = 50_000


class Entry:
    """One document in the cache."""

    __slots__ = ("dirty", "document", "flights", "key", "rejected", "rejected_sealed", "rules", "size_bound", "state")

    def __init__(self, document: DocumentId, key: bytes, state: DocumentState, rules: CollectionRules, size: int) -> None:
        self.document = document
        self.key = key
        self.state = state
        self.rules = rules
        self.dirty = False
        self.flights = 0
        """Sealed into so many flights that are not stored yet."""
        self.size_bound = size
        """The encoded state is at most so long."""
        self.rejected: list[tuple[str, int]] = []
        """Dots seen without effect that no stored flight tells yet."""
        self.rejected_sealed = 0


class StateCache:
    """The documents of one partition. `load` reads and decodes one that is not cached: its state and encoded size."""

    def __init__(
        self,
        load: Callable[[DocumentId, bytes], tuple[DocumentState, int]],
        rules: dict[str, CollectionRules],
        capacity: int = DEFAULT_CAPACITY,
    ) -> None:
        self._load = load
        self._rules = rules
        self._capacity = capacity
        self.young: dict[DocumentId, Entry] = {}
        self._old: dict[DocumentId, Entry] = {}
        self._pinned: dict[DocumentId, Entry] = {}
        self.dirty: list[Entry] = []
        """In the order in which they became so."""

    def get(self, document: DocumentId) -> Entry:
        """The entry of a declared document; made if it was never seen."""
        entry = self.young.get(document)
        if entry is not None:
            return entry
        entry = self._old.get(document)
        if entry is None:
            key = document_key(document)
            state, size = self._load(document, key)
            entry = Entry(document, key, state, self._rules[document.collection], size)
        self.young[document] = entry
        if len(self.young) > self._capacity + len(self._pinned):
            self._rotate()
        return entry

    def touch(self, entry: Entry) -> None:
        """The entry's state was changed."""
        if not entry.dirty:
            entry.dirty = True
            self._pinned[entry.document] = entry
            self.dirty.append(entry)

    def take_dirty(self) -> list[Entry]:
        """The changed documents, now in flight."""
        taken, self.dirty = self.dirty, []
        for entry in taken:
            entry.dirty = False
            entry.flights += 1
        return taken

    def landed(self, entry: Entry) -> None:
        """One flight with this document is stored."""
        entry.flights -= 1
        assert entry.flights >= 0, "a document lands as often as it flies"
        if not entry.flights and not entry.dirty:
            self._pinned.pop(entry.document, None)

    def _rotate(self) -> None:
        self._old = self.young
        self.young = dict(self._pinned)

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())
