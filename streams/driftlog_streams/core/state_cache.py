"""Decoded states of the partitions that a worker owns, in a bounded room.

The bound is in bytes and the worker's: what counts is what the process holds, in however many partitions and documents of whatever
size. Each partition's cache has two generations: what is used moves to the young one; when the room's young ones together fill their
half, they become the old ones, and the old ones are dropped; between records only, since the documents of one command are looked up one
after another and then changed. What has changes that are not yet in the store (dirty or in flight) is
pinned: dropping it would bring back an older state. Pinned documents do not count against the bound; otherwise a small one would turn
on every access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from driftlog_crdt import BadEncoding, DocumentState
from driftlog_schemas.digests import document_digest
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.tuples import maker
from driftlog_streams.core.rules import Collection

DEFAULT_BYTES = 256 << 20
ENTRY_BYTES, BYTES_PER_BYTE = 1024, 5
"""What a decoded state takes in memory: so much, and so much for each byte of its record. Measured from 1 to 200 replicas and from one field to seven,
with what is kept of those that were written last: from three quarters of what it takes to one and a half times as much."""


class Unreadable(Exception):
    """This release cannot read the state that the store has of a document."""


class Sealed(NamedTuple):
    """The record that a flight has of a document: None for one that was purged, by the op record at offset `purged`."""

    value: bytes | None
    purged: int


sealed = maker(Sealed)


class Entry:
    """A document under merge. `size` is about how many bytes its state takes."""

    __slots__ = (
        "collection",
        "counted",
        "digest",
        "document",
        "flights",
        "key",
        "purged",
        "room",
        "sealed",
        "size",
        "state",
    )

    def __init__(
        self, key: bytes, document: DocumentId, collection: Collection, state: DocumentState, size: int
    ) -> None:
        self.key = key
        """Of its records."""
        self.document = document
        self.collection = collection
        self.state = state
        self.size = size
        self.room: CacheRoom | None = None
        self.counted = 0
        """Bytes that the room counts for it, while it is young."""
        self.flights = 0
        """In how many unfinished flights (and the next) it is."""
        self.sealed: Sealed | None = None
        """What the newest unfinished flight has of it."""
        self.purged = 0
        """Offset of the op record that purged it, since it is in memory."""
        self.digest = 0
        """What it adds to its scope's digest, as it last left with a flight."""

    def recount(self) -> None:
        """Its size may have changed."""
        room = self.room
        if room is not None:
            size = ENTRY_BYTES + BYTES_PER_BYTE * self.size
            room.young += size - self.counted
            self.counted = size

    def landed(self) -> None:
        """A flight with it is stored."""
        self.flights -= 1
        assert self.flights >= 0, "a document lands as often as it flies"
        if not self.flights:
            self.sealed = None


class CacheRoom:
    """What the caches of a worker may take together."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        self._half = max(1, limit // 2)
        self._limit = self._half
        self._caches: list[StateCache] = []
        self.young = 0

    def add(self, cache: StateCache) -> None:
        """Another cache shares the room."""
        self._caches.append(cache)

    def turn_if_full(self) -> None:
        """Let all caches turn when their young generations fill their half."""
        if self.young > self._limit:
            self.young = 0
            for cache in self._caches:
                cache.turn()
            self._limit = self._half + self.young  # pinned ones take no room, or every access would turn again


class StateCache:
    """document -> entry of one partition, read through `load` (the raw state record of the store, by key)."""

    def __init__(
        self,
        load: Callable[[bytes], bytes | None],
        room: CacheRoom | None = None,
        purged: Callable[[bytes], int] = lambda key: 0,
    ) -> None:
        self._load = load
        self.purged = purged
        """By which op record a document went for good, as far as the store knows; 0 for none."""
        self._room = room or CacheRoom()
        self._room.add(self)
        self._young: dict[DocumentId, Entry] = {}
        self._old: dict[DocumentId, Entry] = {}

    def get(self, document: DocumentId, collection: Collection) -> Entry:
        """The entry of a document; of its empty state when the store has none. Raises `Unreadable`."""
        entry = self._young.get(document)
        if entry is not None:
            return entry
        entry = self._old.get(document)
        if entry is None:
            key = document_key(document)
            raw = self._load(key)
            state, version = _decoded(document, collection, raw)
            entry = Entry(key, document, collection, state, 0 if raw is None else len(raw))
            if raw is not None and collection.counted and collection.type.exists(state):
                entry.digest = document_digest(key, version)
        self._young[document] = entry
        self._count(entry)
        return entry

    def documents(self, collection: str, scope: str) -> Iterator[DocumentId]:
        """Those of a scope that are held: not all of them may be in the store yet."""
        return (name for name in {**self._old, **self._young} if (name.collection, name.scope) == (collection, scope))

    def make_room(self) -> None:
        """Drop what is over the bound. Between records: who has looked a document up is about to change that very entry."""
        self._room.turn_if_full()

    def put_back(self, entry: Entry) -> None:
        """Forget what was merged into a document since it last left with a flight."""
        raw, entry.purged = (self._load(entry.key), 0) if entry.sealed is None else entry.sealed
        entry.state, _ = _decoded(entry.document, entry.collection, raw)
        entry.size = 0 if raw is None else len(raw)
        entry.flights -= 1
        entry.recount()

    def turn(self) -> None:
        """The young become the old; of the old only what is pinned stays."""
        pinned = {name: entry for name, entry in self._old.items() if entry.flights and name not in self._young}
        pinned.update((name, entry) for name, entry in self._young.items() if entry.flights)
        for entry in self._young.values():
            entry.room, entry.counted = None, 0
        self._old, self._young = self._young, pinned
        for entry in pinned.values():
            self._count(entry)

    def _count(self, entry: Entry) -> None:
        entry.room, entry.counted = self._room, 0
        entry.recount()

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())


def _decoded(document: DocumentId, collection: Collection, raw: bytes | None) -> tuple[DocumentState, bytes]:
    if raw is None:
        return collection.type.new(), b""
    try:
        return collection.codec.decode_with_version(raw)
    except (Undecodable, UnknownSchema, RegistryUnreachable, BadEncoding) as error:
        raise Unreadable(f"{'/'.join(document)} is not readable by this release: {error}") from error
