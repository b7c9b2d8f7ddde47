"""For an app's own tests: its commands and guards without any server, and replicas that meet when the test says so.

    from driftlog import testing

    def test_two_tills_sell_the_last_one() -> None:
        till, other, cloud = testing.replica(app), testing.replica(app), testing.replica(app)
        till.run("receive", store="s1", sku="tea", qty=1)
        testing.exchange(till, other)
        till.run("sell", store="s1", sku="tea", qty=1)
        sold = other.run("sell", store="s1", sku="tea", qty=1)
        testing.exchange(till, cloud)
        with pytest.raises(Refused, match="recount"):
            testing.guard(cloud, sold)

A replica here is the algebra and the app, with nothing between: what commands do and how writes meet is what happens in production. There
is no disk, no signature and no time but the order of calls.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from driftlog.document import Document
from driftlog.errors import InvalidInput
from driftlog_crdt import DocumentState, HybridClock, Outcome, Plain
from driftlog_schemas.contract import AppContract, CollectionContract, Declared, Json
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import DocumentOp

__all__ = ["Done", "Replica", "exchange", "guard", "replica"]

D = TypeVar("D", bound=Document)

EPOCH_MS = 1_800_000_000_000
_names = itertools.count(1)
_time = itertools.count(EPOCH_MS, 1000)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ran: its result, and what it changed."""

    command: str
    command_id: str
    result: Json
    ops: tuple[DocumentOp, ...]


class Replica:
    """One device's view of the app's documents, in memory."""

    def __init__(self, contract: AppContract, name: str) -> None:
        self.name = name
        self._contract = contract
        self._states: dict[DocumentId, DocumentState] = {}
        self._clock = HybridClock()
        self._log: dict[str, Done] = {}

    def run(self, command: str, /, *, command_id: str = "", actor: str = "", **arguments: Any) -> Done:
        """Run a declared command. Raises what it raises: `Refused`, `InvalidInput`; then nothing has changed."""
        declared = self._contract.command(command)
        command_id = command_id or f"{self.name}-{len(self._log) + 1}"
        if command_id in self._log:
            return self._log[command_id]
        running = _Running(self, declared.space, command_id, actor, next(_time))
        result = declared.run(running, declared.validate(arguments))
        done = Done(command, command_id, result, tuple(running.ops))
        self._states.update(running.states)
        self._log[command_id] = done
        return done

    def get(self, kind: type[D], scope: str, id: str) -> D:
        """The document, to look at; an empty one where there is none."""
        contract = kind.__driftlog__
        state = self._states.get(DocumentId(contract.name, scope, id)) or contract.document.new()
        return cast(D, contract.view(scope, id, contract.document.copy(state)))

    def value(self, kind: type[Document], scope: str, id: str) -> dict[str, Json]:
        """The document as JSON, as a reader gets it."""
        contract = kind.__driftlog__
        state = self._states.get(DocumentId(contract.name, scope, id)) or contract.document.new()
        return contract.present(scope, id, state)

    def take(self, done: Done) -> None:
        """Merge another replica's command. Raises ValueError if something it builds on has not come yet."""
        if done.command_id in self._log:
            return
        self._states.update(self._merged(done))
        self._log[done.command_id] = done

    def _merged(self, done: Done) -> dict[DocumentId, DocumentState]:
        states: dict[DocumentId, DocumentState] = {}
        for document, op in done.ops:
            rules = self._contract.collection(document.collection).document
            if document not in states:
                states[document] = rules.copy(self._states.get(document) or rules.new())
            self._clock.observe(op.hlc, op.hlc >> 16)
            if rules.apply(states[document], op).outcome is Outcome.GAP:
                raise ValueError(
                    f"{done.command_id!r} builds on what {self.name} has not seen; exchange the rest first"
                )
        return states


def replica(app: Declared | AppContract, name: str = "") -> Replica:
    """A replica with nothing in it."""
    contract = app if isinstance(app, AppContract) else app.contract
    return Replica(contract, name or f"replica-{next(_names)}.test")


def exchange(a: Replica, b: Replica) -> None:
    """Each gets what the other has and it lacks: afterwards both are the same."""
    for giver, taker in ((a, b), (b, a)):
        for done in list(giver._log.values()):
            taker.take(done)


def guard(cloud: Replica, done: Done) -> None:
    """Ask the app's guards about a command as the cloud would, on what `cloud` has merged. Raises `Refused`; changes nothing."""
    for document, after in cloud._merged(done).items():
        collection = cloud._contract.collection(document.collection)
        before = cloud._states.get(document) or collection.document.new()
        for declared in cloud._contract.spaces[collection.space].guards.get(collection.name, ()):
            declared.check(document.scope, document.id, before, after)


@dataclass
class _Running:
    """The editor of one command: it works on copies."""

    replica: Replica
    space: str
    command_id: str
    actor: str
    now_ms: int
    states: dict[DocumentId, DocumentState] = field(default_factory=dict)
    ops: list[DocumentOp] = field(default_factory=list)
    scope: str | None = None

    def open(self, collection: str, scope: str, id: str) -> _Open:
        contract = self.replica._contract.collection(collection)
        if contract.space != self.space:
            raise InvalidInput("collection", f"{collection} belongs to space {contract.space!r}, not {self.space!r}")
        if self.scope not in (None, scope):
            raise InvalidInput("scope", f"a command stays in one scope: {self.scope!r}, not {scope!r}")
        self.scope = scope
        document = DocumentId(collection, scope, id)
        if document not in self.states:
            held = self.replica._states.get(document)
            self.states[document] = contract.document.new() if held is None else contract.document.copy(held)
        return _Open(self, contract, document)

    def ids(self, collection: str, scope: str) -> Iterator[str]:
        rules = self.replica._contract.collection(collection).document
        found = {**self.replica._states, **self.states}
        held = (d for d, state in found.items() if d[:2] == (collection, scope) and rules.exists(state))
        return iter([document.id for document in sorted(held, key=document_key)])


@dataclass(frozen=True)
class _Open:
    """One document inside a command."""

    running: _Running
    collection: CollectionContract
    document: DocumentId

    @property
    def scope(self) -> str:
        return self.document.scope

    @property
    def id(self) -> str:
        return self.document.id

    @property
    def state(self) -> DocumentState:
        return self.running.states[self.document]

    def record(self, field: str, kind: str, value: Plain) -> None:
        rules, writer = self.collection.document, self.running.replica
        op = rules.prepare(self.state, writer.name, writer._clock.tick(self.running.now_ms), field, kind, value)
        after = rules.copy(self.state)
        rules.apply(after, op)
        rules.encode(after)  # raises TooLarge
        self.running.states[self.document] = after
        self.running.ops.append(DocumentOp(self.document, op))
