"""A device of a simulation: what the cloud has merged, its own commands that wait, and the chains by which it sends them.

Its view is an agent's: confirmed, and on top what is pending. What the cloud refuses goes from the view when its verdict comes; what was built on that
runs again under its id, as with an agent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from driftlog.testing.cloud import Cloud, Group, Place
from driftlog.testing.memory import Asked, Ran, execute
from driftlog_crdt import DocumentState, HybridClock, Vector
from driftlog_schemas.batch_codec import BatchCodec, batch_digest, encode_body
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId, replica_id
from driftlog_schemas.messages import Batch, ChainRow, Command, CommandOutcome, Verdict
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import Identity
from driftlog_streams.core.chain import entry_of, verdict_of

RUN_AGAIN = "builds_on_refused"
Fate: TypeAlias = Literal["unknown", "taken", "refused"]


@dataclass(eq=False)
class Pending:
    """An own command that the confirmed documents lack."""

    asked: Asked
    command: Command
    read: int
    fate: Fate = "unknown"
    sent: bool = False

    @property
    def documents(self) -> set[DocumentId]:
        """Those that it changes."""
        return {document for document, _ in self.command.ops}


@dataclass
class Chain:
    """What was sent to one partition."""

    number: int = 0
    head: bytes = b""
    open: dict[int, list[Pending]] = field(default_factory=dict)
    """Batches with commands that have no final verdict."""


class Sent(NamedTuple):
    """A batch on its way."""

    place: Place
    number: int
    value: bytes
    commands: int


class Answer(NamedTuple):
    """What became of a command."""

    pending: Pending
    outcome: CommandOutcome


class Device:
    """See the module."""

    def __init__(self, name: str, contract: AppContract, cloud: Cloud, skew_ms: int, *, publishes: bool) -> None:
        self.name = name
        self._publishes = publishes
        self.replica = replica_id(name, "1")
        self.identity = Identity.create(name)
        self.skew_ms = skew_ms
        """How far its clock is off."""
        self.linked = True
        self.wire: deque[Sent] = deque()
        """What it has sent and no log has."""
        self.confirmed: dict[DocumentId, DocumentState] = {}
        self.pending: list[Pending] = []
        self.again: list[Asked] = []
        """What must run once more, because what it was built on was refused."""
        self._contract = contract
        self._cloud = cloud
        self._batches = BatchCodec(cloud.ids)
        self._clock = HybridClock()
        self._views: dict[DocumentId, DocumentState] = {}
        self._chains: dict[Place, Chain] = {}
        self._applied: dict[Place, int] = {}
        """How many groups of a partition it has applied."""
        self._commands = 0

    # -- commands

    def next_id(self) -> str:
        self._commands += 1
        return f"{self.name}/{self._commands}"

    def run(self, asked: Asked, now_ms: int) -> Ran:
        """Run a command on the view. Raises as an agent does."""
        ran = execute(
            self._contract,
            asked,
            self._views,
            self._known,
            self.replica,
            self._clock,
            now_ms + self.skew_ms,
            lambda: self._publishes,
        )
        self._views.update(ran.states)
        if ran.sent is not None:
            self.pending.append(Pending(asked, ran.sent, self._read(self._place(ran.sent))))
        return ran

    def _known(self, document: DocumentId) -> Vector:
        """How far the cloud has decided a document's changes."""
        held = self.confirmed.get(document)
        known = {} if held is None else dict(held.vector)
        for one in self.pending:
            if one.fate != "unknown":
                for changed, op in one.command.ops:
                    if changed == document:
                        known[self.replica] = max(known.get(self.replica, 0), op.seq)
        return known

    def _place(self, command: Command) -> Place:
        space = self._contract.collection(command.ops[0].document.collection).space
        return space, partition_of(command.scope, self._contract.spaces[space].partitions)

    def _read(self, place: Place) -> int:
        applied = self._applied.get(place, 0)
        return self._cloud.at(place).groups[applied - 1].read if applied else -1

    # -- the way out

    def ship(self, random: Random) -> Sent | None:
        """Seal the oldest that wait for one partition into a batch; None if nothing waits."""
        waiting = [one for one in self.pending if not one.sent]
        if not waiting:
            return None
        place = self._place(waiting[0].command)
        several = [one for one in waiting if self._place(one.command) == place][: random.randint(1, 4)]
        chain = self._chains.setdefault(place, Chain())
        chain.number += 1
        body = encode_body(
            Batch(
                place[0],
                place[1],
                self.replica,
                chain.number,
                tuple(one.command for one in several),
                self._cloud.release(place[0]),
                prev=chain.head,
                floor=min(chain.open, default=chain.number),
                read=several[0].read,
            )
        )
        chain.head, chain.open[chain.number] = batch_digest(body), several
        for one in several:
            one.sent = True
        sent = Sent(place, chain.number, self._batches.seal(body, self.identity), len(several))
        self.wire.append(sent)
        return sent

    # -- the way in

    def behind(self) -> list[Place]:
        """The partitions of which it has not applied all that is published."""
        return [p for p, at in self._cloud.partitions.items() if self._applied.get(p, 0) < len(at.groups)]

    def take(self, place: Place) -> list[Answer]:
        """Apply the next group of a partition; the verdicts that it brings."""
        at = self._applied.get(place, 0)
        self._applied[place] = at + 1
        group = self._cloud.at(place).groups[at]
        return self._apply(place, group)

    def _apply(self, place: Place, group: Group) -> list[Answer]:
        touched = set(group.documents)
        self.confirmed.update({document: self._cloud.state(document, row) for document, row in group.documents.items()})
        answers = self._answers(place, group.rows)
        again, refused = set[int](), set[DocumentId]()
        for pending, outcome in answers:
            touched |= pending.documents
            pending.fate = "refused" if outcome.verdict is Verdict.REJECTED else "taken"
            if outcome.code == RUN_AGAIN:
                again.add(id(pending))
            if pending.fate == "refused":
                refused |= pending.documents
        withdrawn = self._withdrawn(refused)
        touched |= refused
        self.again += [one.asked for one in self.pending if id(one) in again | withdrawn]
        self.pending = [
            one
            for one in self.pending
            if id(one) not in withdrawn and (one.fate == "unknown" or not self._covered(one))
        ]
        for document in sorted(touched):
            self._views[document] = self._view(document)
        return answers

    def _withdrawn(self, refused: set[DocumentId]) -> set[int]:
        """What is built on what was refused and was not sent: it runs again, as what is refused for that reason does. `refused` grows by its documents."""
        withdrawn = set[int]()
        for one in self.pending:  # in order: what is built on one of them comes later
            if not one.sent and not one.documents.isdisjoint(refused):
                withdrawn.add(id(one))
                refused |= one.documents
        return withdrawn

    def _answers(self, place: Place, rows: Mapping[str, ChainRow]) -> list[Answer]:
        row, chain = rows.get(self.replica), self._chains.get(place)
        if row is None or chain is None:
            return []
        answers = []
        for number, several in list(chain.open.items()):
            entry = entry_of(row, number)
            if entry is None:
                continue
            verdicts = [Answer(one, verdict_of(entry, one.command.id)) for one in several]
            final = [a for a in verdicts if a.outcome.verdict not in (Verdict.PARKED, Verdict.DEFERRED)]
            answers += final
            left = [one for one in several if all(one is not a.pending for a in final)]
            if left:
                chain.open[number] = left
            else:
                del chain.open[number]
        return answers

    def _covered(self, pending: Pending) -> bool:
        nothing: Vector = {}
        return all(
            (self.confirmed[document].vector if document in self.confirmed else nothing).get(self.replica, 0) >= op.seq
            for document, op in pending.command.ops
        )

    def _view(self, document: DocumentId) -> DocumentState:
        """Confirmed, and on top what is pending."""
        rules = self._contract.collection(document.collection).document
        held = self.confirmed.get(document)
        state = rules.new() if held is None else rules.copy(held)
        for one in self.pending:
            for changed, op in one.command.ops:
                if changed != document or state.vector.get(self.replica, 0) >= op.seq:
                    continue
                if one.fate == "refused":
                    rules.see(state, op)
                else:
                    rules.apply(state, op)
        return state
