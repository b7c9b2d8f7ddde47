"""From the cloud's topics into the replica: states by groups, receipts, conflicts; each with its cursor in the same write.

A state replaces what was confirmed if it has seen at least as much; if not (a frozen worker wrote late) the two are joined, so what
was once confirmed never goes back. Pending commands whose every dot the confirmed vectors cover are dropped. Receipts give
commands their final status; they may come before or after the state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import structlog

from driftlog_crdt import AlgebraError, DocumentState, HybridClock, canonical, dominates
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Family, Place, Record
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry, Status
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.views import Views
from driftlog_schemas.contract import AppContract
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key
from driftlog_schemas.messages import Conflict, ConflictStatus, Receipt, Verdict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.state_codec import StateCodec

log = structlog.get_logger()

DIGEST_BYTES = 8
UNREADABLE = (Undecodable, UnknownSchema, AlgebraError, ValueError)
"""What reading a record raises when it is foreign, damaged, or of a newer app: passed over, counted and told."""


class Pulled(NamedTuple):
    """What a write set of pulled records means, once it is durable."""

    writes: dict[Place, bytes | None]
    changed: tuple[DocumentId, ...] = ()
    settled: tuple[str, ...] = ()
    """ids of commands that got their final status"""
    again: tuple[int, ...] = ()
    """lsns that the cloud wants to see again later"""
    refused: str = ""
    """code of a batch refused whole"""
    skew_ms: int = 0
    answered: tuple[tuple[str, int, int], ...] = ()
    """(space, partition, number) of batches that a receipt has closed"""
    dropped: tuple[int, ...] = ()
    """lsns that the confirmed state now has all of"""
    unreadable: int = 0
    """records that were passed over because they cannot be read here"""


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
        hlc: Callable[[], HybridClock],
        device_id: str,
    ) -> None:
        self._contract = contract
        self._scopes = frozenset(scopes)
        self._codecs = codecs
        self._records = records
        self._views = views
        self._outbox = outbox
        self._journal = journal
        self._hlc = hlc
        self._device_id = device_id
        self._on_staged: list[Callable[[Pulled], None]] = []

    def states(self, space: str, topic: str, partition: int, records: Sequence[Record]) -> Pulled:
        """One or more whole groups."""
        writes: dict[Place, bytes | None] = {}
        latest: dict[bytes, DocumentState] = {}
        digests: dict[str, int] = {}
        changed: dict[bytes, DocumentId] = {}
        unreadable = 0
        for record in records:
            document = self._document(topic, record)
            if document is None:
                unreadable += 1
                continue
            if document.scope not in self._scopes or record.value is None or document.collection not in self._codecs:
                continue
            codec = self._codecs[document.collection]
            try:
                incoming = codec.decode(record.value)
            except UNREADABLE as error:
                _passed_over(topic, record, error)
                unreadable += 1
                continue
            before = latest.get(record.key)
            if before is None:
                raw = self._journal.get(Family.CONFIRMED, record.key)
                before = None if raw is None else codec.decode(raw)
            value = record.value
            if before is not None and not dominates(incoming.vector, before.vector):
                incoming = codec.collection.document.join(before, incoming)
                value = codec.encode(document, incoming)
            self._observe(document, incoming)
            latest[record.key] = incoming
            changed[record.key] = document
            writes[Family.CONFIRMED, record.key] = value
            digests[document.scope] = (
                digests.get(document.scope, 0)
                ^ (0 if before is None else document_digest(record.key, before))
                ^ document_digest(record.key, incoming)
            )
        for scope, change in digests.items():
            place = (Family.META, keys.digest_key(space, scope))
            stored = int.from_bytes(self._journal.get(*place) or bytes(DIGEST_BYTES), "big")
            writes[place] = (stored ^ change).to_bytes(DIGEST_BYTES, "big")
        dropped: dict[int, None] = {}
        for key, state in latest.items():
            self._drop_covered(key, changed[key], state, writes, dropped)
        if latest:
            writes[Family.META, keys.OBSERVED] = keys.pack_number(self._hlc().last)
        if records:
            writes[Family.META, keys.cursor_key(topic, partition)] = keys.pack_number(records[-1].offset + 1)
        return Pulled(writes, tuple(changed.values()), dropped=tuple(dropped), unreadable=unreadable)

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
        for lsn in pulled.dropped:
            self._views.backlog.dropped(lsn)
        for follow in self._on_staged:
            follow(pulled)

    def _drop_covered(
        self,
        key: bytes,
        document: DocumentId,
        state: DocumentState,
        writes: dict[Place, bytes | None],
        dropped: dict[int, None],
    ) -> None:
        for lsn in self._views.pending(key):
            ops = self._views.command(lsn).ops
            if all(state.vector.get(op.replica, 0) >= op.seq for other, op in ops if other == document):
                writes[Family.PENDING, keys.pending_key(key, lsn)] = None
                others = {document_key(other) for other, _ in ops} - {key}
                if not any(self._is_pending(other, lsn, writes) for other in others):
                    dropped[lsn] = None

    def _is_pending(self, key: bytes, lsn: int, writes: Mapping[Place, bytes | None]) -> bool:
        place = (Family.PENDING, keys.pending_key(key, lsn))
        return place not in writes and self._journal.get(*place) is not None

    def _observe(self, document: DocumentId, state: DocumentState) -> None:
        clock = self._hlc()
        kind = self._codecs[document.collection].collection.document
        for name, stored in state.fields.items():
            for write in kind.merge_type(name).writes(stored):
                clock.observe(write.hlc)

    def receipts(self, topic: str, partition: int, records: Sequence[Record]) -> Pulled:
        """Receipts of this partition; other devices' are passed over."""
        writes: dict[Place, bytes | None] = {}
        settled: list[str] = []
        again: list[int] = []
        answered: list[tuple[str, int, int]] = []
        refused, skew, unreadable = "", 0, 0
        for record in records:
            if record.key != self._device_id.encode() or record.value is None:
                continue
            try:
                receipt = self._records.decode_receipt(record.value)
            except UNREADABLE as error:
                _passed_over(topic, record, error)
                unreadable += 1
                continue
            skew = receipt.skew_ms or skew
            if receipt.code:
                # Only a batch of ours that is still open can be meant; a forger's is not.
                lsns = self._outbox.lsns(receipt.space, partition, receipt.batch)
                if lsns:
                    refused = receipt.code
                    again += lsns
                continue
            settled += self._settle(receipt, writes, again)
            if all(o.code != "parking_full" for o in receipt.outcomes):
                writes.update(self._outbox.closing(receipt.space, partition, receipt.batch))
                answered.append((receipt.space, partition, receipt.batch))
        if records:
            writes[Family.META, keys.cursor_key(topic, partition)] = keys.pack_number(records[-1].offset + 1)
        return Pulled(writes, (), tuple(settled), tuple(again), refused, skew, tuple(answered), unreadable=unreadable)

    def _settle(self, receipt: Receipt, writes: dict[Place, bytes | None], again: list[int]) -> list[str]:
        settled = []
        for outcome in receipt.outcomes:
            place = (Family.COMMANDS, outcome.command_id.encode())
            raw = writes.get(place) or self._journal.get(*place)
            if raw is None:
                continue
            entry = Entry.decode(raw)
            if entry.status in (Status.MERGED, Status.REJECTED):
                continue
            if outcome.verdict is Verdict.PARKED:
                # The cloud keeps it, unless it had no room.
                if outcome.code == "parking_full":
                    again.append(entry.lsn)
                continue
            if outcome.verdict is Verdict.REJECTED:
                entry = entry.with_status(Status.REJECTED, outcome.code, outcome.reason)
            else:
                entry = entry.with_status(Status.MERGED)
            writes[place] = entry.encode()
            settled.append(outcome.command_id)
        return settled

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
                place = (Family.CONFLICTS, record.key)
                earlier = writes.get(place) or self._journal.get(*place)
                writes[place] = record.value if earlier is None else self._merged(earlier, conflict)
                changed.append(conflict.document)
        if records:
            writes[Family.META, keys.cursor_key(topic, partition)] = keys.pack_number(records[-1].offset + 1)
        return Pulled(writes, tuple(changed), unreadable=unreadable)

    def _merged(self, earlier: bytes, conflict: Conflict) -> bytes:
        """A closing record names the writes but not the commands behind them; the opening one did."""
        if conflict.status is not ConflictStatus.RESOLVED:
            return self._records.encode_conflict(conflict)
        known = self._records.decode_conflict(earlier)
        return self._records.encode_conflict(
            Conflict(
                id=known.id,
                document=known.document,
                field=known.field,
                winner=known.winner,
                loser=known.loser,
                policy=known.policy,
                rule=known.rule,
                detected_ms=known.detected_ms,
                deadline_ms=known.deadline_ms,
                status=conflict.status,
                resolved_by=conflict.resolved_by,
            )
        )


def _passed_over(topic: str, record: Record, error: Exception) -> None:
    log.warning("a record cannot be read and is passed over", topic=topic, offset=record.offset, reason=str(error))


def document_digest(key: bytes, state: DocumentState) -> int:
    """What a document adds (by XOR) to its scope's digest."""
    text = key + b"\x00" + canonical(dict(state.vector)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest(), "big")
