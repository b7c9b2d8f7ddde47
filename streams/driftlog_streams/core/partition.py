"""One partition as it is merged up to now: its documents, its chain rows, and the work that no flight has taken yet.

Everything that is merged stands in `work` until a flight takes it. So what was merged since the last flight can be taken back: the
documents as they were last sealed, the rows as they last left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat

import structlog

from driftlog_crdt import DocumentState, Place
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key, scope_prefix
from driftlog_schemas.messages import Batch, ChainRow, CommandOutcome, Conflict, Verdict
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import chain, conflicts, taken
from driftlog_streams.core.arrival import DROPPED, Arrival
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.conflict_pace import ConflictPace, Leaving, Spot
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.flight import PartitionFlight, seal
from driftlog_streams.core.memory import Memory
from driftlog_streams.core.outcome_records import OutcomeRecords
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.scope_digests import ScopeDigests
from driftlog_streams.core.state_cache import Entry, StateCache, Unreadable, sealed
from driftlog_streams.core.work import OutRecord, PartitionWork

log = structlog.get_logger()


class Partition:
    """See the module."""

    def __init__(
        self,
        rules: SpaceRules,
        number: int,
        cache: StateCache,
        book: ChainBook,
        digests: ScopeDigests | None = None,
        disputes: Disputes | None = None,
    ) -> None:
        self.rules = rules
        self.number = number
        self.cache = cache
        self.book = book
        self._digests = digests
        self.disputes = disputes or Disputes()
        self.records = OutcomeRecords(rules, number)
        self.work = PartitionWork(number)
        self.offset = -1
        self.memory = Memory(book)
        self.pace = ConflictPace()
        self._held: dict[bytes, None] = {}
        """Documents to publish again once a record is merged: a group that leaves before the first one has no smaller number than it, so it
        would end what a crash has torn of that one's."""

    def reach(self, offset: int) -> None:
        """The record at this offset is the one that is merged now."""
        self.work.group = self.offset = offset
        self.memory.reach(offset)
        if self._held and offset >= 0:
            held, self._held = self._held, {}
            for key in held:
                self.publish_again(key)

    def resume(self, following: int) -> None:
        """The record at this offset comes next. Where it is the first of all, none is merged; what leaves before it is numbered like it."""
        self.reach(following - 1)
        self.work.group = max(following - 1, 0)

    # -- flights

    def seal(self) -> PartitionFlight:
        """What has gathered, ready to be published; it belongs to one flight now. Whatever is raised, nothing left."""
        self.write_taken()
        self._anchor()
        work = self.work
        leaving = self._leaving()
        calls = [*self.records.called(work.emitted)]
        outcomes = [*self._told(leaving), *calls]
        part = seal(self.rules, work, outcomes, self._digests, leaving.documents)
        part.calls, part.owing = calls, self.pace.left(leaving)
        work.on_stored, work.digests, work.disputes = self._stored, part.digested.scopes, part.passed.disputes
        dirty, digests = work.dirty, part.digested.documents or repeat(0)
        for (key, value), digest in zip(part.writes, digests, strict=False):
            entry = dirty[key]
            entry.size, entry.sealed = 0 if value is None else len(value), sealed((value, entry.purged))
            entry.digest = digest
        if self._digests is not None:
            self._digests.left(work.digests)
        self.disputes.left(work.disputes, work.ends)
        self.work = PartitionWork(self.number)
        if self._held:  # not all that was answered leaves
            work.answers, self.work.answers = self.work.answers, work.answers
        return part

    def _anchor(self) -> None:
        """Let each scope of which documents are purged have a record of this group that stays."""
        digests, work = self._digests, self.work
        if digests is None or not work.emptied:
            return
        for scope in sorted(work.emptied - {entry.document.scope for entry in work.dirty.values() if not _gone(entry)}):
            for key in digests.anchors(scope, self.rules.collections):
                entry = self.entry_at(key)
                if entry is not None and not _gone(entry) and self.can_leave(key) and self.publish_again(key):
                    break

    def _leaving(self) -> Leaving:
        """What is told of the conflicts that have changed, and what is owed."""
        work, grown = self.work, dict[Spot, int]()
        for spot in (*work.contested, *work.due):
            key, place = spot
            entry = self.entry_at(key)
            grown[spot] = 0 if entry is None else conflicts.versions(entry.collection, entry.state, place)
        return self.pace.leaving(grown, work.due, frozenset(work.ended), work.dirty)

    def _told(self, leaving: Leaving) -> list[OutRecord]:
        """Their records, each as it stands."""
        records = []
        for (key, place), versions in leaving.told.items():
            entry = self.entry_at(key) if versions else None
            record = None if entry is None else self.conflict(entry, entry.state, place)
            if record is not None:
                records.append(record)
        return records

    def conflict(self, entry: Entry, state: DocumentState, place: Place) -> OutRecord | None:
        """The conflict at a place of a state, if there is one."""
        conflict = conflicts.standing(entry.document, entry.collection, state, place)
        return None if conflict is None else self.records.conflict(conflict)

    def _stored(self, work: PartitionWork) -> None:
        for replica in work.rows:
            self.book.landed(replica)
        if self._digests is not None:
            self._digests.landed(work.digests)
        self.disputes.landed(work.disputes, work.ends)
        self.work.carried += [self.records.released(arrival) for arrival in work.released]

    def take_back(self) -> PartitionWork:
        """Documents and rows are as the last flight left them. What was taken back; who waits is the caller's."""
        work = self.work
        self.work = PartitionWork(
            self.number, carried=work.carried, due=work.due, group=work.group, answers=work.answers
        )
        work.kept = False
        for entry in work.dirty.values():
            self.cache.put_back(entry)
        for replica, row in work.bases.items():
            self.book.put(replica, row)
            self.book.landed(replica)
        return work

    # -- chain rows

    def write_row(self, replica: str, row: ChainRow, *, urgent: bool) -> None:
        """A replica's row is this now; an urgent one must be delivered before any state."""
        work = self.work
        if replica not in work.rows:
            work.bases[replica] = self.book.held(replica)
            self.book.fly(replica)
        if row.forgotten >= 0 and self.book.held(replica) is None:
            row = replace(row, forgotten=self.offset)  # it is there again, for as long as its reader may take
        work.rows[replica] = row
        self.book.put(replica, row)
        if urgent:
            work.urgent.add(replica)

    def remove_row(self, replica: str) -> None:
        """A replica has no row any more. The tombstone goes behind all rows that were written before."""
        work = self.work
        if replica not in work.rows:
            work.bases[replica] = self.book.held(replica)
            self.book.fly(replica)
        work.rows.pop(replica, None)
        work.rows[replica] = None
        self.book.put(replica, None)
        work.urgent.add(replica)

    def has_ended(self, replica: str) -> bool:
        """Is this life over, at this record or before?"""
        row = self.book.get(replica)
        return row is not None and bool(row.ended) and row.ended_at <= self.offset

    def all_seen(self, batch: Batch) -> bool:
        """Is every dot of a batch covered?"""
        for document, op in (pair for command in batch.commands for pair in command.ops):
            entry = self.entry_of(document)
            if entry is None or op.seq > entry.state.vector.get(op.replica, 0):
                return False
        return True

    def known(self, arrival: Arrival) -> CommandOutcome | None:
        """What became of a command that waited, by its row; None while it waits.

        A crash can let the row out ahead of the record that gave a command up: what was given up is known by the command itself.
        """
        row = self.book.get(arrival.batch.replica)
        entry = None if row is None else chain.entry_of(row, arrival.batch.number)
        known = None if entry is None else chain.verdict_of(entry, arrival.command.id)
        if known is None or known.verdict is Verdict.PARKED or known.code == DROPPED:
            return arrival.given_up(self.offset)
        return known

    # -- commands of lives that are over

    def decided_before(self, arrival: Arrival) -> CommandOutcome | None:
        """What is decided already of a command because of the life that it was first written in."""
        command = arrival.command
        if not command.root:
            return None
        fresh = self.work.taken.get(command.root, {})
        root, at = self.book.get(command.root), (arrival.offset, self.offset)
        return taken.before(root, fresh, command.id, *at, arrival.written)

    def keep_decided(self, arrival: Arrival, outcome: CommandOutcome) -> None:
        """A command of another life is decided: whoever brings it again is told."""
        root = arrival.command.root
        if root and taken.final(outcome):
            known = self.work.taken.setdefault(root, {})
            at = max(arrival.offset, arrival.dropped_at)
            known.setdefault(short_name(outcome.command_id), taken.first_word(outcome, at))

    def write_taken(self) -> None:
        """Once a flight, for a row is copied with each change."""
        for root, fresh in self.work.taken.items():
            row = self.book.get(root)
            assert row is not None, "its end was asked for"
            if (after := taken.kept(row, fresh)) != row:
                self.write_row(root, after, urgent=False)
        self.work.taken.clear()

    # -- documents

    def stands_here(self, batch: Batch) -> bool:
        """Is the record that is merged now the one by which this batch entered its chain? A late copy is not."""
        row = self.book.get(batch.replica)
        entry = None if row is None else chain.entry_of(row, batch.number)
        return entry is not None and entry.offset == self.offset

    def ended(self, conflict: Conflict) -> None:
        """This conflict has ended, so, in a document that has changed."""
        work, record = self.work, self.records.conflict(conflict)
        assert record.value is not None, "it says how"
        work.outcomes.append(record)
        work.ends[record.key] = record.value
        work.ended.add((document_key(conflict.document), conflicts.place_of(conflict.field)))

    # -- what stands in the topics already

    def publish_again(self, key: bytes) -> bool:
        """Publish a document's state although it has not changed. False where there is none that we can read."""
        entry, work = self.entry_at(key), self.work
        if entry is None:
            return False
        if entry.collection.type.blank(entry.state):
            entry.purged = entry.purged or self.cache.purged(key)
            if not entry.purged:
                return False  # nobody has ever written it
        if self.offset < 0:
            self._held[key] = None
            return True
        if entry.collection.type.blank(entry.state):
            work.emptied.add(entry.document.scope)
        if key not in work.dirty:
            work.changed(entry)
            work.group = max(work.group, self.offset, 0)
            work.again.add(key)
        return True

    def can_leave(self, key: bytes) -> bool:
        """Can a record be made of a document, as it is? What a stranger has written in its place may be read and not written: nobody else waits for that."""
        entry = self.entry_at(key)
        if entry is None or _gone(entry):
            return True
        try:
            entry.collection.codec.encode(entry.document, entry.state)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # the net
            log.error("no record can be made of a document", document="/".join(entry.document), error=f"{error}"[:500])
            return False
        return True

    def publish_row_again(self, replica: str) -> None:
        """Publish a replica's chain row although it has not changed."""
        self.work.rows_again.add(replica)
        row = self.book.held(replica)
        if row is not None:
            self.write_row(replica, row, urgent=True)
        elif self.book.get(replica) is not None:
            self.remove_row(replica)

    def documents(self, collection: str, scope: str) -> Iterator[DocumentId]:
        """Those of a scope, in id order, deleted ones too."""
        beginning = scope_prefix(collection, scope)
        stored = self._digests.keys(beginning) if self._digests is not None else iter(())
        held = (document_key(document) for document in self.cache.documents(collection, scope))
        return map(parse_document_key, sorted({*stored, *held}))

    def entry_of(self, document: DocumentId) -> Entry | None:
        """A document as merged now; None where it is not declared or not readable here."""
        collection = self.rules.collections.get(document.collection)
        if collection is None:
            return None
        try:
            return self.cache.get(document, collection)
        except Unreadable as error:
            log.warning("a document is left as it is", error=str(error))
            return None

    def entry_at(self, key: bytes) -> Entry | None:
        """The same by the key of its record; None too where that names no document."""
        try:
            document = parse_document_key(key)
        except ValueError as error:
            log.warning("a state record of no document", error=str(error))
            return None
        return self.entry_of(document)


def _gone(entry: Entry) -> bool:
    """Was it purged, or never there?"""
    return entry.collection.type.blank(entry.state)
