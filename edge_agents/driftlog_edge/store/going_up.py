"""What only goes up (`direction="up"`), as far as this device keeps it: its own documents, for a time after the cloud has confirmed them.

A document of such a collection has a row here only if this device has written it. The row has a note beside it: when it may go, and up to which
dot of the life that writes here the cloud has it. When the row goes (`letting_go`) the note stays, for what is written on the document
later must go on from there: a dot is never used twice. As the document is in the cloud and nowhere here, what its writer has seen of it is just that.

A note is true as long as the cloud has the document under the same past. It never goes back, whatever late or old record is read. A purge of that past
takes it along. One that was missed shows when the partition
is read again (`incoming/returning`): what that does not meet is gone, and its note with it.

When a row may go is told by the cloud's clock, as state records bring it: a device whose own clock jumps lets nothing go too early, and
one that hears nothing lets nothing go.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

from driftlog_crdt import PAST, DocumentState, Vector, deletion, epoch_of, joined
from driftlog_edge.ports import Clock, Family, Place, Source
from driftlog_edge.store import keys
from driftlog_edge.store.generations import Generations
from driftlog_schemas.contract import CollectionContract
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key

AT_ONCE = 1_000
STAYS = (1 << 63) - 1
"""When the row of a document that is deleted may go: never; its purge takes it."""


class Note(NamedTuple):
    """What is known of one document."""

    due_ms: int
    """When its row may go, by the cloud's clock; 0 where it went."""
    generation: int
    """Of the rows in which the document was met last."""
    made: dict[str, int]
    """Up to which dot of the life that writes here the cloud has it, and where its past ends."""

    @property
    def epoch(self) -> int:
        """When the document began; see `epoch_of`."""
        return epoch_of(self.made)

    def known_to(self, state: DocumentState) -> bool:
        """Has a state all that the note tells? One that has not is older, and of no use."""
        there = epoch_of(state.vector)
        return there > self.epoch or (
            there == self.epoch and all(state.vector.get(name, 0) >= seq for name, seq in self.made.items())
        )

    def encode(self) -> bytes:
        return json.dumps(self).encode()

    @classmethod
    def decode(cls, data: bytes) -> Note:
        return cls(*json.loads(data))


class GoingUp:
    """The notes of one replica. `keep_ms` is how long its rows stay where the declaration does not say."""

    def __init__(self, clock: Clock, keep_ms: int) -> None:
        self._clock = clock
        self._keep_ms = keep_ms
        self._heard_ms, self._heard_at = 0, 0.0

    def heard(self, at_ms: int) -> None:
        """The cloud has published something at that time."""
        if at_ms > self._heard_ms:
            self._heard_ms, self._heard_at = at_ms, self._clock.monotonic()

    def now_ms(self) -> int:
        """The cloud's time; 0 before anything was heard since the start."""
        return self._heard_ms and self._heard_ms + int((self._clock.monotonic() - self._heard_at) * 1000)

    def due(self, collection: CollectionContract, at_ms: int) -> int:
        """When a row of that time may go."""
        return max(1, at_ms + (self._keep_ms if collection.keep is None else int(collection.keep * 1000)))


def learnt(before: Note | None, vector: Vector, writer: str) -> dict[str, int]:
    """What a note keeps of what is known and of a state that came. Dots of a life that writes here no more are of no use."""
    known = {} if before is None else before.made
    if epoch_of(vector) != epoch_of(known):
        newer = max(known, vector, key=epoch_of) if known else vector
    else:
        newer = joined(known, vector)
    return {name: newer[name] for name in (writer, PAST) if name in newer}


def note_of(source: Source, space: str, partition: int, key: bytes) -> Note | None:
    """The note of a document; None for one that this device has not written, as far as it knows."""
    raw = source.get(Family.META, keys.note_key(space, partition, key))
    return None if raw is None else Note.decode(raw)


def written(space: str, partition: int, key: bytes, before: Note | None, now: Note | None) -> dict[Place, bytes | None]:
    """The write that puts one note in another's place, with what says when its row is due."""
    writes: dict[Place, bytes | None] = {}
    if before is not None and before.due_ms:
        writes[Family.META, keys.due_key(before.due_ms, key)] = None
    if now is not None and now.due_ms:
        writes[Family.META, keys.due_key(now.due_ms, key)] = f"{space}/{partition}".encode()
    writes[Family.META, keys.note_key(space, partition, key)] = None if now is None else now.encode()
    return writes


def known_of(source: Source, generations: Generations, document: DocumentId) -> Note | None:
    """The same by the document's name."""
    place = generations.place(document.collection, document.scope)
    return note_of(source, *place, document_key(document))


def let_go(source: Source, generations: Generations, document: DocumentId) -> bool:
    """Is a document of which this device has written something in the cloud, and its row not here?"""
    row = (Family.CONFIRMED, generations.key(source, document))
    return source.get(*row) is None and known_of(source, generations, document) is not None


def go_on(state: DocumentState, note: Note | None) -> None:
    """What is written next on a document whose row went comes behind what the cloud has."""
    for replica, seq in ({} if note is None else note.made).items():
        if replica == PAST:
            state.vector[PAST] = seq
        else:
            deletion.without_effect(state, replica, seq)


def gone(
    source: Source, scopes: Collection[str], space: str, partition: int, generation: int
) -> Iterator[dict[Place, bytes | None]]:
    """The writes that remove the notes of documents that no rows from this generation on have met, some at a time; of scopes that are not held
    nobody can tell."""
    prefix, after = keys.note_key(space, partition, b""), b""
    while some := list(islice(source.scan(Family.META, prefix, after), AT_ONCE)):
        after, writes = some[-1][0], dict[Place, bytes | None]()
        for name, raw in some:
            key, note = name[len(prefix) :], Note.decode(raw)
            if note.generation < generation and parse_document_key(key).scope in scopes:
                writes.update(written(space, partition, key, note, None))
        yield writes
