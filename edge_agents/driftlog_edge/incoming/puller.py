"""From the cloud's topics into the replica: states by groups, receipts, conflicts; each with its cursor in the same write.

A state replaces what was confirmed if it has seen at least as much; if not (a frozen worker wrote late) the two are joined, so what
was once confirmed never goes back. Pending commands whose every dot the confirmed vectors cover are dropped. Rows give
commands their final status; they may come before or after the state.

A state record without a value, in a worker's group, purges a document: its tombstone goes from here too, as it goes from the topic, so
that who read it and who never did hold the same. Only a tombstone goes in this way, and none with changes of ours on it: the cloud
purges what everybody knows to be deleted, so anything else is not its word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog

from driftlog_crdt import AlgebraError, DocumentState, Vector, canonical, dominates
from driftlog_edge.incoming.verdicts import Answered, Verdicts
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Family, Place, Record
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import FOREIGN_DOT
from driftlog_edge.store.pending import Fate, marks_of
from driftlog_edge.store.stamps import Stamps
from driftlog_edge.store.views import Views
from driftlog_schemas import groups
from driftlog_schemas.contract import AppContract
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key
from driftlog_schemas.messages import ChainRow, RefusalNotice
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.state_codec import StateCodec

log = structlog.get_logger()

DIGEST_BYTES = 8
AT_ONCE = 100
"""Records that are read without letting others run."""
UNREADABLE = (Undecodable, UnknownSchema, AlgebraError, ValueError)
"""What reading a record raises when it is foreign, damaged, or of a newer app: passed over, counted and told."""


class Pulled(NamedTuple):
    """What a write set of pulled records means, once it is durable."""

    writes: dict[Place, bytes | None]
    changed: tuple[DocumentId, ...] = ()
    answered: tuple[Answered, ...] = ()
    """What rows of our chains said"""
    refused: tuple[tuple[str, int, RefusalNotice], ...] = ()
    """(space, partition, why) of batches that were not believed to be ours"""
    skew_ms: int = 0
    dropped: tuple[int, ...] = ()
    """lsns that are decided and that the confirmed state now has"""
    forked: tuple[tuple[str, int], ...] = ()
    """(space, partition) in which somebody else speaks in our name"""
    unreadable: int = 0
    """records that were passed over because they cannot be read here"""

    @property
    def settled(self) -> tuple[str, ...]:
        """ids of commands that got their final status"""
        return tuple(command_id for answer in self.answered for command_id in answer.settled)


class Puller:
    """Applies pulled records to the store of one replica."""

    def __init__(
        self,
        contract: AppContract,
        scopes: Collection[str],
        codecs: Mapping[str, StateCodec],
        records: RecordCodecs,
        views: Views,
        outbox: Outbox,
        journal: Journal,
        stamps: Stamps,
        device_id: str,
    ) -> None:
        self._contract = contract
        self._scopes = scopes
        self._codecs = codecs
        self._records = records
        self._views = views
        self._lives = outbox.lives
        self._verdicts = Verdicts(journal, outbox)
        self._journal = journal
        self._stamps = stamps
        self._device_id = device_id
        self._on_staged: list[Callable[[Pulled], None]] = []

    def states(
        self, space: str, topic: str, partition: int, records: Sequence[Record]
    ) -> Generator[None, None, Pulled]:
        """One or more whole groups, as one write.

        It stops after every few records, so that others may run; what they do is in what it returns. Stage that at once.
        """
        writes: dict[Place, bytes | None] = {}
        latest: dict[bytes, DocumentState | None] = {}
        held: dict[bytes, int] = {}
        """The highest own seq in what was confirmed before"""
        writer = self._lives.chain(space, partition).replica
        digests: dict[str, int] = {}
        changed: dict[bytes, DocumentId] = {}
        unreadable = 0
        for number, record in enumerate(records, 1):
            if number % AT_ONCE == 0:
                yield
            document = self._document(topic, record)
            if document is None:
                unreadable += 1
                continue
            if document.scope not in self._scopes:
                continue
            codec = self._codecs.get(document.collection)
            if codec is None:  # a newer release's; read again when this one declares it
                writes[Family.META, keys.passed_over_key(topic, partition)] = b""
                continue
            try:
                incoming = None if record.value is None else codec.decode(record.value)
            except UNREADABLE as error:
                _passed_over(topic, record, error)
                writes[Family.META, keys.passed_over_key(topic, partition)] = b""
                unreadable += 1
                continue
            if record.key in latest:
                before = latest[record.key]
            else:
                raw = self._journal.get(Family.CONFIRMED, record.key)
                before = None if raw is None else codec.decode(raw)
                if before is not None:
                    held[record.key] = before.vector.get(writer, 0)
            value = record.value
            if incoming is None:
                if before is None or not self._purges(record, codec, before):
                    continue
            else:
                if before is not None and not dominates(incoming.vector, before.vector):
                    incoming = codec.collection.document.join(before, incoming)
                    value = codec.encode(document, incoming)
                self._observe(document, incoming, record.timestamp_ms)
            latest[record.key] = incoming
            changed[record.key] = document
            writes[Family.CONFIRMED, record.key] = value
            digests[document.scope] = (
                digests.get(document.scope, 0)
                ^ document_digest(record.key, before)
                ^ document_digest(record.key, incoming)
            )
        for scope, change in digests.items():
            place = (Family.META, keys.digest_key(space, scope))
            stored = int.from_bytes(self._journal.get(*place) or bytes(DIGEST_BYTES), "big")
            writes[place] = (stored ^ change).to_bytes(DIGEST_BYTES, "big")
        dropped: dict[int, None] = {}
        forked: dict[tuple[str, int], None] = {}
        for key, state in latest.items():
            if state is None:
                continue
            highest = self._drop_covered(key, state.vector, writes, dropped)
            # A document that was not held tells nothing of who made its dots.
            if key in held and self._never_made(space, partition, state.vector, max(highest, held[key])):
                forked[space, partition] = None
        for branch in forked:
            writes.update(self._lives.written(*branch, replace(self._lives.chain(*branch), fork=FOREIGN_DOT)))
        if latest:
            writes.update(self._stamps.kept())
        if records:
            writes[Family.META, keys.cursor_key(topic, partition)] = keys.pack_number(records[-1].offset + 1)
        return Pulled(
            writes, tuple(changed.values()), dropped=tuple(dropped), forked=tuple(forked), unreadable=unreadable
        )

    def _purges(self, record: Record, codec: StateCodec, before: DocumentState) -> bool:
        """Does a record without a value take the document from here?"""
        by_worker = groups.parse(record.headers).number >= 0
        waiting = next(iter(marks_of(self._journal, record.key)), None) is not None
        if by_worker and not waiting and codec.collection.document.deleted(before):
            return True
        log.warning("a purge that cannot be one is passed over", offset=record.offset)
        return False

    def _never_made(self, space: str, partition: int, vector: Vector, highest: int) -> bool:
        """Does a state hold a dot of the life that writes there which this folder never made?"""
        chain = self._lives.chain(space, partition)
        return not chain.fork and vector.get(chain.replica, 0) > highest

    def _document(self, topic: str, record: Record) -> DocumentId | None:
        try:
            return parse_document_key(record.key)
        except ValueError as error:
            _passed_over(topic, record, error)
            return None

    def on_staged(self, follow: Callable[[Pulled], None]) -> None:
        """Call `follow` whenever pulled writes can be read; if they are given up later, the journal says so."""
        self._on_staged.append(follow)

    def staged(self, pulled: Pulled) -> None:
        """The writes are staged: views of the changed documents are computed anew when asked for."""
        for document in pulled.changed:
            self._views.forget(document_key(document))
        lsns = [*pulled.dropped]
        for answer in pulled.answered:
            for key in answer.documents:
                self._views.forget(key)
            lsns += answer.dropped
        for lsn in lsns:
            self._views.backlog.dropped(lsn)
        for follow in self._on_staged:
            follow(pulled)

    def _drop_covered(
        self, key: bytes, vector: Vector, writes: dict[Place, bytes | None], dropped: dict[int, None]
    ) -> int:
        """Pending entries of a document that its state covers go. Returns the highest own seq known to have been made there."""
        highest = 0
        for mark in marks_of(self._journal, key):
            highest = mark.seq
            if vector.get(mark.replica, 0) < mark.seq:
                break
            writes[Family.PENDING, keys.pending_key(key, mark.lsn)] = None
            if mark.fate is not Fate.UNKNOWN and not self._is_pending_elsewhere(key, mark.lsn, writes):
                dropped[mark.lsn] = None
        return highest

    def _is_pending_elsewhere(self, key: bytes, lsn: int, writes: Mapping[Place, bytes | None]) -> bool:
        others = {document_key(document) for document, _ in self._views.command(lsn).ops} - {key}
        places = [(Family.PENDING, keys.pending_key(other, lsn)) for other in others]
        return any(place not in writes and self._journal.get(*place) is not None for place in places)

    def _observe(self, document: DocumentId, state: DocumentState, at_ms: int) -> None:
        self._stamps.read(at_ms)
        kind = self._codecs[document.collection].collection.document
        for name, stored in state.fields.items():
            for write in kind.merge_type(name).writes(stored):
                self._stamps.observe(write.hlc, at_ms)

    def receipts(self, topic: str, partition: int, records: Sequence[Record]) -> Iterator[Pulled]:
        """Rows of this replica's chain in this partition, and refusals of what claimed to be its device's; others are passed over.

        In steps: stage each before the next is asked for. The cursor moves with the last.
        """
        refused: list[tuple[str, int, RefusalNotice]] = []
        space = topic.rpartition(".")[0]
        unreadable = 0
        device = self._device_id.encode()
        for record in _latest(records, device):
            if record.value is None or record.key.partition(b".")[0] != device:
                continue
            try:
                if record.key == device:
                    refused.append((space, partition, self._records.decode_refusal_notice(record.value)))
                    continue
                row = self._records.decode_chain_row(record.value)
            except UNREADABLE as error:
                _passed_over(topic, record, error)
                unreadable += 1
                continue
            for step, answer in enumerate(self._verdicts.of(row, record.value)):
                if not step:
                    answer.writes.update(self._timed(row))
                yield Pulled(answer.writes, answered=(answer,), skew_ms=row.skew_ms)
        writes: dict[Place, bytes | None] = {}
        if records:
            writes[Family.META, keys.cursor_key(topic, partition)] = keys.pack_number(records[-1].offset + 1)
        yield Pulled(writes, refused=tuple(refused), unreadable=unreadable)

    def _timed(self, row: ChainRow) -> dict[Place, bytes | None]:
        """What a row of ours tells of the device's clock, and the writes that keep it."""
        self._stamps.read(row.append_ms)
        return self._stamps.contradicted(row.append_ms + row.skew_ms, row.append_ms) if row.skew_ms else {}

    def conflicts(self, topic: str, partition: int, records: Sequence[Record]) -> Pulled:
        """Conflicts of subscribed scopes."""
        writes: dict[Place, bytes | None] = {}
        changed = []
        unreadable = 0
        for record in records:
            if record.value is None:
                writes[Family.CONFLICTS, record.key] = None
                continue
            try:
                conflict = self._records.decode_conflict(record.value)
            except UNREADABLE as error:
                _passed_over(topic, record, error)
                unreadable += 1
                continue
            if conflict.document.scope in self._scopes:
                writes[Family.CONFLICTS, record.key] = record.value
                changed.append(conflict.document)
        if records:
            writes[Family.META, keys.cursor_key(topic, partition)] = keys.pack_number(records[-1].offset + 1)
        return Pulled(writes, tuple(changed), unreadable=unreadable)


def _latest(records: Sequence[Record], device: bytes) -> list[Record]:
    """The last record of each key: a row says all that the rows before it said."""
    rows = {record.key: record for record in records}
    return [record for record in records if record.key == device or rows[record.key] is record]


def _passed_over(topic: str, record: Record, error: Exception) -> None:
    log.warning("a record cannot be read and is passed over", topic=topic, offset=record.offset, reason=str(error))


def document_digest(key: bytes, state: DocumentState | None) -> int:
    """What a document adds (by XOR) to its scope's digest; one that is not held nothing."""
    if state is None:
        return 0
    text = key + b"\x00" + canonical(dict(state.vector)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest(), "big")
