"""Merging one partition: admitted batches in, changed documents and outcomes out. No I/O, no clock, no randomness.

A command is merged whole or not at all. Before its first op is applied it is known that all can be: every dot is the next one
of its replica and every context is covered. Then the decision is made once and for ever:

    all dots covered           -> duplicate; nothing changes, nothing is published but the receipt
    something is missing       -> parked
    objection, guard, size     -> rejected: all its dots are seen, without effect
    otherwise                  -> accepted: all its ops are applied
    some dots covered          -> half seen (a crash tore its group): the decision it got before, see `_settle_half_seen`

Half seen can only be what a torn group held, so only a record up to the newest torn group may claim it. Later such a command
is malformed: were it believed, a device could slip new ops past the guards by putting an old one beside them.

Dedupe is by dot against version vector only; offsets number groups and bound that window, nothing else.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any, TypeAlias

import structlog

from driftlog_crdt import (
    AlgebraError,
    BadEncoding,
    DocumentState,
    Op,
    Outcome,
    TooLarge,
    Vector,
    bounded,
    canonical,
    dominates,
)
from driftlog_crdt.document_state import APPLIED
from driftlog_crdt.hlc import COUNTER_BITS, DEFAULT_BOUND_MS, millis
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.contract import Refused
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import document_key, parse_document_key
from driftlog_schemas.messages import Batch, Command, CommandOutcome, Device, ParkedCommand, Receipt, Verdict
from driftlog_streams import conflicts
from driftlog_streams.admission import Admission, Refusal, objection
from driftlog_streams.parking import Blocker, Parked, Parking
from driftlog_streams.rules import SpaceRules
from driftlog_streams.state_cache import Entry, StateCache
from driftlog_streams.work import OutRecord, PartitionWork

log = structlog.get_logger()

_OP_OVERHEAD = 96
"""About how many bytes of state an op can add besides its value."""
_ACCEPTED = Verdict.ACCEPTED
_PLAIN = (Verdict.ACCEPTED, Verdict.DUPLICATE)
"""Looked up once: an enum's members are found by a search each time."""
_COUNTING = frozenset({"increment", "decrement"})
"""Kinds that add up in place."""


Step: TypeAlias = tuple[bytes, Entry, Op, int]
"""Document key, its entry, the op with its clock bounded, and about how many bytes it adds to the state: 0 where its dot is
covered already, more for a fresh op."""


class PartitionMerger:
    """The merge of one partition.

    `torn` are the dots known to be rejected in a torn tail, by document key; `torn_until` is the highest group number in that
    tail (None: not known, every record may be of it; -1: there is none).
    """

    def __init__(
        self,
        rules: SpaceRules,
        partition: int,
        cache: StateCache,
        parking: Parking | None = None,
        torn: Mapping[bytes, frozenset[tuple[str, int]]] | None = None,
        torn_until: int | None = None,
    ) -> None:
        self._rules = rules
        self._partition = partition
        self._cache = cache
        self._torn = torn or {}
        self._torn_until = torn_until
        self._offset = -1
        self._moved: dict[tuple[bytes, str], Entry] = {}
        """What moved since the last look at the parked commands, while there are any."""
        self.parking = Parking() if parking is None else parking
        self.work = PartitionWork(partition)

    def take_work(self) -> PartitionWork:
        """What has gathered since the last call; it belongs to one flight now."""
        work = self.work
        work.on_stored = self._publish_tombstones
        self.work = PartitionWork(self._partition)
        return work

    def _publish_tombstones(self, tombstones: list[OutRecord]) -> None:
        self.work.outcomes.extend(tombstones)

    def merge(self, admission: Admission, offset: int, append_ms: int, source: Any = None) -> None:
        """Merge one record of the op topic. `source` is handed back for acknowledgement."""
        work = self.work
        work.group = self._offset = offset
        if source is not None:
            work.sources.append(source)
        if isinstance(admission, Refusal):
            self._refuse(admission, offset)
        else:
            batch, device = admission
            outcomes = [self._merge_command(c, batch, device, offset, append_ms) for c in batch.commands]
            newest = max([c.hlc for c in batch.commands], default=0)
            self._answer(batch, device, outcomes, offset, _skew(millis(newest), append_ms))
            work.ops += sum([len(c.ops) for c in batch.commands])
            if self._moved:
                self._cascade()
        if offset == self._torn_until and self.parking:
            self.release()  # all that was torn has been read again: what waits for nothing waited for this

    def heard(self, key: bytes, value: bytes | None) -> None:
        """`value` is the last record of a document in the state topic, and may be somebody else's: unless it has seen all
        that our state has, ours is published again.
        """
        entry = self._entry(key)
        if entry is None:
            return
        theirs: Vector = {}
        if value is not None:
            try:
                theirs = entry.collection.codec.decode(value).vector
            except (Undecodable, UnknownSchema, BadEncoding) as error:
                log.warning("a state record that nobody can read", document=key.decode(), error=str(error))
        if not dominates(theirs, entry.state.vector):
            self.publish_again(key)

    def publish_again(self, key: bytes) -> None:
        """Publish a document's state although it has not changed."""
        entry, work = self._entry(key), self.work
        if entry is None or key in work.dirty:
            return
        work.changed(key, entry)
        work.group = max(work.group, self._offset, 0)
        work.again += 1

    def _entry(self, key: bytes) -> Entry | None:
        try:
            document = parse_document_key(key)
        except ValueError as error:
            log.warning("a state record of no document", error=str(error))
            return None
        collection = self._rules.collections.get(document.collection)
        return None if collection is None else self._cache.get(key, document, collection)

    def restore(self, parked: ParkedCommand, device: Device, batch: Batch) -> None:
        """A parked command of an earlier life. Call `resume` (or `release`) after the last one."""
        (command,) = batch.commands
        self.parking.add(Parked(command, batch, device, parked.append_ms, parked.offset))

    def resume(self, following: int) -> None:
        """Restored commands are found their blockers; `following` is the offset of the record that comes next.

        One that waits for nothing was released in the torn tail, or its tombstone was lost. In a torn tail it keeps waiting until
        all of that is merged again, so that its guards see what they saw before.
        """
        self._offset = self.work.group = max(following - 1, 0)
        if self._torn_until is None or self._torn_until < following:
            self.release()
            return
        for parked in self.parking.waiting():
            blocker = self._blocker(parked)
            if blocker is not None:
                self.parking.block(parked, blocker)

    def release(self) -> None:
        """Look at every parked command again, and at what that sets free."""
        self._settle(self.parking.waiting())

    def _cascade(self) -> None:
        moved, self._moved = self._moved, {}
        self._settle(self._woken(moved))

    def _woken(self, moved: Mapping[tuple[bytes, str], Entry]) -> list[Parked]:
        result = []
        for (key, replica), entry in moved.items():
            result += self.parking.woken(key, replica, entry.state.vector.get(replica, 0))
        return result

    def _settle(self, candidates: list[Parked]) -> None:
        """Decide these and all that they set free, in order of record and command. Every turn decides one or blocks it."""
        queue = [(p.offset, p.batch.commands.index(p.command), p.key, p) for p in candidates]
        heapq.heapify(queue)
        while queue:
            *_, parked = heapq.heappop(queue)
            if parked.key not in self.parking:
                continue
            decided = self._decide(parked.command, parked.batch, parked.device, parked.append_ms)
            if isinstance(decided, Blocker):
                self.parking.block(parked, decided)
            else:
                self.parking.remove(parked)
                topic = topics.parked_topic(self._rules.name)
                self.work.tombstones.append(OutRecord(topic, self._partition, parked.key, None))
                self._answer(parked.batch, parked.device, [decided], parked.offset, 0)
            moved, self._moved = self._moved, {}
            for p in self._woken(moved):
                heapq.heappush(queue, (p.offset, p.batch.commands.index(p.command), p.key, p))

    def _blocker(self, parked: Parked) -> Blocker | None:
        rejected = objection(parked.command, parked.device, self._rules) is not None
        return self._survey(parked.command, parked.append_ms, rejected)[2]

    # -- one command

    def _merge_command(
        self, command: Command, batch: Batch, device: Device, offset: int, append_ms: int
    ) -> CommandOutcome:
        if self.parking and f"{batch.replica}/{command.id}".encode() in self.parking:
            return CommandOutcome(command.id, Verdict.PARKED, "gap", "still waits for an earlier change")
        decided = self._decide(command, batch, device, append_ms)
        if not isinstance(decided, Blocker):
            return decided
        parked = Parked(command, batch, device, append_ms, offset)
        self.work.parked += 1
        if not self.parking.add(parked, decided):
            return CommandOutcome(command.id, Verdict.PARKED, "parking_full", "send it again later")
        self.work.outcomes.append(self._parked_record(parked))
        reason = f"waits for change {decided.seq} of {decided.replica} to {decided.key.decode()}"
        return CommandOutcome(command.id, Verdict.PARKED, "gap", reason)

    def _decide(self, command: Command, batch: Batch, device: Device, append_ms: int) -> CommandOutcome | Blocker:
        """Merge or reject; the blocker if something is missing."""
        against = objection(command, device, self._rules)
        steps, fresh, blocker = self._survey(command, append_ms, against is not None)
        if blocker is not None:
            return blocker
        if not fresh:
            if steps:
                self.work.duplicates += 1
                return CommandOutcome(command.id, Verdict.DUPLICATE)
            if against is None:
                return CommandOutcome(command.id, _ACCEPTED)
            # Its collections are not declared: nothing to see, so it is rejected however often it comes.
        elif fresh < len(steps):
            settled = self._settle_half_seen(command, steps, append_ms)
            if settled is not None:
                return settled
            against = against or ("invalid", "some of its changes were merged before and some were not")
        if against is None:
            against = self._try(command, steps, append_ms)
        if against is None:
            return CommandOutcome(command.id, _ACCEPTED)
        self._see(steps)
        self.work.rejections += 1
        return CommandOutcome(command.id, Verdict.REJECTED, *against)

    def _survey(self, command: Command, append_ms: int, rejected: bool) -> tuple[list[Step], int, Blocker | None]:
        """The command's ops with their documents, how many are fresh, and the first thing that is missing.

        Ops of undeclared collections have nowhere to go. A rejected command has no effect, so it needs no context.
        """
        steps: list[Step] = []
        fresh = 0
        last: dict[bytes, int] = {}
        collections, cache, duplicate = self._rules.collections, self._cache, self._duplicate
        latest = ((append_ms + DEFAULT_BOUND_MS + 1) << COUNTER_BITS) - 1
        for document, op in command.ops:
            collection = collections.get(document.collection)
            if collection is None:
                continue
            key = document_key(document)
            entry = cache.get(key, document, collection)
            if op.hlc > latest:
                op = op._replace(hlc=bounded(op.hlc, append_ms))
            if duplicate(entry.state, op):
                steps.append((key, entry, op, 0))
                continue
            vector = entry.state.vector
            replica, seq, _, _, _, _, context, _ = op
            if seq != (last.get(key) or vector.get(replica, 0)) + 1:
                return steps, fresh, Blocker(key, replica, seq - 1)
            if context and not rejected:
                for r, s in context.items():
                    if vector.get(r, 0) < s and r != replica:
                        return steps, fresh, Blocker(key, r, s)
            last[key] = seq
            fresh += 1
            steps.append((key, entry, op, _weight(op)))
        return steps, fresh, None

    def _duplicate(self, state: DocumentState, op: Op) -> bool:
        return op.seq <= state.vector.get(op.replica, 0)

    def _settle_half_seen(self, command: Command, steps: list[Step], append_ms: int) -> CommandOutcome | None:
        """Its group was torn by a crash. Its covered dots say what was decided: rejected dots are kept beside them.

        None outside the torn tail. The rejection itself was delivered before the torn states were published, so the receipt
        repeats no reason.
        """
        if self._torn_until is not None and self._offset > self._torn_until:
            return None
        torn = self._torn
        if any((op.replica, op.seq) in torn.get(key, ()) for key, _, op, weight in steps if not weight):
            self._see(steps)
            return CommandOutcome(command.id, Verdict.DUPLICATE)
        self._apply(command, steps, append_ms)
        return CommandOutcome(command.id, _ACCEPTED)

    def _try(self, command: Command, steps: list[Step], append_ms: int) -> tuple[str, str] | None:
        """Apply all ops, or none and say why."""
        growth = sum([weight for _, _, _, weight in steps])
        for _, entry, _, _ in steps:
            collection = entry.collection
            if collection.guards or entry.size + growth > collection.limit:
                break
        else:
            self._apply(command, steps, append_ms)
            return None
        before: dict[bytes, tuple[Entry, DocumentState, int]] = {}
        for key, entry, _, _ in steps:
            if key not in before:
                before[key] = (entry, entry.collection.type.copy(entry.state), entry.size)
        found = len(self.work.outcomes)
        self._apply(command, steps, append_ms)
        against = self._refusal(before)
        if against is not None:
            for entry, state, size in before.values():
                entry.state, entry.size = state, size
            del self.work.outcomes[found:]
        return against

    def _refusal(self, before: Mapping[bytes, tuple[Entry, DocumentState, int]]) -> tuple[str, str] | None:
        for entry, state, _ in before.values():
            collection, document = entry.collection, entry.document
            if entry.size > collection.limit:
                try:
                    entry.size = len(collection.type.encode(entry.state))
                except TooLarge:
                    entry.size = collection.limit + 1
                if entry.size > collection.limit:
                    return "too_large", f"{'/'.join(document)} would be over {collection.limit} bytes"
            for guard in collection.guards:
                try:
                    guard.check(document.scope, document.id, state, entry.state)
                except Refused as refused:
                    return refused.code, refused.reason
                except Exception as error:  # noqa: BLE001  # the app's code: told to the device, never stops the queue
                    log.error("guard failed", guard=guard.name, document="/".join(document), error=repr(error))
                    return "guard_failed", f"guard {guard.name}: {error!r}"
        return None

    def _apply(self, command: Command, steps: list[Step], append_ms: int) -> None:
        work, track = self.work, bool(self.parking)
        dirty = work.dirty
        for key, entry, op, weight in steps:
            if not weight:
                continue
            collection, state = entry.collection, entry.state
            try:
                applied = collection.type.apply(state, op)
            except AlgebraError as error:  # checked before: only a defect in a field type comes here
                raise AssertionError(f"a checked op was refused by {collection.name}: {error}") from error
            entry.size += weight
            if key not in dirty:
                work.changed(key, entry)
            if track:
                self._moved[key, op.replica] = entry
            if applied is APPLIED:
                continue  # nothing stands beside it and nothing was ended
            assert applied.outcome is Outcome.APPLIED, f"{applied.outcome} for an op known to be next: {op}"
            if collection.policies:
                for conflict in conflicts.changed(entry.document, collection, command, op, applied, state, append_ms):
                    work.outcomes.append(self._conflict_record(conflict))

    def _see(self, steps: list[Step]) -> None:
        """Count the fresh ops as seen, without effect."""
        work, track = self.work, bool(self.parking)
        dirty = work.dirty
        for key, entry, op, weight in steps:
            if not weight:
                continue
            entry.collection.type.see(entry.state, op.replica, op.seq)
            entry.rejected.append((op.replica, op.seq))
            if key not in dirty:
                work.changed(key, entry)
            if track:
                self._moved[key, op.replica] = entry

    # -- records

    def _answer(self, batch: Batch, device: Device, outcomes: list[CommandOutcome], offset: int, skew_ms: int) -> None:
        receipt = Receipt(
            device_id=device.device_id,
            replica=batch.replica,
            space=batch.space,
            partition=self._partition,
            batch=batch.number,
            outcomes=tuple(outcomes),
            skew_ms=skew_ms,
            offset=offset,
        )
        plain = all(o.verdict in _PLAIN for o in outcomes)
        self._receipts_for(plain).append(self._receipt_record(receipt))

    def _receipts_for(self, plain: bool) -> list[OutRecord]:
        """Plain acceptance may travel with the states; any other outcome goes before them."""
        return self.work.receipts if plain else self.work.outcomes

    def _refuse(self, refusal: Refusal, offset: int) -> None:
        log.warning("batch refused", code=refusal.code, device=refusal.device_id, reason=refusal.reason, offset=offset)
        receipt = Receipt(
            device_id=refusal.device_id,
            replica=refusal.replica,
            space=self._rules.name,
            partition=self._partition,
            batch=refusal.number,
            outcomes=(),
            code=refusal.code,
            reason=refusal.reason,
            offset=offset,
        )
        self.work.outcomes.append(self._receipt_record(receipt))

    def _receipt_record(self, receipt: Receipt) -> OutRecord:
        value = self._rules.records.encode_receipt(receipt)
        return OutRecord(topics.receipts_topic(self._rules.name), self._partition, receipt.device_id.encode(), value)

    def _conflict_record(self, conflict: Any) -> OutRecord:
        value = self._rules.records.encode_conflict(conflict)
        return OutRecord(topics.conflicts_topic(self._rules.name), self._partition, conflict.id.encode(), value)

    def _parked_record(self, parked: Parked) -> OutRecord:
        alone = Batch(
            parked.batch.space, parked.batch.partition, parked.batch.replica, parked.batch.number, (parked.command,)
        )
        record = ParkedCommand(
            parked.device.device_id, parked.append_ms, parked.offset, parked.batch.number, encode_body(alone)
        )
        value = self._rules.records.encode_parked(record)
        return OutRecord(topics.parked_topic(self._rules.name), self._partition, parked.key, value)


def _skew(newest_ms: int, append_ms: int) -> int:
    ahead = newest_ms - append_ms
    return ahead if ahead > DEFAULT_BOUND_MS else 0


def _weight(op: Op) -> int:
    value = op.value
    kind = value.__class__
    if kind is int and op.kind in _COUNTING:
        return 2
    if kind is str:
        return len(value) + _OP_OVERHEAD  # type: ignore[arg-type]  # is text
    if kind is list or kind is dict:
        return len(canonical(value)) + _OP_OVERHEAD
    return _OP_OVERHEAD if op.field else 2
