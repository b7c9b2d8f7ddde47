"""Where the confirmed rows of a partition lie: in generations, of which one is read.

A row's key begins with its partition and a generation's number. As a rule a partition has one generation. When its topic must be read again from
the start (`incoming/returning`), the rows go into a fresh one while the old one is read as before; then one small write makes the fresh one
the one that is read, and the old one's rows are removed. What the fresh one lacks is gone by that.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from driftlog_edge.ports import Family, Place, Source
from driftlog_edge.store import keys
from driftlog_edge.store.cursors import Cursor
from driftlog_schemas.contract import AppContract, Undeclared
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of


class Return(NamedTuple):
    """A partition that is read again."""

    generation: int
    why: str
    anew: bool
    """The topic is another one than that which was read."""
    since_ms: int
    cursor: Cursor
    """How far it has come; `cursor.topic_id` is the topic that is read."""
    records: int = 0

    def encode(self) -> bytes:
        return json.dumps([*self[:4], list(self.cursor), self.records]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Return:
        *first, cursor, records = json.loads(data)
        generation, why, anew, since_ms = first
        return cls(generation, why, anew, since_ms, Cursor(*cursor), records)


def serving(source: Source, space: str, partition: int) -> int:
    """The number of the generation that is read."""
    return keys.unpack_number(source.get(Family.META, keys.generation_key(space, partition)))


def serve(space: str, partition: int, generation: int) -> dict[Place, bytes | None]:
    """The write that makes a generation the one that is read."""
    return {(Family.META, keys.generation_key(space, partition)): keys.pack_number(generation)}


def return_of(source: Source, space: str, partition: int) -> Return | None:
    """How a partition is being read again; None where it is not."""
    raw = source.get(Family.META, keys.return_key(space, partition))
    return None if raw is None else Return.decode(raw)


def written(space: str, partition: int, under_way: Return | None) -> dict[Place, bytes | None]:
    """The write that begins a return, moves it, or (None) ends it."""
    return {(Family.META, keys.return_key(space, partition)): None if under_way is None else under_way.encode()}


def begun(
    source: Source, space: str, partition: int, topic_id: str, why: str, wall_ms: int, *, anew: bool
) -> dict[Place, bytes | None]:
    """The write with which a partition begins to be read again; a return that was under way is given up."""
    before = return_of(source, space, partition)
    anew |= before is not None and before.anew
    number = coming(source, space, partition) + 1
    return written(space, partition, Return(number, why, anew, wall_ms, Cursor(0, topic_id)))


def coming(source: Source, space: str, partition: int) -> int:
    """The number of the generation that shows what the cloud decides now: the one that is filled, or else the one that is read."""
    under_way = return_of(source, space, partition)
    return under_way.generation if under_way else serving(source, space, partition)


class Generations:
    """The rows that are read, of an app's documents."""

    def __init__(self, contract: AppContract, gathers: bool = False) -> None:
        """`gathers`: is what only goes up held of all devices (`gathering`)?"""
        self._contract = contract
        self.gathers = gathers

    def own_only(self, collection: str) -> bool:
        """Does it only go up, so that others' documents of it are not here? Of one that is not declared nobody knows."""
        try:
            return not self.gathers and self._contract.collection(collection).direction == "up"
        except Undeclared:
            return False

    def place(self, collection: str, scope: str) -> tuple[str, int]:
        """(space, partition). Raises `Undeclared`."""
        space = self._contract.spaces[self._contract.collection(collection).space]
        return space.name, partition_of(scope, space.partitions)

    def require_here(self, key: bytes, document: DocumentId, space: str, partition: int) -> None:
        """Raise ValueError unless a record of the document lies there, under this key. One that only a newer release declares lies in any space."""
        if document_key(document) != key:
            raise ValueError(f"{key!r} is not how the key of {'/'.join(document)} is written")
        try:
            here = self.place(document.collection, document.scope)
        except Undeclared:
            here = space, partition_of(document.scope, self._contract.spaces[space].partitions)
        if here != (space, partition):
            raise ValueError(f"{'/'.join(document)} lies in {here[0]}/{here[1]}")

    def prefix(self, source: Source, collection: str, scope: str) -> bytes:
        """What the keys of the rows begin with in which a collection of a scope is read."""
        place = self.place(collection, scope)
        return keys.confirmed_prefix(*place, serving(source, *place))

    def key(self, source: Source, document: DocumentId) -> bytes:
        """The key of the row that is read of a document."""
        return self.prefix(source, document.collection, document.scope) + document_key(document)
