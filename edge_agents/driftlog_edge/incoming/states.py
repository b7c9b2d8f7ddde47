"""Groups of states into confirmed rows.

A state replaces what was confirmed if it has seen at least as much; if not (a frozen worker wrote late) the two are joined, so what
was once confirmed never goes back. Pending entries whose every dot the confirmed vectors cover are dropped.

A record without a value, in a worker's group, purges a document: its tombstone goes from here too, as it goes from the topic, so
that who read it and who never did hold the same. Only a tombstone goes in this way: the cloud purges what everybody knows to
be deleted, so anything else is not its word. Where changes of ours are pending on it, or on a document that was made anew since, the life is
over in that partition: their dots are of no use any more, and what they mean on what is there now the rebase decides.

In the place of a row that was evicted stands a marker (`store/evicted`): what comes of its document is judged by what the row had seen, and leaves it
evicted, unless it is a deletion, which is kept.

A worker's record that this release cannot read (a newer release's collection, field or type) is kept as it came, beside the rows: `incoming/unread`
reads it again when it can. The same code fills a fresh generation (`incoming/returning`), where nothing is confirmed yet that readers see.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from driftlog_crdt import DocumentState, Vector, dominates, epoch_of
from driftlog_edge.incoming.coverage import Coverage
from driftlog_edge.incoming.pulled import UNREADABLE, PassedOver, Pulled
from driftlog_edge.incoming.tally import Tally
from driftlog_edge.ports import Family, Place, Record
from driftlog_edge.store import keys
from driftlog_edge.store.cursors import Cursor
from driftlog_edge.store.evicted import Marker, Trace, evicted, marker_of, traced
from driftlog_edge.store.generations import Generations, return_of, serving
from driftlog_edge.store.going_up import STAYS, GoingUp, Note, gone, learnt, note_of, written
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import FOREIGN_DOT, PURGED, Lives
from driftlog_edge.store.pending import marks_of
from driftlog_edge.store.stamps import Stamps
from driftlog_edge.store.unseen import covered, unseen_of
from driftlog_schemas import groups
from driftlog_schemas.contract import CollectionContract
from driftlog_schemas.digests import UNTOLD, Versions
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.sparing import Sparing
from driftlog_schemas.state_codec import StateCodec

log = structlog.get_logger()

AT_ONCE = 100
"""Records that are read without letting others run."""


@dataclass(slots=True)
class _Landing:
    """One write set while it is made. `generation` is where it goes, `served` what readers have."""

    space: str
    topic: str
    partition: int
    generation: int
    served: int
    tally: Tally
    writes: dict[Place, bytes | None] = field(default_factory=dict)
    latest: dict[bytes, DocumentState | None] = field(default_factory=dict)
    groups: dict[bytes, int] = field(default_factory=dict)
    """The group of the newest record of a document."""
    held: dict[bytes, int] = field(default_factory=dict)
    """The highest own seq in what was confirmed before"""
    changed: dict[bytes, DocumentId] = field(default_factory=dict)
    dropped: dict[int, None] = field(default_factory=dict)
    """lsns that are done"""
    unreadable: int = 0
    traced: bool = False
    anew: bool = False
    """Is the topic another one than that which was read?"""
    outlived: bool = False
    """Was a document purged on which changes of ours are pending?"""

    @property
    def fresh(self) -> bool:
        return self.generation != self.served

    def row(self, key: bytes) -> bytes:
        return keys.confirmed_prefix(self.space, self.partition, self.generation) + key

    def served_row(self, key: bytes) -> bytes:
        return keys.confirmed_prefix(self.space, self.partition, self.served) + key


class States:
    """Reads states for one replica."""

    def __init__(
        self,
        generations: Generations,
        scopes: Collection[str],
        codecs: Mapping[str, StateCodec],
        versions: Versions,
        journal: Journal,
        lives: Lives,
        stamps: Stamps,
        going_up: GoingUp,
        traces: Callable[[], bool] = bool,
    ) -> None:
        """`traces` says whether rows are to be evicted some day, and so traced."""
        self._going_up = going_up
        self._traces = traces
        self._generations = generations
        self._scopes = scopes
        self._codecs = codecs
        self._versions = versions
        self._journal = journal
        self._lives = lives
        self._stamps = stamps
        self.coverage = Coverage(journal, lives)
        self._passed_over = PassedOver()
        self._kept = Sparing(log, "a state cannot be read by this release and is kept")
        self._no_purge = Sparing(log, "a purge that cannot be one is passed over")

    def read(
        self, space: str, topic: str, partition: int, records: Sequence[Record], generation: int
    ) -> Generator[None, None, Pulled]:
        """What one or more whole groups mean for a generation of the partition's rows; the cursor is the caller's.

        It stops after every few records, so that others may run; what they do is in what it returns. Stage that at once.
        """
        tally = Tally(self._versions, self._journal, space, partition, generation)
        served = serving(self._journal, space, partition)
        landing = _Landing(space, topic, partition, generation, served, tally, traced=self._traces())
        under_way = return_of(self._journal, space, partition) if landing.fresh else None
        landing.anew = under_way is not None and under_way.anew
        for number, record in enumerate(records, 1):
            if number % AT_ONCE == 0:
                yield
            self._land(record, landing)
        landing.writes.update(tally.writes())
        dropped, foreign = yield from self._own(landing)
        chain = self._lives.chain(space, partition)
        forked = FOREIGN_DOT if foreign else PURGED if landing.outlived and not chain.fork else ""
        if forked:
            landing.writes.update(self._lives.written(space, partition, replace(chain, fork=forked)))
        if landing.latest:
            landing.writes.update(self._stamps.kept())
        changed = () if landing.fresh else tuple(landing.changed.values())
        branches = ((space, partition),) if forked else ()
        return Pulled(landing.writes, changed, dropped=dropped, forked=branches, unreadable=landing.unreadable)

    def vector(self, key: bytes, space: str, partition: int) -> Vector | None:
        """What the row that is read of a document has seen; None for one that lies elsewhere or that nobody can read here."""
        document = parse_document_key(key)
        codec = self._codecs.get(document.collection)
        if codec is None or self._generations.place(document.collection, document.scope) != (space, partition):
            return None
        row = self._generations.key(self._journal, document)
        raw = self._journal.get(Family.CONFIRMED, row)
        if raw is None:
            marker = marker_of(self._journal, row)
            return {} if marker is None else marker.vector
        try:
            return codec.decode(raw).vector
        except UNREADABLE:
            return None

    def _land(self, record: Record, landing: _Landing) -> None:
        """One record into the write set."""
        try:
            document = parse_document_key(record.key)
            if document.scope not in self._scopes:
                return
            self._generations.require_here(record.key, document, landing.space, landing.partition)
        except ValueError as error:
            self._passed_over(landing.topic, record, error)
            landing.unreadable += 1
            return
        row = landing.row(record.key)
        landing.tally.before(record.key, row)
        self._held(record, document, landing)
        landing.tally.after(record, row, document.scope, landing.writes)

    def _held(self, record: Record, document: DocumentId, landing: _Landing) -> None:
        """One record of a scope that is held."""
        codec = self._codecs.get(document.collection)
        if _by_worker(record):
            self._going_up.heard(record.timestamp_ms)
        if codec is None:
            if _by_worker(record) and not self._others(record, landing):
                landing.writes[Family.UNREAD, landing.row(record.key)] = record.value
            return
        ours = codec.collection.direction == "up" and self._ours(record.key, landing)
        if not ours and self._generations.own_only(document.collection):
            return
        try:
            incoming = None if record.value is None else codec.decode(record.value)
        except UNREADABLE as error:
            self._keep(record, document, error, landing)
            return
        if ours:
            self._written_here(record, document, codec, incoming, landing)
        else:
            self._take(record, document, codec, incoming, landing)

    def _others(self, record: Record, landing: _Landing) -> bool:
        """Is it of a collection that only goes up, and that this release does not declare, and of a document that no release has written here?"""
        if self._generations.gathers:
            return False
        try:
            up = record.value is not None and self._versions.goes_up(record.value)
        except UNTOLD:
            return False
        return up and not self._ours(record.key, landing)

    def _ours(self, key: bytes, landing: _Landing) -> bool:
        """Has this device written a document that only goes up?"""
        return self._note(key, landing) is not None or self._waited_for(key, landing)

    def _note(self, key: bytes, landing: _Landing) -> Note | None:
        place = (Family.META, keys.note_key(landing.space, landing.partition, key))
        if place not in landing.writes:
            return note_of(self._journal, landing.space, landing.partition, key)
        raw = landing.writes[place]
        return None if raw is None else Note.decode(raw)

    def _waited_for(self, key: bytes, landing: _Landing) -> bool:
        """Are changes of ours pending on it, or were refused so that perhaps no state will have them?"""
        pending = next(marks_of(self._journal, key), None) is not None
        return pending or bool(unseen_of(self._journal, landing.space, landing.partition, key))

    def _written_here(
        self,
        record: Record,
        document: DocumentId,
        codec: StateCodec,
        incoming: DocumentState | None,
        landing: _Landing,
    ) -> None:
        """A document that only goes up and that this device has written. A row is kept while changes of ours are pending, where there is one
        already, and of a deletion until it is purged; where the row went, only its note goes on. A topic that was made anew may have less than the note
        says, so there the row comes once more."""
        key, space, partition = record.key, landing.space, landing.partition
        note, pending = self._note(key, landing), self._waited_for(key, landing)
        again = landing.anew or self._generations.gathers
        if note is not None and incoming is not None and not (note.due_ms or again or note.known_to(incoming)):
            return  # somebody's late word
        there = incoming is not None and codec.collection.document.exists(incoming)
        if pending or not there or again or (note is not None and note.due_ms):
            self._take(record, document, codec, incoming, landing)
        row = (Family.CONFIRMED, landing.row(key))
        kept = (landing.writes[row] if row in landing.writes else self._journal.get(*row)) is not None
        if not kept and not _by_worker(record):
            return
        now = self._noted(record, codec.collection, landing.latest.get(key, incoming), note, kept, landing)
        if now is not None and not kept and now.made != (note or now).made:
            landing.changed[key] = document
        landing.writes.update(written(space, partition, key, note, now if kept or (now and now.made) else None))

    def _noted(
        self,
        record: Record,
        collection: CollectionContract,
        state: DocumentState | None,
        note: Note | None,
        kept: bool,
        landing: _Landing,
    ) -> Note | None:
        """What is noted when a record has left this state, and perhaps a row of it; None where the document was purged."""
        if state is None:
            purged = groups.parse(record.headers).purged
            return note if kept or (note is not None and note.epoch >= purged) else None
        due = 0
        if kept:
            due = self._going_up.due(collection, record.timestamp_ms) if collection.document.exists(state) else STAYS
        return Note(due, landing.generation, learnt(note, state.vector, self._writer(landing)))

    def forgotten(self, space: str, partition: int) -> Iterator[dict[Place, bytes | None]]:
        """The writes that remove notes of documents which the rows that are read, and those that are filled, do not have any more."""
        generation = serving(self._journal, space, partition)
        return gone(self._journal, self._scopes, space, partition, generation)

    def _keep(self, record: Record, document: DocumentId, error: Exception, landing: _Landing) -> None:
        """A worker's record is one that a newer release can read; anybody else's is noise."""
        if not _by_worker(record):
            self._passed_over(landing.topic, record, error)
            landing.unreadable += 1
            return
        self._kept(document="/".join(document), reason=str(error))
        landing.writes[Family.UNREAD, landing.row(record.key)] = record.value
        landing.changed[record.key] = document

    def _take(
        self,
        record: Record,
        document: DocumentId,
        codec: StateCodec,
        incoming: DocumentState | None,
        landing: _Landing,
    ) -> None:
        """A state, or a purge, that can be read."""
        key, row, value = record.key, landing.row(record.key), record.value
        landing.groups[key] = groups.parse(record.headers).number
        if (Family.UNREAD, row) in landing.writes or self._journal.get(Family.UNREAD, row) is not None:
            landing.writes[Family.UNREAD, row] = None  # the topic's newer word can be read
            landing.changed[key] = document
        before, whole = self._before(key, codec, landing), True
        marker = marker_of(self._journal, row, landing.writes)
        if marker is not None:
            self._absent(record, document, codec, incoming, marker, landing)
            return
        if incoming is None:
            if before is None or not self._purges(record, codec, before, landing):
                if before is None and not landing.fresh:  # it came and went between two looks
                    landing.latest[key] = None
                return
        else:
            anew = before is not None and epoch_of(incoming.vector) > epoch_of(before.vector)
            if before is not None and not dominates(incoming.vector, before.vector):
                whole = False
                try:
                    incoming = codec.collection.document.join(before, incoming)
                    value = codec.encode(document, incoming)
                except UNREADABLE as error:  # two states of one history always have a join that a row holds
                    self._passed_over(landing.topic, record, error)
                    landing.unreadable += 1
                    return
            if anew:
                landing.outlived |= self._waits(key, landing.groups[key], landing)
            self._observe(codec, incoming, record.timestamp_ms)
        landing.latest[key] = incoming
        landing.changed[key] = document
        landing.writes[Family.CONFIRMED, row] = value
        if landing.traced and codec.collection.direction != "up":  # that leaves by its own way (`store/letting_go`)
            there = whole and incoming is not None
            landing.writes.update(traced(row, Trace(record.offset, record.timestamp_ms) if there else None))

    def _absent(
        self,
        record: Record,
        document: DocumentId,
        codec: StateCodec,
        incoming: DocumentState | None,
        marker: Marker,
        landing: _Landing,
    ) -> None:
        """What came of a document whose row is evicted. What lacks something that the row had seen is somebody's late word: the owner puts it
        right within seconds, and until then what was evicted stands."""
        key, row = record.key, landing.row(record.key)
        if not landing.fresh and key not in landing.latest:
            landing.held[key] = marker.vector.get(self._writer(landing), 0)
        if incoming is None:
            mark = groups.parse(record.headers)
            if mark.number < 0 or epoch_of(marker.vector) >= mark.purged:
                self._no_purge(offset=record.offset)
                return
            landing.writes[Family.META, keys.evicted_key(row)] = None
        elif not dominates(incoming.vector, marker.vector):
            return
        else:
            self._observe(codec, incoming, record.timestamp_ms)
            if codec.collection.document.exists(incoming):
                digest = self._versions.digest(key, record.value)
                landing.writes.update(evicted(row, Marker(record.offset, digest, incoming.vector)))
            else:
                landing.writes[Family.META, keys.evicted_key(row)] = None
                landing.writes[Family.CONFIRMED, row] = record.value
        landing.latest[key] = incoming
        landing.changed[key] = document

    def _before(self, key: bytes, codec: StateCodec, landing: _Landing) -> DocumentState | None:
        """What the generation holds of a document."""
        if key in landing.latest:
            return landing.latest[key]
        before = self._confirmed(landing.row(key), codec)
        shown = self._confirmed(landing.served_row(key), codec) if landing.fresh else before
        if shown is not None:
            landing.held[key] = shown.vector.get(self._writer(landing), 0)
        return before

    def _writer(self, landing: _Landing) -> str:
        """The life that writes there now."""
        return self._lives.chain(landing.space, landing.partition).replica

    def _confirmed(self, row: bytes, codec: StateCodec) -> DocumentState | None:
        raw = self._journal.get(Family.CONFIRMED, row)
        try:
            return None if raw is None else codec.decode(raw)
        except (
            UNREADABLE
        ):  # a newer release wrote it before this one was started again: what comes now stands in its place
            return None

    def _purges(self, record: Record, codec: StateCodec, before: DocumentState, landing: _Landing) -> bool:
        """Does a record without a value take the document from here? What we have pending on it is written anew then."""
        mark = groups.parse(record.headers)
        late = epoch_of(before.vector) < mark.purged  # somebody's late word on what was there before: the purge stands
        if mark.number >= 0 and (late or not codec.collection.document.exists(before)):
            landing.outlived |= self._waits(record.key, landing.groups[record.key], landing)
            return True
        self._no_purge(offset=record.offset)
        return False

    def _waits(self, key: bytes, group: int, landing: _Landing) -> bool:
        """Are changes of ours pending on a document that readers see, which went by this group? What was decided before it went along."""
        return not landing.fresh and any(not mark.shown_by(group) for mark in marks_of(self._journal, key))

    def _own(self, landing: _Landing) -> Generator[None, None, tuple[tuple[int, ...], bool]]:
        """What the states say of our own dots: lsns that are done, and whether somebody else makes such dots."""
        dropped = landing.dropped
        forked, done = False, len(landing.writes)
        for key, state in landing.latest.items():
            vector = {} if state is None else state.vector
            if landing.fresh:  # readers still see the old rows, with what is pending over them
                highest = self.coverage.highest_made(key, self._writer(landing))
            else:
                group = landing.groups[key]
                highest = yield from self.coverage.drop_covered(
                    key, vector, group, self._writer(landing), landing.writes, dropped
                )
                if len(landing.writes) - done >= AT_ONCE:
                    done = len(landing.writes)
                    yield
            if state is None:
                continue
            if vector.get(self._writer(landing), 0):
                highest = max(highest, self._unseen(key, vector, landing))
            # A document that was not held tells nothing of who made its dots.
            if key in landing.held:
                known = max(highest, landing.held[key])
                forked |= self.coverage.never_made(landing.space, landing.partition, state.vector, known)
        return tuple(dropped), forked

    def _unseen(self, key: bytes, vector: Vector, landing: _Landing) -> int:
        """The highest of the writer's own dots that were perhaps never to be seen; they go where readers have a state that covers them."""
        lives = unseen_of(self._journal, landing.space, landing.partition, key)
        dots = lives.get(self._writer(landing))
        if not landing.fresh:
            landing.writes.update(covered(landing.space, landing.partition, key, lives, vector))
        return 0 if dots is None else dots.last

    def _observe(self, codec: StateCodec, state: DocumentState, at_ms: int) -> None:
        self._stamps.read(at_ms)
        kind = codec.collection.document
        for name, stored in state.fields.items():
            for write in kind.merge_type(name).writes(stored):
                self._stamps.observe(write.hlc, at_ms)


def _by_worker(record: Record) -> bool:
    """Is it of a group? Nobody but a worker makes those."""
    return groups.parse(record.headers).number >= 0


def behind(cursor: Cursor, records: Sequence[Record], wall_ms: int) -> Cursor:
    """Where a replica stands that has applied these records too."""
    marks = (groups.parse(record.headers) for record in reversed(records))
    group = next((mark.number for mark in marks if mark.last and mark.number >= 0), cursor.group)
    return cursor._replace(offset=records[-1].offset + 1, group=group, wall_ms=wall_ms)
