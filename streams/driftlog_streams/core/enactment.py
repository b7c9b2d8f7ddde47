"""What the end of a life and a `Forgetting` do to their partition, where they stand in the log: tombstones go, what waits is given back or given
up, and conflicts that nobody has decided in time are settled.

A life that is over sends nothing any more. What of it waits for a change of it that has not come, perhaps because that was deferred, would wait for ever: it is
given back, and nothing of it is seen; the life that follows takes it along, as it does with what was deferred.

A command that waits may be *dropped* by a person: what it waits for will not come. It is rejected at this record, for ever, and that is told
at once. Its changes are counted as seen, without effect, as soon as nothing before them is missing: at once where only a change of
somebody else was, for a rejected command needs no context; else when its writer's own earlier change comes. Until then it keeps its
place, so that the writer's later changes do not wait for one that nobody will send again. A change that was missing counts as ever:
nothing is seen that has not come.

A conflict is settled between the writes that competed when its deadline was found to have passed: if one has joined or gone by this record,
nothing is done, and it is looked at again. So read a second time after a crash the record settles what that has not let through, and nothing
twice. The log's own time must be beyond the deadline: what a worker's clock says ends nothing.

The mark of what is given up stands in the parked record, with the offset of this one: a chain row that a crash has let out ahead drops nothing before its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from driftlog_schemas.forgetting_codec import digest_of, digest_of_writes
from driftlog_schemas.identity import OVER_REPLICA, DocumentId
from driftlog_schemas.messages import Batch, CommandOutcome, Due, Forgetting, Forgot, Over, Verdict
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import chain, conflicts, over
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.decision import Decision
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.rules import MAX_STATE_BYTES
from driftlog_streams.core.waiting import Released, Waiting

log = structlog.get_logger()


SETTLING_BYTES = 512
"""What a settlement takes besides the writes for which it stands, and the vector that its document then keeps twice: about, and not less."""


class Enactment:
    """Of one partition. `released` is told of what is given back."""

    def __init__(self, partition: Partition, waiting: Waiting, released: Released) -> None:
        self._at = partition
        self._waiting = waiting
        self._released = released

    def carry_out(self, batch: Batch, offset: int, append_ms: int) -> None:
        """Do what the cloud says in this record; read again after a crash, what that has not let through. A late copy says nothing."""
        forgetting = batch.forget
        if forgetting is None:
            return
        here = self._at.memory.entry(offset)
        if here is not None:
            self._forget(forgetting, here)
        if not self._at.stands_here(batch):
            return
        if forgetting.drop:
            self._give_up(forgetting.drop, offset)
        for due in forgetting.settle:
            if due.due_ms <= append_ms:
                self._settle(due, append_ms)

    def life_over(self, replica: str) -> None:
        """This life has ended, at this record or before. Once more after a crash, it finds what that has not let through."""

        def seen(document: DocumentId) -> int:
            entry = self._at.entry_of(document)
            return 0 if entry is None else entry.state.vector.get(replica, 0)

        for arrival in self._waiting.stranded(replica, seen):
            self._waiting.parking.remove(arrival)
            self._released(arrival, Decision(_nobody_sends(arrival)))

    def _forget(self, forgetting: Forgetting, here: Forgot) -> None:
        parking = self._waiting.parking
        self._at.memory.forgets(here)
        for replica, heir in forgetting.retired.items():
            self._retire(replica, heir, here)
            # Who had spoken since has not ended; when this is read again, what he said may wait here already.
            if self._at.has_ended(replica):
                self.life_over(replica)
        self._forget_lives(forgetting.over, here)
        for key, seen in forgetting.purge.items():
            self._purge(key, seen, here.offset)
        for arrival in parking.waiting():
            if arrival.read < here.floor:
                parking.remove(arrival)
                self._released(arrival, Decision(_too_long(arrival)))
        self._waiting.release()

    def _retire(self, replica: str, heir: str, here: Forgot) -> None:
        """End a life of which nothing was heard since before the floor. One of which no batch was taken may have been heard of since, for the first
        time: a record that is read again finds its row.
        """
        row = self._at.book.get(replica)
        if row is not None and row.head and not row.ended and row.offset < here.floor:
            self._at.write_row(replica, chain.retired(row, here.offset, heir), urgent=True)

    def _forget_lives(self, replicas: Sequence[str], here: Forgot) -> None:
        """Take the rows away of lives that were over below the floor; what is kept of them leaves first."""
        self._at.write_taken()
        known = self._at.book.get(OVER_REPLICA) or over.nobody(self._at.rules.name, self._at.number)
        gone: dict[str, Over] = {}
        for replica in replicas:
            row = self._at.book.held(replica)
            if row is not None and over.may_go(row, here.floor) and len(known.over) + len(gone) < over.MAX_OVER:
                gone[replica] = over.rest(row, here.offset)
        if gone:
            lives = {**known.over, **{short_name(replica): rest for replica, rest in gone.items()}}
            self._at.write_row(OVER_REPLICA, replace(known, over=lives, offset=here.offset), urgent=True)
        for replica in gone:
            self._at.remove_row(replica)

    def _purge(self, key: bytes, seen: bytes, offset: int) -> None:
        """Take a tombstone away, if it still is as it was when that was decided."""
        entry = self._at.entry_at(key)
        if entry is None or entry.collection.type.exists(entry.state) or digest_of(entry.state.vector) != seen:
            return
        entry.state, entry.size, entry.purged = entry.collection.type.new(), 0, offset
        self._at.work.emptied.add(entry.document.scope)
        if key not in self._at.work.dirty:
            self._at.work.changed(entry)

    def _give_up(self, names: Sequence[str], offset: int) -> None:
        """Drop these, where they still wait."""
        dropped = []
        for name in names:
            arrival = self._waiting.parking.get(name.encode())
            if arrival is not None and arrival.given_up(offset - 1) is None:
                dropped.append(self._drop(arrival, offset))
        self._waiting.settle(dropped)

    def _drop(self, arrival: Arrival, offset: int) -> Arrival:
        """The command as it waits now. Mark and verdict leave before any state."""
        at, work = self._at, self._at.work
        work.dropped.append(arrival)
        arrival = arrival._replace(dropped_at=offset)
        self._waiting.parking.replace(arrival)
        work.outcomes.append(at.records.parked(arrival))
        outcome = arrival.given_up(offset)
        assert outcome is not None
        at.keep_decided(arrival, outcome)
        work.rejected[outcome.code] += 1
        row = at.book.get(arrival.batch.replica)
        if row is not None:
            at.write_row(arrival.batch.replica, chain.decided(row, arrival.batch.number, outcome, offset), urgent=True)
        return arrival

    def _settle(self, due: Due, append_ms: int) -> None:
        """Make what stands in a conflict final, if it still is as it was when its deadline was found to have passed."""
        entry, place = self._at.entry_at(due.key), conflicts.place_of(due.place)
        if entry is None:
            return
        there = entry.collection.type.conflicts_of(entry.state, place.field)
        if not any((c.field, c.key) == place and digest_of_writes(c.writes) == due.seen for c in there):
            return
        if entry.size + SETTLING_BYTES > MAX_STATE_BYTES:
            log.warning("a conflict is too large to be settled", document="/".join(entry.document), place=due.place)
            return
        work = self._at.work
        entry.size += SETTLING_BYTES
        if due.key not in work.dirty:
            work.changed(entry)  # first: where the next step fails it is taken back
        record = conflicts.settle(entry.document, entry.collection, entry.state, place, append_ms)
        assert record is not None, "it stands"
        self._at.ended(record)
        work.settled += 1


def _too_long(arrival: Arrival) -> CommandOutcome:
    reason = "what it waits for has not come for as long as the partition remembers"
    return CommandOutcome(arrival.command.id, Verdict.DEFERRED, "parked_too_long", reason)


def _nobody_sends(arrival: Arrival) -> CommandOutcome:
    reason = "a change of this life before it has not come, and the life is over"
    return CommandOutcome(arrival.command.id, Verdict.DEFERRED, "life_over", reason)
