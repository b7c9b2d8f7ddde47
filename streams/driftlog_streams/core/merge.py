"""Merging one record of a partition: an admitted batch in, changed documents and outcomes out. No I/O, no clock, no randomness.

What becomes of a batch its chain says (`chain`), what becomes of a command `decision`, and `execution` does it; here a batch enters its chain
or is repeated, its row is written, and what waited is looked at again. Offsets number groups; they decide nothing. Around all of it stands a net
(`net`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import structlog

from driftlog_crdt import Place
from driftlog_crdt.hlc import DEFAULT_BOUND_MS, millis
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import CLOUD_REPLICA, OVER_REPLICA
from driftlog_schemas.messages import Batch, ChainEntry, ChainRow, CommandOutcome, ParkedCommand, Verdict, parked_name
from driftlog_streams.core import chain
from driftlog_streams.core.admission import Admission, Admitted, Refusal, admit
from driftlog_streams.core.answers import Answers
from driftlog_streams.core.arrival import DROPPED, Arrival, arrival_of
from driftlog_streams.core.calls import Calls
from driftlog_streams.core.chain import Fit, Link
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.decision import Decider, Decision
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.emitting import Emitter
from driftlog_streams.core.enactment import Enactment
from driftlog_streams.core.execution import Execution
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.life_watch import LifeWatch
from driftlog_streams.core.net import FATAL, Net
from driftlog_streams.core.parked_claims import by_its_chain
from driftlog_streams.core.parking import Blocker, Parking
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.reaction_book import ReactionBook
from driftlog_streams.core.refusals import Refusals
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.scope_digests import ScopeDigests
from driftlog_streams.core.state_cache import StateCache
from driftlog_streams.core.taken import without_effect
from driftlog_streams.core.trial import Watch, unwatched
from driftlog_streams.core.waiting import Waiting
from driftlog_streams.core.work import Merged, PartitionWork

log = structlog.get_logger()

_REASONS = {
    Fit.FORKED: "another batch stands in its place",
    Fit.EARLY: "batches before it are missing",
    Fit.WINDOW_FULL: "too many batches have no receipt yet",
    Fit.ENDED: "this life had said that it is over",
    Fit.RETIRED: "this life was retired",
    Fit.AWAY: "its writer was away for longer than the partition remembers: it reads again, and takes a new life",
}


Told: TypeAlias = Callable[[Arrival, CommandOutcome | None], None]
"""Hears what becomes of each command, None for plainly accepted; of one that waits once more when it is decided."""


def untold(arrival: Arrival, outcome: CommandOutcome | None) -> None:
    """Nobody but the rows says it."""


class PartitionMerger:
    """The merge of one partition."""

    def __init__(
        self,
        rules: SpaceRules,
        partition: int,
        cache: StateCache,
        book: ChainBook,
        parking: Parking | None = None,
        watch: Watch = unwatched,
        digests: ScopeDigests | None = None,
        told: Told = untold,
        disputes: Disputes | None = None,
    ) -> None:
        self._told = told
        self._at = Partition(rules, partition, cache, book, digests, disputes)
        self._refusals = Refusals(self._at)
        self._lives = LifeWatch()
        self.committed = 0
        """The op offset from which a crash would replay; the rim tells."""
        self.parking = Parking() if parking is None else parking
        self._waiting = Waiting(self.parking, self._decide_again, self._released)
        reactions = ReactionBook(self._at)
        emitter = Emitter(self._at, reactions, watch)
        self.calls = Calls(self._at, reactions, emitter, watch)
        """Of reactions, for commands in this partition."""
        self._execution = Execution(self._at, self._waiting, emitter)
        self.answers = Answers(self._at, self.parking)
        """To what somebody else writes there."""
        self._enactment = Enactment(self._at, self._waiting, self._released)
        self._net = Net(self._at, self._decider(watch), self._waiting)
        self._admitted: dict[tuple[bytes, int], Admission] = {}
        """What brought the commands that are restored; several may have come together."""
        self._named: list[bytes] = []
        """Their names; what does not wait is taken off the list."""

    def _decider(self, watch: Watch) -> Decider:
        return Decider(self._at.rules, self._at.cache, self._at.memory, watch)

    @property
    def work(self) -> PartitionWork:
        """What is merged and in no flight yet."""
        return self._at.work

    @property
    def forgotten(self) -> ChainRow | None:
        """The row of the cloud's replica: what the partition has forgotten."""
        return self._at.book.get(CLOUD_REPLICA)

    def seal(self) -> PartitionFlight:
        """What has gathered since the last call, ready to be published; it belongs to one flight now."""
        try:
            return self._at.seal()
        except FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # the net
            self._net.carefully(error, self._take)
            return self._at.seal()

    # -- one record

    def merge(self, admission: Admission, offset: int, append_ms: int, source: Any = None) -> None:
        """Merge one record of the op topic. `source` is handed back for acknowledgement."""
        record = Merged(admission, offset, append_ms, source)
        self.work.merged.append(record)
        self._at.cache.make_room()
        try:
            self._take(record)
        except FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # the net
            self._net.carefully(error, self._take)

    def _take(self, record: Merged) -> None:
        admission, offset, append_ms, _ = record
        self._at.reach(offset)
        if isinstance(admission, Refusal):
            self._refusals.refuse(admission, offset, append_ms)
            return
        batch = admission.batch
        link = Link(batch, admission.digest, admission.device.device_id, offset, append_ms)
        if self._at.memory.old_news:
            return
        if batch.react is not None and batch.react.calls:
            self.calls.take(batch.react.calls, offset, append_ms)
            return
        row = self._at.book.get(batch.replica)
        where = chain.fit(row, link, self.committed, partial(self._waits, batch.replica))
        if self._at.memory.away(batch) and where not in _REASONS:
            where = Fit.AWAY
        if where is Fit.BELOW:
            where = Fit.REPEAT if self._at.all_seen(batch) else Fit.FORKED
        if where is Fit.NEXT:
            self._enter(admission, link)
        elif where is Fit.REPEAT:
            self._repeat(admission, link)
        else:
            reason = _REASONS[where]
            log.warning("batch not taken", replica=batch.replica, number=batch.number, code=where.value, offset=offset)
            self._at.write_row(batch.replica, chain.noticed(row, link, where.value, reason), urgent=True)
        self._waiting.cascade()

    def _enter(self, admission: Admitted, link: Link) -> None:
        batch = link.batch
        row = self._at.book.get(batch.replica)
        if (row is None or not row.head) and self._lives.born(link.device_id, link.append_ms):
            self._refusals.cloned(link)
        self._end_lives(link)
        arrivals = _arrivals(admission, link)
        outcomes, wide = [], False
        for arrival in arrivals:
            outcome, decision = self._merge_command(arrival, None)
            self._told(arrival, outcome)
            if outcome is not None:
                outcomes.append(outcome)
            wide = wide or (decision is not None and decision.wide)
        newest = max([c.hlc for c in batch.commands], default=0)
        unmet = self._at.rules.unmet(batch, link.device_id)
        if unmet is not None and unmet.from_ms <= link.append_ms:
            self.work.unsupported += 1
        row = chain.entered(
            self._at.book.get(batch.replica),
            link,
            outcomes,
            _skew(millis(newest), link.append_ms),
            self.committed,
            partial(self._waits, batch.replica),
            unmet,
        )
        if batch.forget is not None:
            row = self._at.memory.with_entry(row, batch.forget, link.offset)
        said = batch.forget is not None or batch.react is not None
        urgent = wide or bool(row.entries[-1].outcomes) or bool(row.ended) or said
        self._at.write_row(batch.replica, row, urgent=urgent)
        self._enactment.carry_out(batch, link.offset, link.append_ms)
        self.calls.carried_out(batch, outcomes, link.append_ms)
        self._lives_over(batch)
        self.work.ops += sum([len(c.ops) for c in batch.commands])

    def _waits(self, replica: str, entry: ChainEntry) -> bool:
        """Does a command of this batch wait, be it one that was given up? Then its entry must stay: without it nobody could tell after a take-over."""
        return chain.parked(entry) or any(
            outcome.code == DROPPED and parked_name(replica, entry.number, outcome.command_id).encode() in self.parking
            for outcome in entry.outcomes
        )

    def _end_lives(self, link: Link) -> None:
        """The lives that a batch ends, besides its own."""
        for replica in link.batch.ends:
            row = self._at.book.get(replica)
            known = row is not None and row.ended and self._at.book.held(replica) is not None
            # Of one without a row whoever ends it is told how it stands.
            if replica != link.batch.replica and not known:
                self._at.write_row(replica, chain.ended(row, replica, link), urgent=True)

    def _repeat(self, admission: Admitted, link: Link) -> None:
        """Its dots are looked at again, for a crash may have let the row out before the states; the row is the answer."""
        replica, number = link.batch.replica, link.batch.number
        row = self._at.book.get(replica)
        assert row is not None, "a repeat has a row"
        entry = chain.entry_of(row, number)
        if entry is not None and link.offset < entry.offset:
            self._at.write_row(replica, row, urgent=False)
            return  # refused when it was first met, and read again after a crash: what counts comes there
        self._end_lives(link)
        self._enactment.carry_out(link.batch, link.offset, link.append_ms)
        urgent = False
        for arrival in _arrivals(admission, link):
            known = None if entry is None else chain.verdict_of(entry, arrival.command.id)
            if known is None or (self.parking and arrival.key in self.parking):
                continue  # seen, all of it; or it still waits
            if known.code == DROPPED:
                self._wait_again(arrival, entry)
                continue
            if entry is not None and link.offset > entry.offset and without_effect(known):
                continue  # what was seen of it is; its device may have other rights by now, and those are not asked
            outcome, _ = self._merge_command(arrival, known)
            if known.verdict is Verdict.PARKED:
                row = chain.decided(row, number, outcome or arrival.accepted, self._at.offset)
                urgent = True
        held = self._at.book.get(replica)
        if held is not None and held.reactions != row.reactions:  # its commands may have been reacted to
            row = replace(row, reactions=held.reactions)
        self._at.write_row(replica, row, urgent=urgent)
        self.calls.carried_out(link.batch, () if entry is None else entry.outcomes, link.append_ms)
        self._lives_over(link.batch)

    def _lives_over(self, batch: Batch) -> None:
        for replica in batch.ends:
            self._enactment.life_over(replica)

    def _wait_again(self, arrival: Arrival, entry: ChainEntry | None) -> None:
        """The row knows that this one was given up later on. Read again after a crash it waits, until the log says so; of a late copy
        there is nothing left to do.
        """
        if entry is not None and arrival.offset == entry.offset:
            self._merge_command(arrival, None)

    # -- one command

    def _merge_command(
        self, arrival: Arrival, known: CommandOutcome | None
    ) -> tuple[CommandOutcome | None, Decision | None]:
        """What became of it, None for plainly accepted, and what was decided, if it was."""
        if known is not None and known.verdict is Verdict.PARKED:
            known = None
        decision = self._net.decide(arrival, known)
        if isinstance(decision, Decision):
            return self._execution.carry_out(arrival, decision), decision
        if not self.parking.add(arrival, decision):
            full = CommandOutcome(arrival.command.id, Verdict.DEFERRED, "parking_full", "send it again later")
            return full, None
        self.work.parked.append(arrival)
        self.work.outcomes.append(self._at.records.parked(arrival))
        if known is not None:
            return known, None
        reason = f"waits for change {decision.seq} of {decision.replica} to {decision.key.decode()}"
        return CommandOutcome(arrival.command.id, Verdict.PARKED, "gap", reason), None

    def _decide_again(self, arrival: Arrival) -> Decision | Blocker:
        """A command that waited. Its row may know what became of it, if a crash has let the row out before the states."""
        return self._net.decide(arrival, self._at.known(arrival))

    def _released(self, arrival: Arrival, decision: Decision) -> None:
        known = self._at.known(arrival)
        outcome = self._execution.carry_out(arrival, decision)
        self._told(arrival, outcome)
        self.work.released.append(arrival)
        row = self._at.book.get(arrival.batch.replica)
        if row is not None and known is None:
            row = chain.decided(row, arrival.batch.number, outcome or arrival.accepted, self._at.offset)
            plain = outcome is None and not decision.wide
            self._at.write_row(arrival.batch.replica, row, urgent=not plain)

    # -- what is in the topic, and what another life has left

    @property
    def removed_lives(self) -> int:
        """How many lives are over and have no chain row any more; of more than `over.MAX_OVER` the rows stay."""
        row = self._at.book.get(OVER_REPLICA)
        return 0 if row is None else len(row.over)

    @property
    def merged_to(self) -> int:
        """The offset of the last op record that is merged."""
        return self._at.offset

    def publish_again(self, key: bytes) -> bool:
        """Publish a document's state although it has not changed. False where there is none that we can read."""
        return self._at.publish_again(key)

    @property
    def owes(self) -> bool:
        """Is there a conflict that has grown and is not told as it stands?"""
        return bool(self._at.pace)

    def tell(self, now: float) -> int:
        """Let the conflicts leave that have been owed for long enough; how many. `now` is in seconds, of any clock that only grows."""
        found = self._at.pace.due(now)
        self.work.due.update(dict.fromkeys(found))
        return len(found)

    def tell_again(self, key: bytes, place: Place) -> None:
        """Another life owed this conflict."""
        self.work.due[key, place] = None

    def publish_row_again(self, replica: str) -> None:
        """Publish a replica's chain row although it has not changed."""
        self._at.publish_row_again(replica)

    def restore(self, parked: ParkedCommand, devices: Devices) -> None:
        """A parked command of an earlier life. Call `resume` after the last one. Raises `Undecodable`.

        Who writes the topic gives it no rights: the record that brought it is admitted as it was then.
        """
        if min(parked.append_ms, parked.offset) < 0:
            raise Undecodable(f"came at {parked.append_ms} ms with offset {parked.offset}")
        place = parked.record, parked.append_ms
        if place not in self._admitted:
            self._admitted[place] = admit(*place, self._at.number, self._at.rules, devices)
        admission = self._admitted[place]
        if isinstance(admission, Refusal):
            raise Undecodable(f"{admission.code}: {admission.reason}")
        batch = admission.batch
        self._named.append(parked_name(batch.replica, batch.number, parked.command).encode())
        self._waiting.restore(by_its_chain(parked, admission, self._at.book.get(batch.replica)), admission)

    def resume(self, following: int) -> None:
        """Restored commands are looked at; `following` is the offset of the record that comes next.

        One that waits for nothing had been released, and its tombstone was lost: its row knows what became of it.
        """
        self._admitted.clear()
        strays = dict.fromkeys(name for name in self._named if name not in self.parking)
        self.work.carried += map(self._at.records.released_as, strays)
        self._named.clear()
        self._at.resume(following)
        self.committed = following
        self._net.resume(self._waiting.release)


def _arrivals(admission: Admitted, link: Link) -> list[Arrival]:
    batch, device = admission.batch, admission.device
    append_ms, offset, value = link.append_ms, link.offset, admission.value
    rest = batch, device, append_ms, offset, value, -1, admission.strangers
    return [arrival_of((command, *rest)) for command in batch.commands]


def _skew(newest_ms: int, append_ms: int) -> int:
    ahead = newest_ms - append_ms
    return ahead if ahead > DEFAULT_BOUND_MS else 0
