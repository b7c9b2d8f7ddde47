"""A new life for one partition: what the old one had promised is taken along, each command exactly once.

It is done in steps, some documents each with all that changes them (see `store/handover`): a queue of weeks would hold up the loop for seconds.

The old life is over for everybody, so what its chain holds is final, and decided: by our own batches, or by those of whoever else spoke in
its name, command by command. Where the row has forgotten a verdict the states tell: of what was put off nobody has seen a dot.
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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from driftlog_crdt import PAST, AlgebraError, BadOperation, DocumentState, Op, Takeover, Vector, covers, epoch_of
from driftlog_edge.incoming.verdicts import GONE, NO_RIGHTS, RUN_AGAIN, status_of
from driftlog_edge.outgoing.lineage import Lineage
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Logged, Status, encode_logged, entry_of, logged, logged_size
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.decisions import decision
from driftlog_edge.store.handover import Handover, Handovers, Rest, Sent
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.left import Left, ended, leaving, left_in
from driftlog_edge.store.lives import ENDED, MADE_ANEW, OTHER_DEVICE, RETIRED, TAKEN_FULL, Chain, Life
from driftlog_edge.store.pending import Fate, Mark, mark_of
from driftlog_edge.store.succession import Successions
from driftlog_edge.store.views import Views
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract, CollectionContract, InvalidInput
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, CommandOutcome, DocumentOp, Verdict

FORGOTTEN = "forgotten"
UNDECLARED = "undeclared"
MAYBE_COUNTED = "maybe_counted"
AT_ONCE = 100
"""Commands that are taken along in one write, where what they change lets them be parted."""


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
        """Are there commands that are in no batch of the chain?"""
        settled = self._lives.chain(space, partition).settled
        return any(
            batch.number > settled for batch in self._outbox.sealed.of(space, partition)
        ) or self._outbox.queue.some(space, partition)

    def gathered(self, space: str, partition: int, known: Lineage) -> Iterator[Rebased]:
        """Before the new life begins: back into the queue what was sealed, and written down what the chain holds of ours. Stage each step
        before the next is asked for; what it does is right whether others follow or not."""
        chain, life = self._lives.chain(space, partition), self._lives.newest
        for batch in list(self._outbox.sealed.of(space, partition)):
            if batch.number > chain.settled:
                yield Rebased(life, self._outbox.unsealed_again(batch))
        step = Rebased(life)
        for number, sent in enumerate(known.commands.values(), 1):
            found = None if entry_of(self._journal, sent.command.id) is None else self._decided(sent)
            if found is not None:
                step.writes.update(self._handovers.held(space, partition, chain.replica, found))
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

    def begun(self, space: str, partition: int, *, complete: bool, offset: int, wall_ms: int) -> Rebased:
        """The new life begins: what is written from now on is written under its name. `offset` is that of the old chain's newest batch."""
        chain, succession = self._lives.chain(space, partition), self._successions.get(space, partition)
        work = self._work(space, partition, Handover(chain.replica, chain.fork, self._last_lsn(), complete, offset))
        parked = list(self._outbox.sealed.of(space, partition))
        review = 0
        if chain.fork == MADE_ANEW:  # nobody can tell whether the cloud still has what was parked there
            review = len(work.given_up([lsn for batch in parked for lsn in batch.lsns]))
        else:
            for batch in parked:
                work.leave(batch.number, batch.lsns)
        for batch in parked:
            work.writes.update(self._outbox.sealed.settling(batch, ()))
        if succession is None:
            life, writes = self._lives.begun(wall_ms, chain.fork, review=review)
            following = Chain(life.replica, over=chain.ended if chain.fork in (ENDED, RETIRED) else chain.over)
        else:
            following = replace(succession.chain(), over=chain.ended)
            life, writes = self._lives.took(following.replica, chain.fork, 0, review)
        work.writes.update(writes)
        work.writes.update(self._successions.written(space, partition, None))
        work.writes[Family.META, keys.row_key(space, partition)] = None
        work.writes.update(self._lives.written(space, partition, following))
        work.writes.update(self._handovers.written(space, partition, work.handover))
        return work.step(life)

    def _last_lsn(self) -> int:
        return keys.unpack_pair(self._journal.get(Family.META, keys.CLOCK))[1]

    def survey(self, space: str, partition: int) -> Iterator[None]:
        """Find out what has not come along yet; others may run between."""
        handover, rest = self._handovers.under_way[space, partition], Rest()
        for number, key in enumerate(self._outbox.queue.keys_of(space, partition)):
            if number % AT_ONCE == AT_ONCE - 1:
                yield
            lsn = keys.parse_lsn(key)
            if lsn <= handover.last:
                command = logged(self._journal, lsn).command
                if command.ops[0].op.replica != self._lives.chain(space, partition).replica:
                    rest.add(lsn, key, {document_key(document) for document, _ in command.ops})
        self._handovers.rest[space, partition] = rest

    def step(self, space: str, partition: int) -> Rebased | None:
        """The next documents come along; None when all have. Stage it at once."""
        handover = self._handovers.under_way[space, partition]
        found = self._handovers.rest[space, partition].take(AT_ONCE)
        if not found:
            return None
        chain, work = self._lives.chain(space, partition), self._work(space, partition, handover)
        waiting = {lsn: key for lsn, key in found.items() if self._journal.get(Family.OUTBOX, key) is not None}
        taken, review = work.sorted_out((lsn, _as_first_written(logged(self._journal, lsn))) for lsn in waiting)
        life, writes = self._lives.took(chain.replica, handover.why, len(taken), len(review))
        work.writes.update(writes)
        work.rewrite(taken, chain.replica)
        sizes = {lsn: logged_size(work.writes[Family.OPLOG, keys.lsn_key(lsn)] or b"") for lsn, _ in taken}
        work.writes.update(self._outbox.queue.moved_along(space, partition, waiting, sizes, work.documents))
        return work.step(life)

    def ended(self, space: str, partition: int) -> Iterator[Rebased]:
        """All have come along. Stage each step before the next is asked for."""
        life = self._lives.newest
        while writes := self._handovers.forgotten(space, partition, AT_ONCE):
            yield Rebased(life, writes)
        yield Rebased(life, self._handovers.written(space, partition, None))

    def _work(self, space: str, partition: int, handover: Handover) -> _Work:
        stranger = self._lives.replica if handover.why == OTHER_DEVICE else ""
        return _Work(self._journal, self._views, self._contract, space, partition, self._handovers, handover, stranger)


class _Work:
    """One step while it is worked out."""

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
        self._space, self._partition = space, partition
        self.handover = handover
        self._old = handover.old
        self._read = cursor_of(journal, topics.state_topic(space), partition).group
        """What the new life has read: its contexts name what is there now."""
        self._handovers = handovers
        self._stranger = stranger
        """The life of another device that the folder was given to; it has none of the rights of this one."""
        self._vectors: dict[bytes, Vector] = {}
        """What the documents of those that are taken along have merged."""
        self._first: dict[bytes, int] = {}
        """The lowest of our seqs on a document that the chain does not have"""
        self.writes: dict[Place, bytes | None] = {}
        self.documents: set[bytes] = set()
        self.done: list[int] = []
        self.settled: list[str] = []

    def sorted_out(
        self, commands: Iterable[tuple[int, Command]]
    ) -> tuple[list[tuple[int, Command]], list[tuple[int, Command]]]:
        """Those to take along, and those that a person must see; what is decided is settled."""
        taken: list[tuple[int, Command]] = []
        review: list[tuple[int, Command]] = []
        for lsn, command in commands:
            documents = {document_key(document) for document, _ in command.ops}
            self.documents |= documents
            found = self._handovers.of(self._space, self._partition, command.id)
            lost: tuple[str, str] | None = None
            if found is not None and found.outcome.verdict is Verdict.DEFERRED:
                lost, found = (found.outcome.code, found.outcome.reason), None
            if found is None or found.command.ops != command.ops:
                for document, op in command.ops:
                    self._first.setdefault(document_key(document), op.seq)
            if found is not None:
                self._settle(lsn, command, documents, found)
            elif why := lost or self._objection(command):
                self._forget(lsn, documents)
                self._say(command.id, lsn, Status.REVIEW, *why)
                review.append((lsn, command))
            else:
                taken.append((lsn, command))
        return taken, review

    def step(self, life: Life) -> Rebased:
        """As far as it was worked out."""
        return Rebased(life, self.writes, self.documents, self.done, self.settled)

    def leave(self, number: int, lsns: Iterable[int]) -> None:
        """Parked in the cloud: the chain has them, and their verdict comes in the old life's row."""
        left = [Left(self._old, number, lsn) for lsn in lsns]
        self.writes.update(leaving(self._space, self._partition, left))
        for lsn in lsns:
            documents = {document_key(document) for document, _ in logged(self._journal, lsn).command.ops}
            self._take(lsn, documents, Fate.TAKEN, -1)

    def given_up(self, lsns: Iterable[int]) -> list[tuple[int, Command]]:
        """Parked in a cloud that is another one now, these and what earlier lives have left: for a person to decide."""
        gone = list(left_in(self._journal, self._space, self._partition))
        for left in gone:
            self.writes.update(ended(self._space, self._partition, left))
        review = [(lsn, logged(self._journal, lsn).command) for lsn in (*lsns, *(left.lsn for left in gone))]
        for lsn, command in review:
            documents = {document_key(document) for document, _ in command.ops}
            self.documents |= documents
            if lsn in self._views.backlog:
                self._forget(lsn, documents)
            self._say(
                command.id, lsn, Status.REVIEW, MAYBE_COUNTED, "it was parked in a cloud that was made anew since"
            )
        return review

    def rewrite(self, commands: Iterable[tuple[int, Command]], replica: str) -> None:
        """The same intents under the new life, each document's in order."""
        last = {key: vector.get(replica, 0) for key, vector in self._vectors.items()}
        taking: dict[bytes, Takeover] = {}
        for lsn, command in commands:
            ops = []
            for document, op in command.ops:
                key = document_key(document)
                last[key] = last.get(key, 0) + 1
                rules = self._contract.collection(document.collection).document
                op = rules.renamed(op, last[key], taking.setdefault(key, Takeover(op.replica, replica)))
                ops.append(DocumentOp(document, self._placed(op, key)))
                mark = Mark(lsn, Fate.UNKNOWN, replica, last[key])
                self.writes[Family.PENDING, keys.pending_key(key, lsn)] = mark.encode()
            first = command.root or self._old
            renewed = command._replace(ops=tuple(ops)).first_written(first, replica, command.written)
            release = logged(self._journal, lsn).release
            self.writes[Family.OPLOG, keys.lsn_key(lsn)] = encode_logged(
                renewed, self._space, replica, self._read, release
            )
            entry = entry_of(self._journal, command.id)
            if entry is not None and entry.lsn == lsn:
                dots = tuple((document_key(d).decode(), op.replica, op.seq) for d, op in renewed.ops)
                entry = replace(entry.with_status(Status.PENDING), dots=dots)
                self.writes[Family.COMMANDS, command.id.encode()] = entry.encode()

    def _placed(self, op: Op, key: bytes) -> Op:
        """The op with the old life's dots that the chain has named among what its writer had seen, less who was forgotten since."""
        context, settled, vector = op.context, self._first[key] - 1, self._vectors[key]
        past = vector.get(PAST, 0)
        if context is not None and settled:
            context = {**context, self._old: settled}
        if context is not None and past > context.get(PAST, 0):
            context = {name: seq for name, seq in context.items() if name in vector} | {PAST: past}
        return op._replace(context=context, unsure=op.seq - 1)

    def _settle(self, lsn: int, command: Command, documents: set[bytes], sent: Sent) -> None:
        theirs, outcome, number = sent.command, sent.outcome, sent.number
        if outcome.verdict is Verdict.REJECTED and outcome.code in RUN_AGAIN:
            self._run_again(lsn, command, documents, same=theirs.ops == command.ops)
            return
        if outcome.verdict is Verdict.PARKED:
            self.writes.update(leaving(self._space, self._partition, [Left(self._old, number, lsn)]))
        self._say(command.id, lsn, status_of(outcome), outcome.code, outcome.reason)
        if theirs.ops != command.ops:  # asked again under its id after the copy: that attempt never was
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

    def _objection(self, command: Command) -> tuple[str, str] | None:
        """Why a person must decide: (code, reason)."""
        entry = entry_of(self._journal, command.id)
        if entry is not None and entry.code == TAKEN_FULL:
            return TAKEN_FULL, "another copy of this folder may have sent it; the cloud cannot remember so many"
        seen = []
        for document, op in command.ops:
            try:
                collection = self._contract.collection(document.collection)
                collection.document.check(op)
            except (InvalidInput, AlgebraError) as error:
                return UNDECLARED, str(error)
            state, size = self._views.confirmed(collection, document_key(document))
            if op.context and not size:
                return GONE, f"{'/'.join(document)} is no longer there"
            if why := _outlived(collection, document, op, state.vector):
                return why
            if self._stranger and (why := self._unentitled(collection, state, op)):
                return why
            self._vectors[document_key(document)] = state.vector
            seen.append(state.vector.get(self._old, 0) >= op.seq)
        if not self.handover.complete and all(seen):
            return MAYBE_COUNTED, "another copy of this folder may have sent it; the log no longer tells"
        return None

    def _unentitled(self, collection: CollectionContract, state: DocumentState, op: Op) -> tuple[str, str] | None:
        try:
            collection.document.permit(state, op._replace(replica=self._stranger))
        except BadOperation as error:
            return NO_RIGHTS, str(error)
        return None

    def _say(self, command_id: str, lsn: int, status: Status, code: str, reason: str) -> None:
        entry = entry_of(self._journal, command_id)
        if entry is not None and entry.lsn == lsn:
            self.writes[Family.COMMANDS, command_id.encode()] = entry.with_status(status, code, reason).encode()
            if status.final:
                self.settled.append(command_id)
            elif status is Status.REVIEW:
                self.writes[Family.META, keys.review_key(lsn)] = command_id.encode()


def _as_first_written(found: Logged) -> Command:
    """With what its writer had read then, over any number of lives."""
    command = found.command
    return command._replace(written=found.read) if command.written is None else command


def _outlived(collection: CollectionContract, document: DocumentId, op: Op, vector: Vector) -> tuple[str, str] | None:
    """Why an op on what has been forgotten in part since it was written is for a person to decide."""
    if op.context is None or vector.get(PAST, 0) <= op.context.get(PAST, 0):
        return None
    if epoch_of(vector) > epoch_of(op.context):
        return GONE, f"the {'/'.join(document)} that it was written on is no longer there"
    if collection.document.takes_away(op):
        return FORGOTTEN, f"what it takes away of {'/'.join(document)} may have changed and been forgotten since"
    return None
