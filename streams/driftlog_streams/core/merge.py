"""Merging one partition: admitted batches in, changed documents and outcomes out. No I/O, no clock, no randomness.

What becomes of a batch its chain says (`chain`), what becomes of a command `decision`; here it is done: ops are applied or seen, the
row is written, and what waited is looked at again. Offsets number groups; they decide nothing.

Around all of it stands a net. When anything fails that nobody foresaw, in a merge or when its outcome is made into records, what
was merged since the last flight is taken back and merged again carefully: each command on copies, up to the bytes that would be
published. What fails then is known, changes nothing, counts as not seen, and goes to the quarantine; the rest flows. A batch that
fails outside of its commands, or whose chain row cannot be written, is quarantined whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from driftlog_crdt import BadEncoding, DocumentState, Place, Vector, dominates
from driftlog_crdt.hlc import DEFAULT_BOUND_MS, millis
from driftlog_schemas import bounds
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key
from driftlog_schemas.messages import Batch, ChainRow, CommandOutcome, ParkedCommand, Verdict
from driftlog_streams.core import chain, conflicts
from driftlog_streams.core.admission import Admission, Admitted, Refusal
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.chain import Fit, Link
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.decision import Decider, Decision, Effect, Step, Trial, apply_steps
from driftlog_streams.core.flight import PartitionFlight, seal
from driftlog_streams.core.life_watch import MAX_LIVES, LifeWatch
from driftlog_streams.core.outcome_records import OutcomeRecords
from driftlog_streams.core.parking import Blocker, Parking
from driftlog_streams.core.refusals import RefusalBudget
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.state_cache import Entry, StateCache, Unreadable
from driftlog_streams.core.waiting import Waiting
from driftlog_streams.core.work import Merged, OutRecord, PartitionWork
from driftlog_streams.errors import WorkerError

log = structlog.get_logger()

_FATAL = (WorkerError, OSError, MemoryError)
"""Of the store, the disk, the order, the memory: not the record's fault. The worker ends, and the next life reads it again."""
NOISE_A_MINUTE = 600
"""So many records of a schema that nobody can name now are kept for people."""
_REASONS = {
    Fit.FORKED: "another batch stands in its place",
    Fit.EARLY: "batches before it are missing",
    Fit.WINDOW_FULL: "too many batches have no receipt yet",
    Fit.ENDED: "this life had said that it is over",
    Fit.RETIRED: "this life was retired",
}


class PartitionMerger:
    """The merge of one partition."""

    def __init__(
        self,
        rules: SpaceRules,
        partition: int,
        cache: StateCache,
        book: ChainBook,
        parking: Parking | None = None,
        decider: Decider | None = None,
    ) -> None:
        self._rules = rules
        self._partition = partition
        self._cache = cache
        self._book = book
        self._decider = Decider(rules, cache) if decider is None else decider
        self._records = OutcomeRecords(rules, partition)
        self._strangers, self._noise = RefusalBudget(), RefusalBudget(NOISE_A_MINUTE)
        self._lives = LifeWatch()
        self._offset = -1
        self.committed = 0
        """The op offset from which a crash would replay; the rim tells."""
        self.parking = Parking() if parking is None else parking
        self._waiting = Waiting(self.parking, self._decide_again, self._released)
        self.work = PartitionWork(partition)

    # -- flights

    def seal(self) -> PartitionFlight:
        """What has gathered since the last call, ready to be published; it belongs to one flight now."""
        try:
            part = seal(self._rules, self.work, self._standing())
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # the net
            self._carefully(error)
            part = seal(self._rules, self.work, self._standing())
        work = self.work
        work.on_stored = self._stored
        for (_, entry), (_, value) in zip(work.dirty.items(), part.writes, strict=True):
            entry.size, entry.sealed = len(value), value
        self.work = PartitionWork(self._partition)
        return part

    def _standing(self) -> list[OutRecord]:
        """The conflicts that have changed and stand, each once."""
        dirty = self.work.dirty
        return [
            record
            for key, place in self.work.contested
            if (record := self._conflict(dirty[key], dirty[key].state, place))
        ]

    def _conflict(self, entry: Entry, state: DocumentState, place: Place) -> OutRecord | None:
        conflict = conflicts.standing(entry.document, entry.collection, state, place)
        return None if conflict is None else self._records.conflict(conflict)

    def _stored(self, work: PartitionWork) -> None:
        for replica in work.rows:
            self._book.landed(replica)
        self.work.carried += [self._records.released(arrival) for arrival in work.released]

    # -- one record

    def merge(self, admission: Admission, offset: int, append_ms: int, source: Any = None) -> None:
        """Merge one record of the op topic. `source` is handed back for acknowledgement."""
        record = Merged(admission, offset, append_ms, source)
        self.work.merged.append(record)
        self._cache.make_room()
        try:
            self._take(record)
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # the net
            self._carefully(error)

    def _take(self, record: Merged) -> None:
        admission, offset, append_ms, _ = record
        self.work.group = self._offset = offset
        if isinstance(admission, Refusal):
            self._refuse(admission, offset, append_ms)
            return
        batch = admission.batch
        link = Link(batch, admission.digest, admission.device.device_id, offset, append_ms)
        row = self._book.get(batch.replica)
        where = chain.fit(row, link, self.committed)
        if where is Fit.BELOW:
            where = Fit.REPEAT if self._all_seen(batch) else Fit.FORKED
        if where is Fit.NEXT:
            self._enter(admission, link)
        elif where is Fit.REPEAT:
            self._repeat(admission, link)
        else:
            reason = _REASONS[where]
            log.warning("batch not taken", replica=batch.replica, number=batch.number, code=where.value, offset=offset)
            self._write_row(batch.replica, chain.noticed(row, link, where.value, reason), urgent=True)
        self._waiting.cascade()

    def _enter(self, admission: Admitted, link: Link) -> None:
        batch = link.batch
        row = self._book.get(batch.replica)
        if (row is None or not row.head) and self._lives.born(link.device_id, link.append_ms):
            self._tell_of_clone(link)
        arrivals = _arrivals(admission, link)
        outcomes, wide = [], False
        for arrival in arrivals:
            outcome, several = self._merge_command(arrival, None)
            outcomes.append(outcome)
            wide |= several
        newest = max([c.hlc for c in batch.commands], default=0)
        row = chain.entered(
            self._book.get(batch.replica), link, outcomes, _skew(millis(newest), link.append_ms), self.committed
        )
        self._write_row(batch.replica, row, urgent=wide or bool(row.entries[-1].outcomes) or bool(row.ended))
        self.work.ops += sum([len(c.ops) for c in batch.commands])

    def _tell_of_clone(self, link: Link) -> None:
        """Its batch is taken like any other; that a person should look is said in the log, in a metric and to the device."""
        log.warning(
            "a device begins too many lives: its key may be in use in several places", replica=link.batch.replica
        )
        self.work.cloned += 1
        reason = f"over {MAX_LIVES} new lives in an hour: is the folder or the identity file copied?"
        told = Refusal("cloned", reason, link.device_id, known=True)
        self.work.outcomes.append(self._records.refusal(told, link.offset, link.append_ms))

    def _repeat(self, admission: Admitted, link: Link) -> None:
        """Its dots are looked at again, for a crash may have let the row out before the states; the row is the answer."""
        replica, number = link.batch.replica, link.batch.number
        row = self._book.get(replica)
        assert row is not None, "a repeat has a row"
        entry = chain.entry_of(row, number)
        urgent = False
        for arrival in _arrivals(admission, link):
            known = None if entry is None else chain.verdict_of(entry, arrival.command.id)
            if known is None or (self.parking and arrival.key in self.parking):
                continue  # seen, all of it; or it still waits
            outcome, _ = self._merge_command(arrival, known)
            if known.verdict is Verdict.PARKED:
                row = chain.decided(row, number, outcome)
                urgent = True
        self._write_row(replica, row, urgent=urgent)

    def _all_seen(self, batch: Batch) -> bool:
        for document, op in (pair for command in batch.commands for pair in command.ops):
            entry = self._entry_of(document)
            if entry is None or op.seq > entry.state.vector.get(op.replica, 0):
                return False
        return True

    def _write_row(self, replica: str, row: ChainRow, *, urgent: bool) -> None:
        work = self.work
        if replica not in work.rows:
            work.bases[replica] = self._book.get(replica)
            self._book.fly(replica)
        work.rows[replica] = row
        self._book.put(replica, row)
        if urgent:
            work.urgent.add(replica)

    def _refuse(self, refusal: Refusal, offset: int, append_ms: int) -> None:
        log.warning("batch refused", code=refusal.code, device=refusal.device_id, reason=refusal.reason, offset=offset)
        if refusal.code == "unknown_schema" and self._noise.take(append_ms):
            quarantined = self._records.quarantined(refusal.value, refusal.code, refusal.reason, offset, append_ms)
            self.work.outcomes.append(quarantined)
        if refusal.device_id and (refusal.known or self._strangers.take(append_ms)):
            self.work.outcomes.append(self._records.refusal(refusal, offset, append_ms))

    # -- one command

    def _merge_command(self, arrival: Arrival, known: CommandOutcome | None) -> tuple[CommandOutcome, bool]:
        """What became of it, and whether several documents changed by it."""
        command_id = arrival.command.id
        if known is not None and known.verdict is Verdict.PARKED:
            known = None
        decision = self._decide(arrival, known)
        if isinstance(decision, Decision):
            return self._carry_out(arrival, decision), decision.wide
        if not self.parking.add(arrival, decision):
            return CommandOutcome(command_id, Verdict.DEFERRED, "parking_full", "send it again later"), False
        self.work.parked.append(arrival)
        self.work.outcomes.append(self._records.parked(arrival))
        if known is not None:
            return known, False
        reason = f"waits for change {decision.seq} of {decision.replica} to {decision.key.decode()}"
        return CommandOutcome(command_id, Verdict.PARKED, "gap", reason), False

    def _decide(self, arrival: Arrival, known: CommandOutcome | None) -> Decision | Blocker:
        """Decide; carefully, a command that fails in a way that nobody foresaw is quarantined."""
        if not self._decider.careful:
            return self._decider.decide(arrival, known)
        try:
            decision = self._decider.decide(arrival, known)
            if isinstance(decision, Decision) and decision.trial is not None:
                self._recorded(decision, decision.trial)
            return decision
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # the net
            return Decision(self._quarantine(arrival, error))

    def _recorded(self, decision: Decision, trial: Trial) -> None:
        """Can records be made of all that it has brought?"""
        entries = {key: entry for key, entry, _, _ in decision.steps}
        for conflict in trial.done.ended:
            self._records.conflict(conflict)
        for key, place in trial.done.contested:
            self._conflict(entries[key], trial.states[key], place)

    def _quarantine(self, arrival: Arrival, error: Exception) -> CommandOutcome:
        reason = bounds.cut(f"{type(error).__name__} {error}", bounds.MAX_REASON)
        log.error("command quarantined", command=arrival.command.id, offset=arrival.offset, error=reason)
        self.work.quarantined += 1
        self.work.outcomes.append(
            self._records.quarantined(
                arrival.value,
                "unforeseen",
                reason,
                arrival.offset,
                arrival.append_ms,
                arrival.batch.replica,
                arrival.device.device_id,
            )
        )
        return CommandOutcome(arrival.command.id, Verdict.DEFERRED, "quarantined", reason)

    def _decide_again(self, arrival: Arrival) -> Decision | Blocker:
        """A command that waited. Its row may know what became of it, if a crash has let the row out before the states."""
        return self._decide(arrival, self._known(arrival))

    def _known(self, arrival: Arrival) -> CommandOutcome | None:
        row = self._book.get(arrival.batch.replica)
        entry = None if row is None else chain.entry_of(row, arrival.batch.number)
        known = None if entry is None else chain.verdict_of(entry, arrival.command.id)
        return None if known is None or known.verdict is Verdict.PARKED else known

    def _released(self, arrival: Arrival, decision: Decision) -> None:
        known = self._known(arrival)
        outcome = self._carry_out(arrival, decision)
        self.work.released.append(arrival)
        row = self._book.get(arrival.batch.replica)
        if row is not None and known is None:
            row = chain.decided(row, arrival.batch.number, outcome)
            plain = outcome.verdict is Verdict.ACCEPTED and not decision.wide
            self._write_row(arrival.batch.replica, row, urgent=not plain)

    def _carry_out(self, arrival: Arrival, decision: Decision) -> CommandOutcome:
        """Do it. The outcome: that an op had no effect is known when it was applied."""
        outcome = decision.outcome
        if decision.effect is Effect.APPLY:
            idle = self._apply(arrival, decision)
            if idle and outcome.verdict is Verdict.ACCEPTED:
                reason = f"{'/'.join(idle[0])} was deleted meanwhile, or what it refers to is not there"
                return CommandOutcome(outcome.command_id, Verdict.NO_EFFECT, "no_effect", reason)
        elif decision.effect is Effect.SEE:
            self._see(decision.steps)
        if outcome.verdict is Verdict.REJECTED:
            self.work.rejections += 1
        return outcome

    def _apply(self, arrival: Arrival, decision: Decision) -> Sequence[DocumentId]:
        """Make the command's changes. Where one of them had no effect."""
        trial = decision.trial
        done = apply_steps(arrival, decision.steps) if trial is None else trial.done
        for key, entry, op, weight in decision.steps:
            if not weight:
                continue
            if trial is None:
                entry.size += weight
            else:
                entry.state, entry.size = trial.states[key], trial.sizes[key]
            self._changed(key, entry, op.replica)
        self.work.outcomes += map(self._records.conflict, done.ended)
        self.work.contested.update(dict.fromkeys(done.contested))
        return done.idle

    def _see(self, steps: Sequence[Step]) -> None:
        """Count the fresh ops as seen, without effect."""
        for key, entry, op, weight in steps:
            if weight:
                entry.collection.type.see(entry.state, op)
                self._changed(key, entry, op.replica)

    def _changed(self, key: bytes, entry: Entry, replica: str) -> None:
        if key not in self.work.dirty:
            self.work.changed(key, entry)
        if self.parking:
            self._waiting.moved[key, replica] = entry

    # -- the net

    def _carefully(self, error: Exception) -> None:
        """Take back what was merged since the last flight, and merge it again one command at a time."""
        log.error("merging again, carefully", partition=self._partition, error=f"{type(error).__name__} {error}"[:500])
        records = self.work.merged
        refused: set[int] = set()
        self._decider.careful = True
        try:
            while (failed := self._merged_again(records, refused)) is not None:
                assert failed not in refused, "a record is refused once"
                refused.add(failed)
        finally:
            self._decider.careful = False

    def _merged_again(self, records: Sequence[Merged], refused: set[int]) -> int | None:
        """The offset of the record that fails although each command is merged by itself; None if all went well."""
        self._take_back()
        for record in records:
            self.work.merged.append(record)
            try:
                if record.offset in refused:
                    self._set_aside(record)
                else:
                    self._take(record)
                    self._row_recorded(record)
            except _FATAL:
                raise
            except Exception as error:  # noqa: BLE001  # the net
                log.error("record quarantined", offset=record.offset, error=f"{type(error).__name__} {error}"[:500])
                return record.offset
        return None

    def _row_recorded(self, record: Merged) -> None:
        """Can its replica's row be sent as it is now?"""
        if isinstance(record.admission, Admitted):
            row = self.work.rows.get(record.admission.batch.replica)
            if row is not None:
                self._rules.records.encode_chain_row(row)

    def _set_aside(self, record: Merged) -> None:
        """Quarantine a record whole: as if its bytes had never come, but for the word to its device."""
        admission, offset, append_ms, _ = record
        self.work.group = self._offset = offset
        self.work.quarantined += 1
        device_id = replica = ""
        if isinstance(admission, Admitted):
            device_id, replica = admission.device.device_id, admission.batch.replica
        reason = "the batch could not be decided"
        self.work.outcomes.append(
            self._records.quarantined(admission.value, "unforeseen", reason, offset, append_ms, replica, device_id)
        )
        if device_id:
            refusal = Refusal("quarantined", reason, device_id, known=True)
            self.work.outcomes.append(self._records.refusal(refusal, offset, append_ms))

    def _take_back(self) -> None:
        """Everything is as the last flight left it."""
        work = self.work
        self.work = PartitionWork(self._partition, carried=work.carried, group=work.group)
        self._waiting.moved.clear()
        for key, entry in work.dirty.items():
            self._cache.put_back(key, entry)
        for replica, row in work.bases.items():
            self._book.put(replica, row)
            self._book.landed(replica)
        for arrival in work.parked:
            if arrival.key in self.parking:
                self.parking.remove(arrival)
        for arrival in work.released:
            if arrival not in work.parked:
                self.parking.add(arrival, self._decider.blocker(arrival, self._known(arrival)))
        for key in work.again:
            self.publish_again(key)

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
        work.again.add(key)

    def publish_row_again(self, replica: str) -> None:
        """Publish a replica's chain row although it has not changed."""
        row = self._book.get(replica)
        if row is not None:
            self._write_row(replica, row, urgent=True)

    def _entry(self, key: bytes) -> Entry | None:
        try:
            document = parse_document_key(key)
        except ValueError as error:
            log.warning("a state record of no document", error=str(error))
            return None
        return self._entry_of(document)

    def _entry_of(self, document: DocumentId) -> Entry | None:
        collection = self._rules.collections.get(document.collection)
        if collection is None:
            return None
        try:
            return self._cache.get(document_key(document), document, collection)
        except Unreadable as error:
            log.warning("a document is left as it is", error=str(error))
            return None

    def restore(self, parked: ParkedCommand, devices: Devices) -> None:
        """A parked command of an earlier life. Call `resume` after the last one. Raises `Undecodable`."""
        self._waiting.restore(parked, self._rules.parked_batch(parked), devices)

    def resume(self, following: int) -> None:
        """Restored commands are looked at; `following` is the offset of the record that comes next.

        One that waits for nothing had been released, and its tombstone was lost: its row knows what became of it.
        """
        self._offset = self.work.group = max(following - 1, 0)
        self.committed = following
        self._waiting.release()


def _arrivals(admission: Admitted, link: Link) -> list[Arrival]:
    batch, device = admission.batch, admission.device
    return [Arrival(c, batch, device, link.append_ms, link.offset, admission.value) for c in batch.commands]


def _skew(newest_ms: int, append_ms: int) -> int:
    ahead = newest_ms - append_ms
    return ahead if ahead > DEFAULT_BOUND_MS else 0
