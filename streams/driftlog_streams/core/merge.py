"""Merging one record of a partition: an admitted batch in, changed documents and outcomes out. No I/O, no clock, no randomness.

What becomes of a batch its chain says (`chain`); here it enters its chain or is repeated, command by command (`command_merge`), its row is
written, and what waited is looked at again. Offsets number groups; they decide nothing. Around all of it stands a net (`net`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from driftlog_crdt import Place
from driftlog_crdt.hlc import DEFAULT_BOUND_MS, millis
from driftlog_schemas.identity import CLOSING_REPLICA, CLOUD_REPLICA, OVER_REPLICA
from driftlog_schemas.messages import Batch, ChainEntry, ChainRow, ParkedCommand, Verdict, parked_name
from driftlog_schemas.sparing import Sparing
from driftlog_streams.core import chain
from driftlog_streams.core.admission import Admission, Admitted, Refusal
from driftlog_streams.core.answers import Answers
from driftlog_streams.core.arrival import DROPPED, Arrival, arrival_of
from driftlog_streams.core.calls import Calls
from driftlog_streams.core.chain import Fit, Link
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.closing import Closing
from driftlog_streams.core.command_merge import CommandMerge, Told, untold
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.emitting import Emitter
from driftlog_streams.core.enactment import Enactment
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.life_watch import LifeWatch
from driftlog_streams.core.net import FATAL
from driftlog_streams.core.parking import Parking
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.reaction_book import ReactionBook
from driftlog_streams.core.readmission import Readmission
from driftlog_streams.core.refusals import Refusals
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.scope_digests import ScopeDigests
from driftlog_streams.core.state_cache import StateCache
from driftlog_streams.core.taken import without_effect
from driftlog_streams.core.trial import Watch, unwatched
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
        self._not_taken = Sparing(log, "batch not taken")
        self._lives = LifeWatch()
        self.committed = 0
        """The op offset from which a crash would replay; the rim tells."""
        self.parking = Parking() if parking is None else parking
        reactions = ReactionBook(self._at)
        emitter = Emitter(self._at, reactions, watch)
        self.calls = Calls(self._at, reactions, emitter, watch)
        """Of reactions, for commands in this partition."""
        self._commands = CommandMerge(self._at, self.parking, emitter, watch, told)
        self._waiting = self._commands.waiting
        self._net = self._commands.net
        self._enactment = Enactment(self._at, self._waiting, self._commands.released)
        self._closing = Closing(self._at, self.parking, self._commands.released)
        self._readmission = Readmission(self._at, self._waiting)
        self.answers = Answers(self._at, self.parking)
        """To what somebody else writes there."""

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

    def crowded(self, admission: Admission, offset: int) -> bool:
        """Must what is merged be committed before this record is merged? Then its chain's row has no room for it until then. Where all before it is, nobody
        waits: what a row has of later records, as a crash may let it out ahead, is committed behind this one.
        """
        if isinstance(admission, Refusal) or self.committed >= offset:
            return False
        batch = admission.batch
        row = self._at.book.get(batch.replica)
        return row is not None and chain.crowded(row, batch, self.committed, partial(self._waits, batch.replica))

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
        if self._closing.over_at(offset):
            return
        self._at.reach(offset)
        if isinstance(admission, Refusal):
            self._refusals.refuse(admission, offset, append_ms)
            return
        batch = admission.batch
        link = Link(batch, admission.digest, admission.device.device_id, offset, append_ms)
        if self._at.memory.old_news:
            return
        if batch.replica == CLOSING_REPLICA:
            self._closing.close(link)
            return
        if batch.react is not None and batch.react.calls:
            self.calls.take(batch.react.calls, offset, append_ms)
            return
        row = self._at.book.get(batch.replica)
        where = chain.fit(row, link, partial(self._waits, batch.replica))
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
            self._not_taken(replica=batch.replica, number=batch.number, code=where.value, offset=offset)
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
            outcome, decision = self._commands.merge(arrival, None)
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
        """Its dots are looked at again, for a crash may have let the row out before the states; the row is the answer.

        Of a number below the row no crash needs anything, and whether it is the batch that was taken nobody can tell: it says nothing, so that it is
        the same to everybody how early a row forgets, as that hangs on who commits when.
        """
        replica, number = link.batch.replica, link.batch.number
        row = self._at.book.get(replica)
        assert row is not None, "a repeat has a row"
        entry = chain.entry_of(row, number)
        if entry is None or link.offset < entry.offset:
            self._at.write_row(replica, row, urgent=False)
            return  # below; or refused when it was first met, and read again after a crash: what counts comes there
        self._end_lives(link)
        self._enactment.carry_out(link.batch, link.offset, link.append_ms)
        urgent = False
        for arrival in _arrivals(admission, link):
            if self.parking and arrival.key in self.parking:
                continue  # it still waits
            known = chain.verdict_of(entry, arrival.command.id)
            if known.code == DROPPED:
                self._wait_again(arrival, entry)
                continue
            if link.offset > entry.offset and without_effect(known):
                continue  # what was seen of it is; its device may have other rights by now, and those are not asked
            outcome, _ = self._commands.merge(arrival, known)
            if known.verdict is Verdict.PARKED:
                row = chain.decided(row, number, outcome or arrival.accepted, self._at.offset)
                urgent = True
        held = self._at.book.get(replica)
        if held is not None and held.reactions != row.reactions:  # its commands may have been reacted to
            row = replace(row, reactions=held.reactions)
        self._at.write_row(replica, row, urgent=urgent)
        self.calls.carried_out(link.batch, entry.outcomes, link.append_ms)
        self._lives_over(link.batch)

    def _lives_over(self, batch: Batch) -> None:
        for replica in batch.ends:
            self._enactment.life_over(replica)

    def _wait_again(self, arrival: Arrival, entry: ChainEntry) -> None:
        """The row knows that this one was given up later on. Read again after a crash it waits, until the log says so; of a late copy
        there is nothing left to do.
        """
        if arrival.offset == entry.offset:
            self._commands.merge(arrival, None)

    # -- what is in the topic, and what another life has left

    @property
    def removed_lives(self) -> int:
        """How many lives are over and have no chain row any more; of more than `over.MAX_OVER` the rows stay."""
        row = self._at.book.get(OVER_REPLICA)
        return 0 if row is None else len(row.over)

    @property
    def ended_at(self) -> int | None:
        """The offset of the op record that has closed the log; None while it goes on."""
        return self._closing.ended_at

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
        """A parked command of an earlier life. Call `resume` after the last one. Raises `Undecodable`."""
        self._readmission.admit(parked, devices)

    def resume(self, following: int) -> None:
        """Restored commands are looked at; `following` is the offset of the record that comes next.

        One that waits for nothing had been released, and its tombstone was lost: its row knows what became of it.
        """
        self._readmission.end()
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
