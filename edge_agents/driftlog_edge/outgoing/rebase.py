"""A new life for one partition: what the old one had promised is taken along, each command exactly once.

It is done in steps, some documents each with all that changes them (see `store/handover`): a queue of weeks would hold up the loop for seconds.

The old life is over for everybody, so what its chain holds is final, and decided: by our own batches, or by those of whoever else spoke in
its name, command by command; so is what is in no queue here, for it waits for a person or to run again. Where the row has forgotten a verdict the states
tell: of what was put off nobody has seen a dot.
Every other command is *rebased*: the same intent under the new life, with the same id and clock. It names the
life under which it was first written, its root; another copy of this folder may bring it too, and by that the cloud counts it once.
What its writer had seen stays what it was, so
a price that was set against an old price meets a newer one as a conflict, not as a silent win: the old life's own dots, which a
context leaves out, are named in it now as far as the chain has them.

What the cloud has forgotten since a command was written is the past now, which everybody has seen: its names leave the context. But an op that
takes away what its writer had seen would take all of the past, and what is gone (a purged document, a collection that is no longer declared)
has nothing to be applied to; of a document that began after a command was written the cloud says so (`gone`);
nobody can say of some whether they were counted. Those go to the review list: kept and shown, never
applied by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from driftlog_crdt import PAST, covers
from driftlog_edge.incoming.outcome_codes import MAYBE_COUNTED
from driftlog_edge.outgoing.lineage import Lineage
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.taking_along import Rebased, TakingAlong
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import entry_of
from driftlog_edge.store.handover import Handover, Rest, Sent
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.left import Left, left_in
from driftlog_edge.store.lives import ENDED, MADE_ANEW, MOVED, OTHER_DEVICE, RETIRED, UNSEEN, Chain
from driftlog_edge.store.logged import changed_keys, logged
from driftlog_edge.store.sealed import Open
from driftlog_edge.store.succession import Successions
from driftlog_edge.store.unseen import forgotten
from driftlog_edge.store.views import Views
from driftlog_schemas.contract import AppContract
from driftlog_schemas.messages import CommandOutcome, Verdict

AT_ONCE = 100
"""Commands that are taken along in one write, where what they change lets them be parted."""


class Rebase:
    """Takes the undecided commands of one partition into a new life, in steps."""

    def __init__(self, contract: AppContract, views: Views, outbox: Outbox, journal: Journal) -> None:
        self._contract = contract
        self._views = views
        self._outbox = outbox
        self._lives = outbox.lives
        self._handovers = outbox.lives.handovers
        self._successions = Successions(journal)
        self._journal = journal

    def undecided(self, space: str, partition: int) -> bool:
        """Are there commands that are in no batch of the chain, that wait in it for what nobody will send, or that are in no queue here and that another copy may
        have sent?"""
        chain = self._lives.chain(space, partition)
        return (
            any(
                batch.number > chain.settled or chain.fork == UNSEEN
                for batch in self._outbox.sealed.of(space, partition)
            )
            or self._outbox.queue.entries.some(space, partition)
            or self._for_later(space, partition, chain.replica)
        )

    def _for_later(self, space: str, partition: int, replica: str) -> bool:
        """Does something wait for a person there, or to run again, that was written under this name?"""
        for kind in keys.FOR_LATER:
            for key, _ in self._journal.scan(Family.META, kind):
                lsn = keys.parse_lsn(key)
                if self._journal.get(Family.OPLOG, keys.lsn_key(lsn)) is None:
                    continue
                document, op = logged(self._journal, lsn).command.ops[0]
                if op.replica == replica and self._outbox.place_of(document) == (space, partition):
                    return True
        return False

    def gathered(self, space: str, partition: int, known: Lineage) -> Iterator[Rebased]:
        """Before the new life begins: back into the queue what was sealed, and written down what the chain holds of ours. Stage each step
        before the next is asked for; what it does is right whether others follow or not."""
        chain, life = self._lives.chain(space, partition), self._lives.newest
        for batch in list(self._outbox.sealed.of(space, partition)):
            if batch.number > chain.settled:
                yield Rebased(life, self._outbox.unsealed_again(batch))
        step = Rebased(life)
        decided: dict[str, Sent | None] = {}
        for number, (name, sent) in enumerate(known.commands.items(), 1):
            command = sent.command
            if command.stands_for or entry_of(self._journal, command.id) is not None:
                if command.id not in decided:
                    decided[command.id] = self._decided(sent)
                if (found := decided[command.id]) is not None:
                    step.writes.update(self._handovers.held(space, partition, chain.replica, name, found.alone(name)))
            if number % AT_ONCE == 0:
                yield step
                step = Rebased(life)
        yield step

    def _decided(self, sent: Sent) -> Sent | None:
        """With what became of it, which the states show where the row has forgotten it; None where it was put off."""
        if sent.told:
            return sent
        unknown = False
        reason = "the cloud no longer tells what became of it, nor does what was merged"
        lost = sent._replace(outcome=CommandOutcome(sent.command.id, Verdict.DEFERRED, MAYBE_COUNTED, reason))
        for document, op in sent.command.ops:
            vector = self._views.confirmed_vector(document)
            if vector is not None and covers(vector, op.replica, op.seq):
                return sent if sent.refusals_told else lost
            unknown |= vector is None or vector.get(PAST, 0) > (op.context or {}).get(PAST, 0)
        return lost if unknown else None

    def begun(
        self, space: str, partition: int, *, complete: bool, offset: int, wall_ms: int, over: Callable[[], bool]
    ) -> Generator[None, None, Rebased | None]:
        """The new life begins: what is written from now on is written under its name. `offset` is that of the old chain's newest batch.

        It stops after every few commands that the cloud has parked, so that others may run; None if the old life is not `over` then: a command
        was given meanwhile. Stage what it returns at once.
        """
        chain = self._lives.chain(space, partition)
        handover = Handover(chain.replica, chain.fork, 0, complete, offset)
        work = self._work(space, partition, handover)
        batches = list(self._outbox.sealed.of(space, partition))
        parked = [left for batch in batches for left in self._parked(chain.replica, batch)]
        if chain.fork == MADE_ANEW:
            # Nobody can tell whether the cloud still has what was parked there, and by earlier lives.
            yield from work.give_up([*parked, *left_in(self._journal, space, partition)])
        else:
            yield from work.leave(parked)
        if not over():
            return None
        work.decide_for_later()
        for batch in batches:
            work.writes.update(self._outbox.sealed.settling(batch, ()))
        succession = self._successions.get(space, partition)
        if succession is None:
            life, writes = self._lives.following(chain, wall_ms, work.review)
            known_over = chain.fork in (ENDED, RETIRED, MOVED)
            following = Chain(life.replica, over=chain.ended if known_over else chain.over)
        else:
            following = replace(succession.chain(), over=chain.ended)
            life, writes = self._lives.took(following.replica, chain.fork, 0, work.review)
        work.writes.update(writes)
        work.writes.update(self._successions.written(space, partition, None))
        work.writes[Family.META, keys.row_key(space, partition)] = None
        work.writes.update(self._lives.written(space, partition, following))
        handover = replace(handover, last=self._last_lsn())
        work.writes.update(self._handovers.written(space, partition, handover))
        return work.step(life)

    def _parked(self, replica: str, batch: Open) -> Iterator[Left]:
        speakers = dict(batch.speakers)
        for lsn in batch.lsns:
            told_as = logged(self._journal, speakers[lsn]).command.id if lsn in speakers else ""
            yield Left(replica, batch.number, lsn, told_as)

    def _last_lsn(self) -> int:
        return keys.unpack_pair(self._journal.get(Family.META, keys.CLOCK))[1]

    def survey(self, space: str, partition: int) -> Iterator[None]:
        """Find out what has not come along yet; others may run between."""
        handover, rest = self._handovers.under_way[space, partition], Rest()
        for number, key in enumerate(self._outbox.queue.entries.of_partition(space, partition)):
            if number % AT_ONCE == AT_ONCE - 1:
                yield
            lsn = keys.parse_lsn(key)
            if lsn <= handover.last:
                command = logged(self._journal, lsn).command
                if command.ops[0].op.replica != self._lives.writing(space, partition):
                    rest.add(lsn, key, changed_keys(command))
        self._handovers.rest[space, partition] = rest

    def step(self, space: str, partition: int) -> Generator[None, None, Rebased | None]:
        """The next documents come along; None when all have. It stops after every few commands, so that others may run: it may find out that
        it must be asked again, with nothing done. Stage what it returns at once."""
        place = (space, partition)
        handover, rest = self._handovers.under_way[place], self._handovers.rest.get(place)
        if rest is None:
            return Rebased(self._lives.newest)
        replica = self._lives.writing(space, partition)
        found = yield from rest.some(AT_ONCE)
        if not found:
            return None
        work = self._work(space, partition, handover)
        yield from work.sort_out(found)
        yield from work.rewrite(replica)
        if self._handovers.rest.get(place) is not rest or not work.waits:
            # A write failed, or a refusal took some of it back.
            return Rebased(self._lives.newest)
        rest.drop(found)
        life, writes = self._lives.took(replica, handover.why, len(work.taken), work.review)
        work.writes.update(writes)
        sizes = {lsn: len(work.writes[Family.OPLOG, keys.lsn_key(lsn)] or b"") for lsn in work.taken}
        commands = {lsn: command for lsn, (command, _) in work.taken.items()}
        work.writes.update(
            self._outbox.queue.moved_along(space, partition, work.waiting, commands, sizes, work.documents)
        )
        return work.step(life)

    def ended(self, space: str, partition: int) -> Iterator[Rebased]:
        """All have come along. Stage each step before the next is asked for."""
        life = self._lives.newest
        while writes := self._handovers.forgotten(space, partition, AT_ONCE):
            yield Rebased(life, writes)
        old = self._handovers.under_way[space, partition].old
        while writes := forgotten(self._journal, space, partition, old, AT_ONCE):
            yield Rebased(life, writes)
        yield Rebased(life, self._handovers.written(space, partition, None))

    def _work(self, space: str, partition: int, handover: Handover) -> TakingAlong:
        stranger = self._lives.replica if handover.why == OTHER_DEVICE else ""
        return TakingAlong(
            self._journal, self._views, self._contract, space, partition, self._handovers, handover, stranger
        )
