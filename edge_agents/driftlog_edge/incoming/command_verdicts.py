"""What a verdict of the cloud does to one command here: its status, its place in the views, and whether it is run again.

A command whose dots no state will ever have is in no view any more; of all others the decision is kept beside their pending entries, until a state
has them.
"""

from __future__ import annotations

from collections.abc import Iterable

from driftlog_edge.incoming.answered import Answered
from driftlog_edge.incoming.outcome_codes import DROPPED, REPEATED, RUN_AGAIN, perhaps_unseen, status_of
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.backlog import Backlog
from driftlog_edge.store.command_log import Status, entry_of
from driftlog_edge.store.decisions import Decision
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import PURGED
from driftlog_edge.store.logged import changed_keys
from driftlog_edge.store.pending import Fate, mark_of
from driftlog_edge.store.unseen import passing_over, unseen_of
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Command, CommandOutcome, Verdict

_FATES = {Verdict.ACCEPTED: Fate.TAKEN, Verdict.NO_EFFECT: Fate.TAKEN, Verdict.REJECTED: Fate.REFUSED}


class CommandVerdicts:
    """Of one replica. What is to be written is gathered in `found`."""

    def __init__(self, journal: Journal, backlog: Backlog) -> None:
        self._journal = journal
        self._backlog = backlog

    def given_back(self, command: Command, lsn: int, outcome: CommandOutcome, found: Answered) -> None:
        """Nothing of it was seen, and the life whose dots it has sends nothing any more: a person decides."""
        self.say(command, lsn, Status.REVIEW, outcome, found)
        documents = changed_keys(command)
        found.documents |= documents
        found.refused |= documents
        self._drop(documents, lsn, found)

    def above_unseen(self, command: Command, found: Answered) -> bool:
        """Does it stand behind a change of ours of which perhaps nothing was seen?"""
        for document, op in command.ops:
            lives = unseen_of(self._journal, found.space, found.partition, document_key(document), found.writes)
            dots = lives.get(op.replica)
            if dots is not None and dots.first < op.seq:
                return True
        return False

    def runs_again(self, command: Command, lsn: int, found: Answered) -> None:
        """It was computed on a change that was refused, and nothing of it was seen: so is what stands behind it in turn, sent or not."""
        documents = changed_keys(command)
        found.again = True
        found.writes[Family.META, keys.again_key(lsn)] = command.id.encode()
        found.writes.update(passing_over(self._journal, found.space, found.partition, command, found.writes))
        found.documents |= documents
        found.refused |= documents
        self._drop(documents, lsn, found)

    def was_parked(self, command: Command) -> bool:
        """Had it waited, as far as its status says?"""
        entry = entry_of(self._journal, command.id)
        return entry is not None and entry.status is Status.PARKED

    def decide(self, command: Command, lsn: int, outcome: CommandOutcome, decided: Decision, found: Answered) -> None:
        """Its verdict is there, and it is not to be sent again."""
        refused = outcome.verdict is Verdict.REJECTED
        if refused and outcome.code in RUN_AGAIN:
            found.again = True
            found.writes[Family.META, keys.again_key(lsn)] = command.id.encode()
        else:
            self.say(command, lsn, status_of(outcome), outcome, found)
        documents = changed_keys(command)
        found.documents |= documents
        if refused:
            found.refused |= documents
        if outcome.code == PURGED:  # not seen: no state will ever cover its dots
            self._drop(documents, lsn, found)
            return
        if perhaps_unseen(outcome, command):
            found.writes.update(passing_over(self._journal, found.space, found.partition, command, found.writes))
            self._drop(documents, lsn, found)
            return
        if outcome.code == DROPPED:
            decided = decided._replace(offset=-1)
        fate = Fate.REFUSED if outcome.code == REPEATED else _FATES[outcome.verdict]
        if not self._mark(found, documents, lsn, fate, decided) and lsn in self._backlog:
            found.dropped.append(lsn)

    def _drop(self, documents: Iterable[bytes], lsn: int, found: Answered) -> None:
        """It is in no view any more."""
        found.writes.update({(Family.PENDING, keys.pending_key(key, lsn)): None for key in documents})
        if lsn in self._backlog:  # else the state had come before the verdict, and has all of it
            found.dropped.append(lsn)

    def _mark(self, found: Answered, documents: Iterable[bytes], lsn: int, fate: Fate, decided: Decision) -> bool:
        """Keep a decision beside the pending entries of a command; is there one left?"""
        some = False
        for key in documents:
            mark = mark_of(self._journal, key, lsn)
            if mark is not None:
                waiting = decided.mark(self._journal, key, mark, fate)
                some |= waiting is not None
                found.writes[Family.PENDING, keys.pending_key(key, lsn)] = waiting and waiting.encode()
        return some

    def say(self, command: Command, lsn: int, status: Status, outcome: CommandOutcome, found: Answered) -> None:
        """This is its status now, unless it has a final one."""
        entry = entry_of(self._journal, command.id)
        if (
            entry is None
            or entry.lsn != lsn
            or entry.status.final
            or (entry.status, entry.code) == (status, outcome.code)
        ):
            return
        place = (Family.COMMANDS, command.id.encode())
        plain = status is Status.MERGED  # that another copy has sent it is of no concern to its caller
        entry = entry.with_status(status) if plain else entry.with_status(status, outcome.code, outcome.reason)
        found.writes[place] = entry.encode()
        if status.final:
            found.settled.append(command.id)
        if status is Status.REJECTED:
            found.writes[Family.META, keys.rejected_key(lsn)] = command.id.encode()
        elif status is Status.REVIEW:
            found.writes[Family.META, keys.review_key(lsn)] = command.id.encode()
