"""States of documents that only go up (`store/going_up`): which of them come down to the device that wrote them, and what is noted of each.

A row is kept while changes of ours are pending, where there is one already, and of a deletion until it is purged; where the row went, only its note goes
on. A topic that was made anew may have less than the note says, so there the row comes once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from driftlog_crdt import DocumentState
from driftlog_edge.incoming.landing import Landing, by_worker
from driftlog_edge.ports import Family, Place, Record
from driftlog_edge.store import keys
from driftlog_edge.store.generations import Generations, serving
from driftlog_edge.store.going_up import STAYS, GoingUp, Note, gone, learnt, note_of, written
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives
from driftlog_edge.store.pending import marks_of
from driftlog_edge.store.unseen import unseen_of
from driftlog_schemas import groups
from driftlog_schemas.contract import CollectionContract
from driftlog_schemas.digests import UNTOLD, Versions
from driftlog_schemas.identity import DocumentId


class OnlyUp:
    """What a read of states makes of such documents."""

    def __init__(
        self,
        generations: Generations,
        scopes: Collection[str],
        versions: Versions,
        journal: Journal,
        lives: Lives,
        going_up: GoingUp,
    ) -> None:
        self._generations = generations
        self._scopes = scopes
        self._versions = versions
        self._journal = journal
        self._lives = lives
        self._going_up = going_up

    def heard(self, record: Record) -> None:
        """A worker has published this record: by its time it is told when rows may go."""
        self._going_up.heard(record.timestamp_ms)

    def of_others(self, record: Record, landing: Landing) -> bool:
        """Is it of a collection that only goes up, and that this release does not declare, and of a document that no release has written here?"""
        if self._generations.gathers:
            return False
        try:
            up = record.value is not None and self._versions.goes_up(record.value)
        except UNTOLD:
            return False
        return up and not self.ours(record.key, landing)

    def ours(self, key: bytes, landing: Landing) -> bool:
        """Has this device written a document that only goes up?"""
        return self.note(key, landing) is not None or self._waited_for(key, landing)

    def note(self, key: bytes, landing: Landing) -> Note | None:
        """What is noted of a document so far."""
        place = (Family.META, keys.note_key(landing.space, landing.partition, key))
        if place not in landing.writes:
            return note_of(self._journal, landing.space, landing.partition, key)
        raw = landing.writes[place]
        return None if raw is None else Note.decode(raw)

    def late(self, note: Note | None, incoming: DocumentState | None, landing: Landing) -> bool:
        """Is a state of one of ours somebody's late word, which says less than is known?"""
        if note is None or incoming is None:
            return False
        return not (note.due_ms or self._once_more(landing) or note.known_to(incoming))

    def comes_down(self, record: Record, note: Note | None, there: bool, landing: Landing) -> bool:
        """Is the row of one of ours written? `there`: is there a document by this record?"""
        pending = self._waited_for(record.key, landing)
        return pending or not there or self._once_more(landing) or (note is not None and bool(note.due_ms))

    def met(
        self,
        record: Record,
        document: DocumentId,
        collection: CollectionContract,
        incoming: DocumentState | None,
        note: Note | None,
        landing: Landing,
    ) -> None:
        """A record of one of ours was applied, with its row or without; `note` is what was noted before."""
        key = record.key
        row = (Family.CONFIRMED, landing.row(key))
        kept = (landing.writes[row] if row in landing.writes else self._journal.get(*row)) is not None
        if not kept and not by_worker(record):
            return
        now = self._noted(record, collection, landing.latest.get(key, incoming), note, kept, landing)
        if now is not None and not kept and now.made != (note or now).made:
            landing.changed[key] = document
        stays = now if kept or (now and now.made) else None
        landing.writes.update(written(landing.space, landing.partition, key, note, stays))

    def forgotten(self, space: str, partition: int) -> Iterator[dict[Place, bytes | None]]:
        """The writes that remove notes of documents which the rows that are read, and those that are filled, do not have any more."""
        generation = serving(self._journal, space, partition)
        return gone(self._journal, self._scopes, space, partition, generation)

    def _once_more(self, landing: Landing) -> bool:
        return landing.anew or self._generations.gathers

    def _waited_for(self, key: bytes, landing: Landing) -> bool:
        """Are changes of ours pending on it, or were refused so that perhaps no state will have them?"""
        pending = next(marks_of(self._journal, key), None) is not None
        return pending or bool(unseen_of(self._journal, landing.space, landing.partition, key))

    def _noted(
        self,
        record: Record,
        collection: CollectionContract,
        state: DocumentState | None,
        note: Note | None,
        kept: bool,
        landing: Landing,
    ) -> Note | None:
        """What is noted when a record has left this state, and perhaps a row of it; None where the document was purged."""
        if state is None:
            purged = groups.parse(record.headers).purged
            return note if kept or (note is not None and note.epoch >= purged) else None
        due = 0
        if kept:
            due = self._going_up.due(collection, record.timestamp_ms) if collection.document.exists(state) else STAYS
        writer = self._lives.writing(landing.space, landing.partition)
        return Note(due, landing.generation, learnt(note, state.vector, writer))
