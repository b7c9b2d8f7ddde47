"""Merging one partition: admitted batches in, changed documents and outcomes out. No I/O, no clock, no randomness.

A command is merged whole or not at all. Before its first op is applied it is known that all can be: every dot is the next one
of its replica and every context is covered. Then the decision is made once and for ever:

    all dots covered           -> duplicate; nothing changes, nothing is published but the receipt
    something is missing       -> parked
    objection, guard, size     -> rejected: all its dots are seen, without effect
    otherwise                  -> accepted: all its ops are applied
    some dots covered          -> half seen (a crash tore its group): the decision it got before, see `_settle_half_seen`

Dedupe is by dot against version vector only; offsets number groups and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import structlog
from driftlog_crdt import AlgebraError, DocumentState, Op, TooLarge, bounded, canonical
from driftlog_crdt.hlc import millis
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.contract import Refused
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Batch, Command, CommandOutcome, Device, ParkedCommand, Receipt, Verdict

from driftlog_streams import conflicts
from driftlog_streams.admission import Admission, Refusal, objection
from driftlog_streams.parking import Parked, Parking
from driftlog_streams.rules import SpaceRules
from driftlog_streams.state_cache import Entry, StateCache
from driftlog_streams.work import OutRecord, PartitionWork

log = structlog.get_logger()

_OP_OVERHEAD = 96
"""About how many bytes of state an op can add besides its value."""


class Standing(Enum):
    """How a command stands to the merged states."""

    FRESH = "fresh"
    SEEN = "seen"
    HALF_SEEN = "half seen"
    MISSING = "missing"


class Step(NamedTuple):
    """One op and the document it changes."""

    key: bytes
    entry: Entry
    op: Op
    fresh: bool


class PartitionMerger:
    """The merge of one partition. `torn` are the dots known to be rejected in a torn tail, by document key."""

    def __init__(
        self,
        rules: SpaceRules,
        partition: int,
        cache: StateCache,
        parking: Parking | None = None,
        torn: Mapping[bytes, frozenset[tuple[str, int]]] | None = None,
    ) -> None:
        self._rules = rules
        self._partition = partition
        self._cache = cache
        self._torn = torn or {}
        self.parking = parking or Parking()
        self._tombstones: list[OutRecord] = []
        self.work = PartitionWork(partition)

    def take_work(self) -> PartitionWork:
        """What has gathered since the last call; it belongs to one flight now."""
        work = self.work
        self.work = PartitionWork(self._partition)
        if self._tombstones:
            self.work.outcomes.extend(self._tombstones)
            self._tombstones = []
        return work

    def merge(self, admission: Admission, offset: int, append_ms: int, source: Any = None) -> None:
        """Merge one record of the op topic. `source` is handed back for acknowledgement."""
        work = self.work
        work.group = offset
        if source is not None:
            work.sources.append(source)
        if isinstance(admission, Refusal):
            self._refuse(admission, offset)
            return
        batch, device = admission
        outcomes = [self._merge_command(c, batch, device, offset, append_ms) for c in batch.commands]
        newest = max((millis(c.hlc) for c in batch.commands), default=0)
        self._answer(batch, device, outcomes, offset, _skew(newest, append_ms))
        work.ops += sum(len(c.ops) for c in batch.commands)
        if self.parking.concerned(work.dirty):
            self.release()

    def release(self) -> None:
        """Try parked commands again until none moves. Every turn decides at least one, so it ends."""
        moved = True
        while moved:
            moved = False
            for parked in self.parking.waiting():
                outcome = self._decide(parked.command, parked.batch, parked.device, parked.append_ms)
                if outcome is None:
                    continue
                moved = True
                self.parking.remove(parked)
                topic = topics.parked_topic(self._rules.name)
                self._tombstones.append(OutRecord(topic, self._partition, parked.key, None))
                self._answer(parked.batch, parked.device, [outcome], parked.offset, 0)

    def restore(self, parked: ParkedCommand, device: Device, batch: Batch) -> None:
        """A parked command of an earlier life."""
        (command,) = batch.commands
        self.parking.add(Parked(command, batch, device, parked.append_ms, parked.offset))

    # -- one command

    def _merge_command(
        self, command: Command, batch: Batch, device: Device, offset: int, append_ms: int
    ) -> CommandOutcome:
        outcome = self._decide(command, batch, device, append_ms)
        if outcome is not None:
            return outcome
        parked = Parked(command, batch, device, append_ms, offset)
        known = parked.key in self.parking
        if not self.parking.add(parked):
            return CommandOutcome(command.id, Verdict.PARKED, "parking_full", "send it again later")
        if not known:
            self.work.outcomes.append(self._parked_record(parked))
        return CommandOutcome(command.id, Verdict.PARKED, "gap", "waits for an earlier change of the same document")

    def _decide(self, command: Command, batch: Batch, device: Device, append_ms: int) -> CommandOutcome | None:
        """Merge or reject; None if something is missing."""
        against = objection(command, device, self._partition, self._rules)
        steps = self._steps(command, append_ms)
        standing = self._standing(steps)
        if standing is Standing.MISSING:
            return None
        if standing is Standing.SEEN:
            # Nothing to see at all (an undeclared collection) is a rejection again, not a duplicate.
            if not steps and against is not None:
                return CommandOutcome(command.id, Verdict.REJECTED, *against)
            return CommandOutcome(command.id, Verdict.DUPLICATE)
        if standing is Standing.HALF_SEEN:
            return self._settle_half_seen(command, steps, append_ms)
        if against is None:
            against = self._try(command, steps, append_ms)
        if against is not None:
            self._see(steps)
            return CommandOutcome(command.id, Verdict.REJECTED, *against)
        return CommandOutcome(command.id, Verdict.ACCEPTED)

    def _steps(self, command: Command, append_ms: int) -> list[Step]:
        """The command's ops with their documents; clocks bounded. Ops of undeclared collections have nowhere to go."""
        steps = []
        for document, op in command.ops:
            collection = self._rules.collections.get(document.collection)
            if collection is None:
                continue
            key = document_key(document)
            entry = self._cache.get(key, document, collection)
            hlc = bounded(op.hlc, append_ms)
            if hlc != op.hlc:
                op = op._replace(hlc=hlc)
            steps.append(Step(key, entry, op, not self._duplicate(entry.state, op)))
        return steps

    def _duplicate(self, state: DocumentState, op: Op) -> bool:
        return op.seq <= state.vector.get(op.replica, 0)

    def _standing(self, steps: list[Step]) -> Standing:
        fresh = 0
        following: dict[bytes, int] = {}
        for key, entry, op, is_fresh in steps:
            if not is_fresh:
                continue
            fresh += 1
            vector = entry.state.vector
            expected = following.get(key)
            if expected is None:
                expected = vector.get(op.replica, 0) + 1
            if op.seq != expected:
                return Standing.MISSING
            following[key] = expected + 1
            if op.context and not all(vector.get(r, 0) >= s for r, s in op.context.items() if r != op.replica):
                return Standing.MISSING
        if not fresh:
            return Standing.SEEN
        return Standing.FRESH if fresh == len(steps) else Standing.HALF_SEEN

    def _settle_half_seen(self, command: Command, steps: list[Step], append_ms: int) -> CommandOutcome:
        """Its group was torn by a crash. Its covered dots say what was decided: rejected dots are kept beside them."""
        rest = [step for step in steps if step.fresh]
        refused = any(
            (step.op.replica, step.op.seq) in self._torn.get(step.key, ()) for step in steps if not step.fresh
        )
        if refused:
            self._see(rest)
            return CommandOutcome(command.id, Verdict.DUPLICATE)
        self._apply(command, rest, append_ms)
        return CommandOutcome(command.id, Verdict.ACCEPTED)

    def _try(self, command: Command, steps: list[Step], append_ms: int) -> tuple[str, str] | None:
        """Apply all ops, or none and say why."""
        if not any(entry.collection.guards or self._may_outgrow(entry, op) for _, entry, op, _ in steps):
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

    def _may_outgrow(self, entry: Entry, op: Op) -> bool:
        return entry.size + _weight(op) > entry.collection.limit

    def _apply(self, command: Command, steps: list[Step], append_ms: int) -> None:
        dirty, work = self.work.dirty, self.work
        for key, entry, op, _ in steps:
            collection, state = entry.collection, entry.state
            watched = op.field in collection.policies
            siblings = (
                collection.type.fields[op.field].type.writes(state.fields[op.field])
                if (watched and op.field in state.fields)
                else ()
            )
            try:
                applied = collection.type.apply(state, op)
            except AlgebraError as error:  # checked before: only a defect in a field type comes here
                raise AssertionError(f"a checked op was refused by {collection.name}: {error}") from error
            assert applied.outcome.value == "applied", f"{applied.outcome} for an op known to be next: {op}"
            entry.size += _weight(op)
            self._touch(key, entry, dirty)
            if not watched:
                continue
            if len(siblings) > 1:
                after = collection.type.fields[op.field].type.writes(state.fields[op.field])
                for conflict in conflicts.closed(entry.document, collection, command, op, siblings, after, append_ms):
                    work.outcomes.append(self._conflict_record(conflict))
            for conflict in conflicts.opened(entry.document, collection, command, op, applied.beside, append_ms):
                work.outcomes.append(self._conflict_record(conflict))

    def _see(self, steps: list[Step]) -> None:
        for key, entry, op, _ in steps:
            entry.collection.type.see(entry.state, op.replica, op.seq)
            self.work.rejected.setdefault(key, []).append((op.replica, op.seq))
            self._touch(key, entry, self.work.dirty)

    def _touch(self, key: bytes, entry: Entry, dirty: dict[bytes, Entry]) -> None:
        if key not in dirty:
            dirty[key] = entry
            entry.flights += 1

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
        plain = all(o.verdict in (Verdict.ACCEPTED, Verdict.DUPLICATE) for o in outcomes)
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
    return ahead if ahead > 5 * 60 * 1000 else 0


def _weight(op: Op) -> int:
    value = op.value
    if isinstance(value, str):
        return len(value) + _OP_OVERHEAD
    if isinstance(value, list | dict):
        return len(canonical(value)) + _OP_OVERHEAD
    return _OP_OVERHEAD if op.field and op.kind not in ("increment", "decrement") else 2
