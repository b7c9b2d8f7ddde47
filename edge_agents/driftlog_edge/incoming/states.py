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

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import replace

import structlog

from driftlog_crdt import DocumentState, Vector, dominates, epoch_of
from driftlog_edge.incoming.coverage import Coverage
from driftlog_edge.incoming.landing import Landing, by_worker
from driftlog_edge.incoming.only_up import OnlyUp
from driftlog_edge.incoming.pulled import UNREADABLE, PassedOver, Pulled
from driftlog_edge.incoming.rows import Rows
from driftlog_edge.incoming.tally import Tally
from driftlog_edge.ports import Family, Record
from driftlog_edge.store import keys
from driftlog_edge.store.cursors import Cursor
from driftlog_edge.store.evicted import Marker, Trace, evicted, marker_of, traced
from driftlog_edge.store.generations import Generations, return_of, serving
from driftlog_edge.store.going_up import GoingUp
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import FOREIGN_DOT, PURGED, Lives
from driftlog_edge.store.pending import marks_of
from driftlog_edge.store.stamps import Stamps
from driftlog_schemas import groups
from driftlog_schemas.digests import Versions, document_digest
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.sparing import Sparing
from driftlog_schemas.state_codec import StateCodec

log = structlog.get_logger()

AT_ONCE = 100
"""Records that are read without letting others run."""


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
        self.only_up = OnlyUp(generations, scopes, versions, journal, lives, going_up)
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
        rows = Rows(self._journal, space, partition, generation)
        tally = Tally(self._versions, self._journal, rows, space, partition, generation)
        served, writer = serving(self._journal, space, partition), self._lives.writing(space, partition)
        landing = Landing(space, topic, partition, generation, served, rows, tally, writer, traced=self._traces())
        under_way = return_of(self._journal, space, partition) if landing.fresh else None
        landing.anew = under_way is not None and under_way.anew
        for number, record in enumerate(records, 1):
            if number % AT_ONCE == 0:
                yield
                landing.writer = self._lives.writing(space, partition)
            self._land(record, landing)
        landing.writes.update(tally.writes())
        dropped, foreign = yield from self.coverage.told(landing)
        chain = self._lives.chain(space, partition)
        forked = FOREIGN_DOT if foreign else PURGED if landing.outlived and not chain.fork else ""
        if forked:
            landing.writes.update(self._lives.written(space, partition, replace(chain, fork=forked)))
        if landing.latest:
            landing.writes.update(self._stamps.kept())
        changed = () if landing.fresh else tuple(landing.changed.values())
        branches = ((space, partition),) if forked else ()
        return Pulled(landing.writes, changed, dropped=dropped, forked=branches, unreadable=landing.unreadable)

    def place(self, key: bytes) -> tuple[str, int] | None:
        """(space, partition) of a document; None of one that this release does not declare."""
        document = parse_document_key(key)
        return (
            self._generations.place(document.collection, document.scope)
            if document.collection in self._codecs
            else None
        )

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

    def _land(self, record: Record, landing: Landing) -> None:
        """One record into the write set."""
        try:
            document = parse_document_key(record.key)
            if document.scope not in self._scopes:
                return
            self._require_here(record.key, document, landing)
        except ValueError as error:
            self._passed_over(landing.topic, record, error)
            landing.unreadable += 1
            return
        row = landing.row(record.key)
        landing.tally.before(record.key, row)
        self._held(record, document, landing)
        landing.tally.after(record, row, document.scope)

    def _require_here(self, key: bytes, document: DocumentId, landing: Landing) -> None:
        """Raise ValueError unless the document lies here, under this key."""
        whose = (document.collection, document.scope)
        if b"%" in key or whose not in landing.belongs:  # without an escape a key can be written in one way only
            self._generations.require_here(key, document, landing.space, landing.partition)
            landing.belongs.add(whose)

    def _held(self, record: Record, document: DocumentId, landing: Landing) -> None:
        """One record of a scope that is held."""
        codec = self._codecs.get(document.collection)
        if by_worker(record):
            self.only_up.heard(record)
        if codec is None:
            if by_worker(record) and not self.only_up.of_others(record, landing):
                landing.writes[Family.UNREAD, landing.row(record.key)] = record.value
            return
        ours = False
        if codec.collection.direction == "up":
            ours = self.only_up.ours(record.key, landing)
            if not ours and self._generations.own_only(document.collection):
                return
        try:
            incoming = None if record.value is None else self._decoded(record.key, record.value, codec, landing)
        except UNREADABLE as error:
            self._keep(record, document, error, landing)
            return
        if ours:
            self._written_here(record, document, codec, incoming, landing)
        else:
            self._take(record, document, codec, incoming, landing)

    def _written_here(
        self,
        record: Record,
        document: DocumentId,
        codec: StateCodec,
        incoming: DocumentState | None,
        landing: Landing,
    ) -> None:
        """A document that only goes up and that this device has written."""
        collection = codec.collection
        note = self.only_up.note(record.key, landing)
        if self.only_up.late(note, incoming, landing):
            return
        there = incoming is not None and collection.document.exists(incoming)
        if self.only_up.comes_down(record, note, there, landing):
            self._take(record, document, codec, incoming, landing)
        self.only_up.met(record, document, collection, incoming, note, landing)

    def _keep(self, record: Record, document: DocumentId, error: Exception, landing: Landing) -> None:
        """A worker's record is one that a newer release can read; anybody else's is noise."""
        if not by_worker(record):
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
        landing: Landing,
    ) -> None:
        """A state, or a purge, that can be read."""
        key, row, value = record.key, landing.row(record.key), record.value
        landing.groups[key] = groups.parse(record.headers).number
        if landing.rows.unread(row) is not None:
            landing.writes[Family.UNREAD, row] = None  # the topic's newer word can be read
            landing.changed[key] = document
        before, whole = self._before(key, codec, landing), True
        marker = landing.rows.marker(row)
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
        landing: Landing,
    ) -> None:
        """What came of a document whose row is evicted. What lacks something that the row had seen is somebody's late word: the owner puts it
        right within seconds, and until then what was evicted stands."""
        key, row = record.key, landing.row(record.key)
        if not landing.fresh and key not in landing.latest:
            landing.held[key] = marker.vector.get(landing.writer, 0)
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

    def _before(self, key: bytes, codec: StateCodec, landing: Landing) -> DocumentState | None:
        """What the generation holds of a document."""
        if key in landing.latest:
            return landing.latest[key]
        before = shown = self._confirmed(key, landing.rows.confirmed(landing.row(key)), codec, landing)
        if landing.fresh:
            served = self._journal.get(Family.CONFIRMED, landing.served_row(key))
            shown = self._confirmed(key, served, codec, landing)
        if shown is not None:
            landing.held[key] = shown.vector.get(landing.writer, 0)
        return before

    def _confirmed(self, key: bytes, raw: bytes | None, codec: StateCodec, landing: Landing) -> DocumentState | None:
        try:
            return None if raw is None else self._decoded(key, raw, codec, landing)
        except (
            UNREADABLE
        ):  # a newer release wrote it before this one was started again: what comes now stands in its place
            return None

    def _decoded(self, key: bytes, value: bytes, codec: StateCodec, landing: Landing) -> DocumentState:
        """A row's state; what it adds to its scope is told with it. Raises as `StateCodec.decode`."""
        if codec.collection.direction == "up" or not codec.is_own(value):  # its writer's schema says whether it counts
            return codec.decode(value)
        state, version, deleted = codec.decode_counted(value)
        landing.tally.tell(key, value, 0 if deleted else document_digest(key, version))
        return state

    def _purges(self, record: Record, codec: StateCodec, before: DocumentState, landing: Landing) -> bool:
        """Does a record without a value take the document from here? What we have pending on it is written anew then."""
        mark = groups.parse(record.headers)
        late = epoch_of(before.vector) < mark.purged  # somebody's late word on what was there before: the purge stands
        if mark.number >= 0 and (late or not codec.collection.document.exists(before)):
            landing.outlived |= self._waits(record.key, landing.groups[record.key], landing)
            return True
        self._no_purge(offset=record.offset)
        return False

    def _waits(self, key: bytes, group: int, landing: Landing) -> bool:
        """Are changes of ours pending on a document that readers see, which went by this group? What was decided before it went along."""
        return not landing.fresh and any(not mark.shown_by(group) for mark in marks_of(self._journal, key))

    def _observe(self, codec: StateCodec, state: DocumentState, at_ms: int) -> None:
        self._stamps.read(at_ms)
        kind = codec.collection.document
        for name, stored in state.fields.items():
            for write in kind.merge_type(name).writes(stored):
                self._stamps.observe(write.hlc, at_ms)


def behind(cursor: Cursor, records: Sequence[Record], wall_ms: int) -> Cursor:
    """Where a replica stands that has applied these records too."""
    marks = (groups.parse(record.headers) for record in reversed(records))
    group = next((mark.number for mark in marks if mark.last and mark.number >= 0), cursor.group)
    return cursor._replace(offset=records[-1].offset + 1, group=group, wall_ms=wall_ms)
