"""Decoded states of one partition, bounded.

Two generations: what is used moves to the young one; when that is full it becomes the old one and the old one is dropped. What
has changes that are not yet in the store (dirty or in flight) is pinned: dropping it would bring back an older state.
Pinned documents do not count against the bound; otherwise a small one would turn on every access.
"""

from __future__ import annotations

from collections.abc import Callable

from driftlog_crdt import BadEncoding, DocumentState
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId
from driftlog_streams.core.rules import Collection

DEFAULT_SIZE = 100_000


class Unreadable(Exception):
    """This release cannot read the state that the store has of a document."""


class Entry:
    """A document under merge. `size` is about how many bytes its state takes."""

    __slots__ = ("collection", "document", "flights", "sealed", "size", "state")

    def __init__(self, document: DocumentId, collection: Collection, state: DocumentState, size: int) -> None:
        self.document = document
        self.collection = collection
        self.state = state
        self.size = size
        self.flights = 0
        """In how many unfinished flights (and the next) it is."""
        self.sealed: bytes | None = None
        """The record that the newest unfinished flight has of it."""

    def landed(self) -> None:
        """A flight with it is stored."""
        self.flights -= 1
        assert self.flights >= 0, "a document lands as often as it flies"
        if not self.flights:
            self.sealed = None


class StateCache:
    """key -> entry, read through `load` (the raw state record of the store)."""

    def __init__(self, load: Callable[[bytes], bytes | None], size: int = DEFAULT_SIZE) -> None:
        self._load = load
        self._size = size
        self._limit = size
        self._young: dict[bytes, Entry] = {}
        self._old: dict[bytes, Entry] = {}

    def get(self, key: bytes, document: DocumentId, collection: Collection) -> Entry:
        """The entry of a document; of its empty state when the store has none. Raises `Unreadable`."""
        entry = self._young.get(key)
        if entry is not None:
            return entry
        entry = self._old.get(key)
        if entry is None:
            raw = self._load(key)
            entry = Entry(document, collection, _decoded(document, collection, raw), 0 if raw is None else len(raw))
        self._young[key] = entry
        if len(self._young) > self._limit:
            self._turn()
        return entry

    def put_back(self, key: bytes, entry: Entry) -> None:
        """Forget what was merged into a document since it last left with a flight."""
        raw = self._load(key) if entry.sealed is None else entry.sealed
        entry.state = _decoded(entry.document, entry.collection, raw)
        entry.size = 0 if raw is None else len(raw)
        entry.flights -= 1

    def _turn(self) -> None:
        pinned = {key: entry for key, entry in self._old.items() if entry.flights and key not in self._young}
        pinned.update((key, entry) for key, entry in self._young.items() if entry.flights)
        self._old, self._young = self._young, pinned
        self._limit = self._size + len(pinned)  # pinned ones take no room, or every access would turn again

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())


def _decoded(document: DocumentId, collection: Collection, raw: bytes | None) -> DocumentState:
    if raw is None:
        return collection.type.new()
    try:
        return collection.codec.decode(raw)
    except (Undecodable, UnknownSchema, RegistryUnreachable, BadEncoding) as error:
        raise Unreadable(f"{'/'.join(document)} is not readable by this release: {error}") from error
