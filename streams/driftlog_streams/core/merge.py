"""Merging one partition: admitted batches in, changed documents and outcomes out. No I/O, no clock, no randomness.

What becomes of a command is decided in `decision`; here it is done: its ops are applied or seen, its outcome is
recorded, and what waited for it is looked at again. Offsets number groups; they decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from driftlog_crdt import BadEncoding, Vector, dominates
from driftlog_crdt.hlc import DEFAULT_BOUND_MS, millis
from driftlog_schemas.devices import Standing
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.messages import Batch, CommandOutcome, ParkedCommand, Verdict
from driftlog_streams.core import conflicts
from driftlog_streams.core.admission import Admission, Refusal
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.decision import Decider, Decision, Effect, Step, apply_steps
from driftlog_streams.core.outcome_records import OutcomeRecords
from driftlog_streams.core.parking import Blocker, Parking
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.state_cache import Entry, StateCache
from driftlog_streams.core.waiting import Waiting
from driftlog_streams.core.work import OutRecord, PartitionWork

log = structlog.get_logger()

_PLAIN = (Verdict.ACCEPTED, Verdict.DUPLICATE)
"""Looked up once: an enum's members are found by a search each time."""


class PartitionMerger:
    """The merge of one partition. For `torn` and `torn_until` see `Decider`."""

    def __init__(
        self,
        rules: SpaceRules,
        partition: int,
        cache: StateCache,
        parking: Parking | None = None,
        torn: Mapping[bytes, frozenset[tuple[str, int]]] | None = None,
        torn_until: int | None = None,
        decider: Callable[..., Decider] = Decider,
    ) -> None:
        self._rules = rules
        self._partition = partition
        self._cache = cache
        self._decider = decider(rules, cache, torn, torn_until)
        self._records = OutcomeRecords(rules, partition)
        self._offset = -1
        self.parking = Parking() if parking is None else parking
        self._waiting = Waiting(self.parking, self._decide, self._released)
        self.work = PartitionWork(partition)

    def take_work(self) -> PartitionWork:
        """What has gathered since the last call; it belongs to one flight now."""
        work = self.work
        for key, place in work.contested:
            entry = work.dirty[key]
            conflict = conflicts.standing(entry.document, entry.collection, entry.state, place)
            if conflict is not None:
                work.outcomes.append(self._records.conflict(conflict))
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
            outcomes = [self._merge_command(Arrival(c, batch, device, append_ms, offset)) for c in batch.commands]
            newest = max([c.hlc for c in batch.commands], default=0)
            self._answer(batch, device, outcomes, offset, _skew(millis(newest), append_ms))
            work.ops += sum([len(c.ops) for c in batch.commands])
            self._waiting.cascade()
        if offset == self._decider.torn_until and self.parking:
            self._waiting.release()  # all that was torn has been read again: what waits for nothing waited for this

    # -- what is in the topic, and what another life has left

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

    def restore(self, parked: ParkedCommand, devices: Devices) -> None:
        """A parked command of an earlier life. Call `resume` after the last one. Raises `Undecodable`."""
        self._waiting.restore(parked, self._rules.parked_batch(parked), devices)

    def resume(self, following: int) -> None:
        """Restored commands are found their blockers; `following` is the offset of the record that comes next.

        One that waits for nothing was released in the torn tail, or its tombstone was lost. In a torn tail it keeps waiting until
        all of that is merged again, so that its guards see what they saw before.
        """
        self._offset = self.work.group = max(following - 1, 0)
        torn_until = self._decider.torn_until
        if torn_until is None or torn_until < following:
            self._waiting.release()
            return
        for arrival in self.parking.waiting():
            blocker = self._decider.blocker(arrival, self._offset)
            if blocker is not None:
                self.parking.block(arrival, blocker)

    # -- one command

    def _merge_command(self, arrival: Arrival) -> CommandOutcome:
        command_id = arrival.command.id
        if self.parking and arrival.key in self.parking:
            return CommandOutcome(command_id, Verdict.PARKED, "gap", "still waits for an earlier change")
        decided = self._decide(arrival)
        if not isinstance(decided, Blocker):
            return decided
        self.work.parked += 1
        if not self.parking.add(arrival, decided):
            return CommandOutcome(command_id, Verdict.PARKED, "parking_full", "send it again later")
        self.work.outcomes.append(self._records.parked(arrival))
        reason = f"waits for change {decided.seq} of {decided.replica} to {decided.key.decode()}"
        return CommandOutcome(command_id, Verdict.PARKED, "gap", reason)

    def _decide(self, arrival: Arrival) -> CommandOutcome | Blocker:
        """Merge or reject; the blocker if something is missing."""
        decision = self._decider.decide(arrival, self._offset)
        if isinstance(decision, Blocker):
            return decision
        outcome = decision.outcome
        if decision.effect is Effect.APPLY:
            idle = self._apply(arrival, decision)
            if idle:
                reason = f"{'/'.join(idle[0])} was deleted meanwhile, or what it refers to is not there"
                outcome = CommandOutcome(outcome.command_id, Verdict.NO_EFFECT, "no_effect", reason)
        elif decision.effect is Effect.SEE:
            self._see(decision.steps)
        verdict = outcome.verdict
        if verdict is Verdict.REJECTED:
            self.work.rejections += 1
        elif verdict is Verdict.DUPLICATE and decision.effect is Effect.NONE:
            self.work.duplicates += 1
        return outcome

    def _apply(self, arrival: Arrival, decision: Decision) -> Sequence[DocumentId]:
        """Make the command's changes. Where one of them had no effect."""
        trial = decision.trial
        if trial is None:
            done = apply_steps(arrival, decision.steps)
        else:
            done = trial.done
            for key, entry, _, _ in decision.steps:
                entry.state, entry.size = trial.states[key], trial.sizes[key]
        for key, entry, op, weight in decision.steps:
            if weight:
                if trial is None:
                    entry.size += weight
                self._changed(key, entry, op.replica)
        self.work.outcomes += map(self._records.conflict, done.ended)
        self.work.contested.update(dict.fromkeys(done.contested))
        return done.idle

    def _see(self, steps: Sequence[Step]) -> None:
        """Count the fresh ops as seen, without effect."""
        for key, entry, op, weight in steps:
            if weight:
                entry.collection.type.see(entry.state, op)
                entry.rejected.append((op.replica, op.seq))
                self._changed(key, entry, op.replica)

    def _changed(self, key: bytes, entry: Entry, replica: str) -> None:
        if key not in self.work.dirty:
            self.work.changed(key, entry)
        if self.parking:
            self._waiting.moved[key, replica] = entry

    # -- answers

    def _answer(
        self, batch: Batch, device: Standing, outcomes: list[CommandOutcome], offset: int, skew_ms: int
    ) -> None:
        """Plain acceptance may travel with the states; any other outcome goes before them."""
        receipt = self._records.receipt(batch, device, outcomes, offset, skew_ms)
        plain = all(o.verdict in _PLAIN for o in outcomes)
        (self.work.receipts if plain else self.work.outcomes).append(receipt)

    def _released(self, arrival: Arrival, outcome: CommandOutcome) -> None:
        self.work.tombstones.append(self._records.released(arrival))
        self._answer(arrival.batch, arrival.device, [outcome], arrival.offset, 0)

    def _refuse(self, refusal: Refusal, offset: int) -> None:
        log.warning("batch refused", code=refusal.code, device=refusal.device_id, reason=refusal.reason, offset=offset)
        self.work.outcomes.append(self._records.refusal(refusal, offset))


def _skew(newest_ms: int, append_ms: int) -> int:
    ahead = newest_ms - append_ms
    return ahead if ahead > DEFAULT_BOUND_MS else 0
