"""What one step of a rebase makes of the commands it takes along, worked out while others run.

A step may have many commands, where each ties its documents to the next one's. So it stops after every few, and nothing of it is done before all of it
is known. What is confirmed and pending does not move meanwhile (`Committer.turn`), but for what a refusal takes back: then the step begins anew.

The rules of what comes along, and as what, are those of `outgoing/rebase`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from driftlog_crdt import PAST, Op, Takeover
from driftlog_edge.incoming.outcome_codes import (
    MAYBE_COUNTED,
    RUN_AGAIN,
    perhaps_unseen,
    status_of,
    together,
)
from driftlog_edge.outgoing.objections import Objections
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status, entry_of
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.decisions import decision
from driftlog_edge.store.handover import Handover, Handovers, Sent
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.left import Left, ended, leaving
from driftlog_edge.store.lives import Life
from driftlog_edge.store.logged import Logged, changed_keys, encode_logged, logged
from driftlog_edge.store.pending import Fate, Mark, mark_of
from driftlog_edge.store.unseen import passing_over, unseen_of
from driftlog_edge.store.views import Views
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Command, CommandOutcome, DocumentOp, Verdict

SLICE = 20
"""Commands that are looked at without letting others run."""


@dataclass(slots=True)
class Rebased:
    """One step into a new life; `writes` makes it so."""

    life: Life
    writes: dict[Place, bytes | None] = field(default_factory=dict)
    documents: set[bytes] = field(default_factory=set)
    done: list[int] = field(default_factory=list)
    """lsns that are pending no more"""
    settled: list[str] = field(default_factory=list)
    """ids of commands that got their final status"""


class TakingAlong:
    """One step while it is worked out. Nothing of it is done until `step` is staged."""

    def __init__(
        self,
        journal: Journal,
        views: Views,
        contract: AppContract,
        space: str,
        partition: int,
        handovers: Handovers,
        handover: Handover,
        stranger: str,
    ) -> None:
        self._journal = journal
        self._views = views
        self._contract = contract
        self._objections = Objections(journal, views, contract, handover, stranger)
        self._space, self._partition = space, partition
        self.handover = handover
        self._old = handover.old
        self._read = cursor_of(journal, topics.state_topic(space), partition).group
        """What the new life has read: its contexts name what is there now."""
        self._handovers = handovers
        self._first: dict[bytes, int] = {}
        """The lowest of our seqs on a document that the chain does not have"""
        self.waiting: dict[int, bytes] = {}
        """What it is about: lsn -> outbox key."""
        self.taken: dict[int, tuple[Command, str]] = {}
        """What comes along: lsn -> the command, and the release that wrote it."""
        self.review = 0
        """How many commands a person must see."""
        self.writes: dict[Place, bytes | None] = {}
        self.documents: set[bytes] = set()
        self.done: list[int] = []
        self.settled: list[str] = []

    @property
    def waits(self) -> bool:
        """Is all of it still waiting, although others ran meanwhile?"""
        return all(map(self._waits, self.waiting.values()))

    def _waits(self, key: bytes) -> bool:
        """Is this entry of the outbox there? A refusal of what it was built on may have taken it out."""
        return self._journal.get(Family.OUTBOX, key) is not None

    def sort_out(self, commands: Mapping[int, bytes]) -> Iterator[None]:
        """Which of these commands (lsn -> outbox key) are taken along, and which a person must see; what is decided is settled."""
        for number, (lsn, key) in enumerate(commands.items(), 1):
            if number % SLICE == 0:
                yield
            if self._waits(key):
                self.waiting[lsn] = key
                found = logged(self._journal, lsn)
                self._sort_out(lsn, found._replace(command=_as_first_written(found)))

    def _sort_out(self, lsn: int, given: Logged) -> None:
        command = given.command
        documents = changed_keys(command)
        self.documents |= documents
        found = self._handovers.of(self._space, self._partition, command.id)
        lost: tuple[str, str] | None = None
        if found is not None and found.outcome.verdict is Verdict.DEFERRED:
            lost, found = (found.outcome.code, found.outcome.reason), None
        same = found is not None and found.same(given)
        if not same:
            for document, op in command.ops:
                self._not_in_the_chain(document_key(document), op.seq)
        if found is not None:
            self._settle(lsn, command, documents, found, same=same)
        elif why := lost or self._objections.to(command):
            self._objections.leave(command)
            self._forget(lsn, documents)
            self._say(command.id, lsn, Status.REVIEW, *why)
            self.review += 1
        else:
            self.taken[lsn] = command, given.release

    def _not_in_the_chain(self, key: bytes, seq: int) -> None:
        """Neither has it this of our dots nor, perhaps, earlier ones of which nothing was seen."""
        if key not in self._first:
            dots = unseen_of(self._journal, self._space, self._partition, key, self.writes).get(self._old)
            self._first[key] = seq if dots is None else min(seq, dots.first)

    def step(self, life: Life) -> Rebased:
        """As far as it was worked out."""
        return Rebased(life, self.writes, self.documents, self.done, self.settled)

    def leave(self, parked: Iterable[Left]) -> Iterator[None]:
        """Parked in the cloud: the chain has them, and their verdict comes in the old life's row."""
        for number, left in enumerate(parked, 1):
            if number % SLICE == 0:
                yield
            self.writes.update(leaving(self._space, self._partition, [left]))
            documents = changed_keys(logged(self._journal, left.lsn).command)
            self._take(left.lsn, documents, Fate.TAKEN, -1)

    def give_up(self, parked: Iterable[Left]) -> Iterator[None]:
        """Parked in a cloud that is another one now: for a person to decide."""
        for number, left in enumerate(parked, 1):
            if number % SLICE == 0:
                yield
            self.writes.update(ended(self._space, self._partition, left))
            command = logged(self._journal, left.lsn).command
            documents = changed_keys(command)
            self.documents |= documents
            if left.lsn in self._views.backlog:
                self._forget(left.lsn, documents)
            why = "it was parked in a cloud that was made anew since"
            self._say(command.id, left.lsn, Status.REVIEW, MAYBE_COUNTED, why)
            self.review += 1

    def decide_for_later(self) -> None:
        """What waits for a person, or to run again, and was sent by another copy of the folder: what became of it stands. Run here it would be decided anew."""
        for kind in keys.FOR_LATER:
            for key, command_id in self._journal.scan(Family.META, kind):
                sent = self._handovers.of(self._space, self._partition, command_id.decode())
                if sent is not None:
                    self._decide(key, command_id.decode(), sent)

    def _decide(self, key: bytes, command_id: str, sent: Sent) -> None:
        (outcome, told_as), lsn = _told(sent, command_id), keys.parse_lsn(key)
        if outcome.verdict is Verdict.REJECTED and outcome.code in RUN_AGAIN:
            return
        if outcome.verdict is Verdict.PARKED:
            self.writes.update(leaving(self._space, self._partition, [Left(self._old, sent.number, lsn, told_as)]))
        self.writes[Family.META, key] = None
        status = Status.REVIEW if outcome.verdict is Verdict.DEFERRED else status_of(outcome)
        self._say(command_id, lsn, status, outcome.code, outcome.reason)

    def rewrite(self, replica: str) -> Iterator[None]:
        """The same intents under the new life, each document's in order."""
        last: dict[bytes, int] = {}
        taking: dict[bytes, Takeover] = {}
        for number, (lsn, (command, release)) in enumerate(self.taken.items(), 1):
            if number % SLICE == 0:
                yield
            ops = []
            for document, op in command.ops:
                key = document_key(document)
                last[key] = last.get(key) or self._objections.seen(key).get(replica, 0)
                last[key] += 1
                rules = self._contract.collection(document.collection).document
                over = taking.setdefault(key, Takeover(op.replica, replica))
                over.settled = self._settled(op, key)
                op = rules.renamed(op, last[key], over)
                ops.append(DocumentOp(document, self._placed(op, key, over.settled)))
                mark = Mark(lsn, Fate.UNKNOWN, replica, last[key])
                self.writes[Family.PENDING, keys.pending_key(key, lsn)] = mark.encode()
            first = command.root or self._old
            renewed = command._replace(ops=tuple(ops)).first_written(first, replica, command.written)
            self.writes[Family.OPLOG, keys.lsn_key(lsn)] = encode_logged(
                renewed, self._space, replica, self._read, release, alone=True
            )
            entry = entry_of(self._journal, command.id)
            if entry is not None and entry.lsn == lsn:
                dots = tuple((document_key(d).decode(), op.replica, op.seq) for d, op in renewed.ops)
                entry = entry.with_status(Status.PENDING)._replace(dots=dots)
                self.writes[Family.COMMANDS, command.id.encode()] = entry.encode()

    def _settled(self, op: Op, key: bytes) -> int:
        """Up to which of the old life's dots an op's writer had what became of them: the chain has those, by the new life's word, too. They are more
        than ours where another copy wrote under the same name.
        """
        known = op.seq - 1 - op.unsure if op.replica == self._old else 0
        return max(self._first[key] - 1, min(known, self._objections.seen(key).get(self._old, 0)))

    def _placed(self, op: Op, key: bytes, settled: int) -> Op:
        """The op with the old life's dots that the chain has named among what its writer had seen, less who was forgotten since."""
        context, vector = op.context, self._objections.seen(key)
        past = vector.get(PAST, 0)
        if context is not None and settled:
            context = {**context, self._old: settled}
        if context is not None and past > context.get(PAST, 0):
            context = {name: seq for name, seq in context.items() if name in vector} | {PAST: past}
        return op._replace(context=context, unsure=op.seq - 1)

    def _settle(self, lsn: int, command: Command, documents: set[bytes], sent: Sent, *, same: bool) -> None:
        outcome, told_as = _told(sent, command.id)
        if outcome.verdict is Verdict.REJECTED and outcome.code in RUN_AGAIN:
            self._run_again(lsn, command, documents, same=same)
            return
        if outcome.verdict is Verdict.PARKED:
            self.writes.update(leaving(self._space, self._partition, [Left(self._old, sent.number, lsn, told_as)]))
        self._say(command.id, lsn, status_of(outcome), outcome.code, outcome.reason)
        if not same:  # asked again under its id after the copy: that attempt never was
            self._forget(lsn, documents)
            return
        if perhaps_unseen(outcome, command):
            self.writes.update(passing_over(self._journal, self._space, self._partition, command, self.writes))
            self._forget(lsn, documents)
            return
        fate = Fate.REFUSED if outcome.verdict is Verdict.REJECTED else Fate.TAKEN
        self._take(lsn, documents, fate, -1 if outcome.verdict is Verdict.PARKED else self.handover.offset)

    def _run_again(self, lsn: int, command: Command, documents: set[bytes], *, same: bool) -> None:
        """What the cloud has refused under these dots comes again under others, as if this folder had sent it."""
        entry = entry_of(self._journal, command.id)
        if entry is not None and entry.lsn == lsn:
            self.writes[Family.META, keys.again_key(lsn)] = command.id.encode()
        if same:
            self._take(lsn, documents, Fate.REFUSED, self.handover.offset)
        else:
            self._forget(lsn, documents)

    def _take(self, lsn: int, documents: Iterable[bytes], fate: Fate, offset: int) -> None:
        """The chain has it, by this record of the op topic at the latest: its dots stay as they are until the confirmed state covers them.

        It never will where the document was purged since.
        """
        left = False
        decided = decision(self._journal, self._space, self._partition, offset)
        for key in documents:
            mark = mark_of(self._journal, key, lsn)
            if mark is None:
                continue
            waiting = decided.mark(self._journal, key, mark, fate)
            left |= waiting is not None
            self.writes[Family.PENDING, keys.pending_key(key, lsn)] = waiting and waiting.encode()
        if not left:
            self.done.append(lsn)

    def _forget(self, lsn: int, documents: Iterable[bytes]) -> None:
        """It is in no view any more."""
        for key in documents:
            self.writes[Family.PENDING, keys.pending_key(key, lsn)] = None
        self.done.append(lsn)

    def _say(self, command_id: str, lsn: int, status: Status, code: str, reason: str) -> None:
        entry = entry_of(self._journal, command_id)
        if entry is not None and entry.lsn == lsn:
            self.writes[Family.COMMANDS, command_id.encode()] = entry.with_status(status, code, reason).encode()
            if status.final:
                self.settled.append(command_id)
            if status is Status.REJECTED:
                self.writes[Family.META, keys.rejected_key(lsn)] = command_id.encode()
            elif status is Status.REVIEW:
                self.writes[Family.META, keys.review_key(lsn)] = command_id.encode()


def _told(sent: Sent, command_id: str) -> tuple[CommandOutcome, str]:
    """What became of a command, and the id of the one that stands for it; empty for its own."""
    if sent.command.id == command_id:
        return sent.outcome, ""
    return together(sent.outcome._replace(command_id=sent.command.id), command_id), sent.command.id


def _as_first_written(found: Logged) -> Command:
    """With what its writer had read then, over any number of lives."""
    return found.command._replace(written=found.first_read)
