"""What the cloud says of our batches, applied: the row of our chain in one partition.

A batch is answered when the row holds its number with its digest; then each of its commands has a verdict. A command leaves the queue
by that and by nothing else: a vector may cover a dot that another copy of this folder has made.

The row also shows when this life cannot go on: a number of ours with another digest, more batches than this folder ever sealed, a batch
that was refused as forked, an end that we did not write. Then the chain is marked; nothing more is sealed on it until `rebase`
has given the partition a new life. The row of the life that is to follow says when the cloud knows the old one to be over.

A command that another copy of the folder has sent is *repeated*: it has its status, and in the view no effect under our own dots. One that was refused
there is refused here, as it was.
What an earlier life has left parked (`store/left`) is decided by that life's row, whenever that comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from driftlog_edge.incoming.answered import Answered, Told
from driftlog_edge.incoming.command_verdicts import CommandVerdicts
from driftlog_edge.incoming.outcome_codes import LIFE_OVER, LOST, together
from driftlog_edge.outgoing.lineage import rejected
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.backlog import Backlog
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.decisions import decision
from driftlog_edge.store.generations import begun
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.left import ended, left_in
from driftlog_edge.store.lives import AWAY, CROWDED, ENDED, FORKED, PURGED, RETIRED, TAKEN_FULL, UNSEEN, Chain
from driftlog_edge.store.logged import logged
from driftlog_edge.store.sealed import Open
from driftlog_edge.store.succession import FIRST, Successions
from driftlog_edge.store.supported import said
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import SHORT_DIGEST_BYTES
from driftlog_schemas.messages import ChainEntry, ChainRow, Command, CommandOutcome, Verdict
from driftlog_schemas.row_columns import short_name
from driftlog_schemas.row_room import has_room, told_by

AT_ONCE = 100
"""Commands that are decided without letting others run."""
_FRESH_DOTS = frozenset({PURGED, TAKEN_FULL})
"""Codes of commands that leave a hole in our dots: what comes after them is written anew, under another life."""
_ENDS = frozenset({FORKED, ENDED, RETIRED, AWAY})
"""Codes of a batch that its replica's chain will never take."""


class Verdicts:
    """Reads the rows of one replica's chains."""

    def __init__(self, journal: Journal, outbox: Outbox, backlog: Backlog) -> None:
        self._journal = journal
        self._effects = CommandVerdicts(journal, backlog)
        self._outbox = outbox
        self._lives = outbox.lives
        self._sealed = outbox.sealed
        self._successions = Successions(journal)

    def of(self, row: ChainRow, raw: bytes) -> Iterator[Answered]:
        """What a row says, some commands of a batch at a time; nothing if it is not that of the life which writes there.

        A row may answer all that a device has sent in a week. So it is taken in steps: stage each before the next is asked for, and let others run
        between them. A batch is settled when the last of its commands is; the last step of all keeps the row.
        """
        place = (row.space, row.partition)
        if row.replica != self._lives.writing(*place):
            found = Answered(*place)
            self._followed(row, found)
            self._left(row, found)
            if found.writes:
                yield found
            return
        numbers = [batch.number for batch in self._sealed.of(row.space, row.partition) if batch.number <= row.last]
        entries = {entry.number: entry for entry in row.entries}
        why = waits_in_vain = ""
        for number in numbers:
            batch, entry = self._sealed.get(*place, number), entries.get(number)
            if batch is None:  # its life has ended between two steps
                return
            if entry is None or entry.digest != batch.digest[:SHORT_DIGEST_BYTES]:
                why = FORKED
                break
            left = list(self._commands(batch))
            named = {outcome.command_id: outcome for outcome in entry.outcomes}
            while left:
                some, left = left[:AT_ONCE], left[AT_ONCE:]
                found, chain, batch = Answered(*place), self._lives.chain(*place), self._sealed.get(*place, number)
                if row.replica != chain.replica or batch is None:
                    return
                if self._settle(batch, some, named, entry, found):
                    waits_in_vain = UNSEEN
                if not left and number > chain.settled:
                    after = replace(chain, settled=number, settled_head=batch.digest, offset=entry.offset)
                    found.writes.update(self._lives.written(row.space, row.partition, after))
                yield found
            why = next((outcome.code for outcome in entry.outcomes if outcome.code in _FRESH_DOTS), why)
        if row.replica == self._lives.writing(*place):
            yield self._kept(row, raw, why or waits_in_vain)

    def _followed(self, row: ChainRow, found: Answered) -> None:
        """The row of the life that is to follow: has it ended the one before? If it is not ours alone, another is drawn."""
        place = (row.space, row.partition)
        succession = self._successions.get(*place)
        if succession is None or row.replica != succession.replica or not row.head:
            return
        ours = (row.last, row.head, row.ended) == (FIRST, succession.digest, "")
        found.writes.update(self._successions.answered(*place, succession, row.offset if ours else None))
        if not ours:
            found.writes[Family.META, keys.COMMON] = succession.replica.encode()

    def writes_there(self, row: ChainRow) -> bool:
        """Is this the row of the life that writes there now?"""
        return row.replica == self._lives.writing(row.space, row.partition)

    def _left(self, row: ChainRow, found: Answered) -> None:
        """The row of a life that is over: what was parked in its chain may have come to its end."""
        entries = {entry.number: entry for entry in row.entries}
        for left in list(left_in(self._journal, row.space, row.partition, row.replica)):
            entry, command = entries.get(left.number), logged(self._journal, left.lsn).command
            if left.number > row.last:
                continue  # an older word of that life
            name = left.told_as or command.id
            accepted = CommandOutcome(command.id, Verdict.ACCEPTED)
            told = rejected(row, left.number, name) or LOST
            outcome = next((o for o in entry.outcomes if o.command_id == name), accepted) if entry else told
            if outcome.verdict is Verdict.PARKED:
                continue
            found.writes.update(ended(row.space, row.partition, left))
            if outcome.verdict is Verdict.DEFERRED:
                self._effects.given_back(command, left.lsn, outcome, found)
            else:
                at = entry.decided_at if entry else -1
                self._effects.decide(
                    command, left.lsn, outcome, decision(self._journal, row.space, row.partition, at), found
                )

    def over(self, row: ChainRow) -> Iterator[Answered]:
        """The row that tells which lives have none any more: what was parked in their chains was decided, and how is gone."""
        found = Answered(row.space, row.partition)
        for left in list(left_in(self._journal, row.space, row.partition)):
            if short_name(left.replica) in row.over:
                command = logged(self._journal, left.lsn).command
                found.writes.update(ended(row.space, row.partition, left))
                self._effects.given_back(command, left.lsn, LOST, found)
        if found.writes:
            yield found

    def _kept(self, row: ChainRow, raw: bytes, why: str) -> Answered:
        """The row itself, with what it says of the chain as a whole; `why` the chain has forked, if it is known by now."""
        found, chain = Answered(row.space, row.partition), self._lives.chain(row.space, row.partition)
        found.writes[Family.META, keys.row_key(row.space, row.partition)] = raw
        found.writes.update(said(self._journal, row))
        why = why or self._noticed(row) or _overtaken(row, chain)
        found.told = Told(row.last, max(row.offset, -1 if row.notice is None else row.notice.offset))
        if why and not chain.fork:
            if why == AWAY:  # what is here may miss what the cloud has forgotten: read first, then a new life
                topic_id = cursor_of(self._journal, topics.state_topic(row.space), row.partition).topic_id
                reason = "the cloud says that the replica was away too long"
                found.writes.update(
                    begun(self._journal, row.space, row.partition, topic_id, reason, row.append_ms, anew=False)
                )
            found.writes.update(self._lives.written(row.space, row.partition, replace(chain, fork=why)))
            found.forked = why
        return found

    def _noticed(self, row: ChainRow) -> str:
        """Why this life is over, if a notice says so; what came too early or found no room is no reason. A row keeps the newest notice only, so what
        it says of a batch is asked of the row too: one that does not follow the head was refused, whatever was refused after it."""
        notice = row.notice
        if notice is None or notice.number <= row.last:
            return ""
        following = self._sealed.get(row.space, row.partition, row.last + 1)
        body = None if following is None else self._sealed.batch(following)
        if body is not None and body.prev != row.head:
            return FORKED
        if body is not None:
            kept = [entry for entry in row.entries if entry.number >= body.floor]
            if not has_room(len(kept), told_by(kept), body.commands):
                return CROWDED  # it goes again byte for byte, so its floor stays where it is
        batch = self._sealed.get(row.space, row.partition, notice.number)
        if batch is None or notice.digest != batch.digest[:SHORT_DIGEST_BYTES]:
            return ""  # of another copy of this folder
        return notice.code if notice.code in _ENDS else ""

    def _settle(
        self,
        batch: Open,
        commands: Iterable[tuple[int, Command, str]],
        named: Mapping[str, CommandOutcome],
        entry: ChainEntry,
        found: Answered,
    ) -> bool:
        """These commands of a batch get their verdicts: the named ones theirs, all others are accepted. Does one wait for what nobody will send?"""
        gone: set[int] = set()
        in_vain = False
        deferred: list[int] = []
        why = ""
        # One that had waited was decided by a later record than that of its batch, and perhaps nobody here knew that it did.
        plain = decision(self._journal, batch.space, batch.partition, max(entry.offset, entry.decided_at))
        unparked = plain._replace(offset=entry.decided_at)
        for lsn, command, told_as in commands:
            outcome = named.get(told_as) or CommandOutcome(command.id, Verdict.ACCEPTED)
            if told_as != command.id:
                outcome = together(outcome, command.id)
            if outcome.verdict is Verdict.PARKED:
                self._effects.say(command, lsn, Status.PARKED, outcome, found)
                in_vain = in_vain or self._effects.above_unseen(command, found)
                continue
            gone.add(lsn)
            if outcome.code == LIFE_OVER and self._effects.above_unseen(command, found):
                self._effects.runs_again(command, lsn, found)
            elif outcome.verdict is Verdict.DEFERRED:
                deferred.append(lsn)
                why = why or f"{outcome.code}: {outcome.reason}"
                self._effects.say(command, lsn, Status.PENDING, outcome, found)
            else:
                self._effects.decide(
                    command, lsn, outcome, unparked if self._effects.was_parked(command) else plain, found
                )
        if deferred:
            found.deferred = why
            found.writes.update(self._outbox.queue.defer(batch.space, batch.partition, deferred))
        waiting = [lsn for lsn in batch.lsns if lsn not in gone]
        if gone:
            found.writes.update(self._sealed.settling(batch, waiting))
        if not waiting:
            found.closed.append(batch.place)
        return in_vain

    def _commands(self, batch: Open) -> Iterable[tuple[int, Command, str]]:
        """What waits in a batch, and the id under which the cloud tells of it. Its body says it at once where all of it waits and each was sent by itself."""
        whole = self._sealed.batch(batch)
        if whole is not None and not batch.speakers and len(whole.commands) == len(batch.lsns):
            ids = [command.id for command in whole.commands]
            return zip(batch.lsns, whole.commands, ids, strict=True)
        return self._from_the_log(batch)

    def _from_the_log(self, batch: Open) -> Iterator[tuple[int, Command, str]]:
        speakers = dict(batch.speakers)
        ids = {lsn: logged(self._journal, lsn).command.id for lsn in set(speakers.values())}
        for lsn in batch.lsns:
            command = logged(self._journal, lsn).command
            yield lsn, command, ids[speakers[lsn]] if lsn in speakers else command.id


def _overtaken(row: ChainRow, chain: Chain) -> str:
    """Has somebody else spoken in our name, or ended this life?"""
    if row.ended:
        return row.ended
    return FORKED if row.last > chain.number else ""
