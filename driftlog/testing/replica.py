"""Replicas in memory, which meet when a test says so.

Nothing is between the algebra and the app: no disk, no signature, and no time but the order of calls.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from driftlog.document import Document
from driftlog.testing.memory import Asked, Done, execute
from driftlog_crdt import DocumentState, HybridClock, Outcome, Vector
from driftlog_schemas.contract import AppContract, Declared, Json
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.running import check_command_id, fingerprint, require_same

D = TypeVar("D", bound=Document)

EPOCH_MS = 1_800_000_000_000
_names = itertools.count(1)
_time = itertools.count(EPOCH_MS, 1000)


class Replica:
    """One device's view of the app's documents, in memory."""

    def __init__(self, contract: AppContract, name: str, *, may_publish: bool = False) -> None:
        self.name = name
        self._may_publish = may_publish
        self._contract = contract
        self._states: dict[DocumentId, DocumentState] = {}
        self._clock = HybridClock()
        self._log: dict[str, Done] = {}
        self._reacted: set[str] = set()
        """Ids of commands on which reactions ran here (`reacting`)."""

    def run(self, command: str, /, *, command_id: str = "", actor: str = "", **arguments: Any) -> Done:
        """Run a declared command. Raises what it raises: `Refused`, `InvalidInput`; then nothing has changed."""
        self._contract.command(command)  # raises `Undeclared`
        asked = fingerprint(command, arguments)
        if command_id:
            check_command_id(command_id)
        command_id = command_id or f"{self.name}-{len(self._log) + 1}"
        if command_id in self._log:
            require_same(self._log[command_id].asked, asked)
            return self._log[command_id]
        done, states = self._ran(Asked(command, arguments, command_id, actor))
        self._keep(done, states)
        return done

    def _ran(self, asked: Asked) -> tuple[Done, Mapping[DocumentId, DocumentState]]:
        """A command and the documents that it changes, as they are after it; nothing of it is kept."""
        ran = execute(
            self._contract,
            asked,
            self._states,
            self._vector,
            self.name,
            self._clock,
            next(_time),
            lambda: self._may_publish,
        )
        ops = () if ran.sent is None else ran.sent.ops
        return Done(asked.name, asked.command_id, ran.result, ops, fingerprint(asked.name, asked.arguments)), ran.states

    def _keep(self, done: Done, states: Mapping[DocumentId, DocumentState]) -> None:
        self._states.update(states)
        self._log[done.command_id] = done

    def _vector(self, document: DocumentId) -> Vector:
        held = self._states.get(document)
        return {} if held is None else held.vector

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
        self._keep(done, self._merged(done))

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


def replica(app: Declared | AppContract, name: str = "", *, may_publish: bool = False) -> Replica:
    """A replica with nothing in it. `may_publish`: as if its device were enrolled so, it writes what only comes down to others."""
    contract = app if isinstance(app, AppContract) else app.contract
    return Replica(contract, name or f"replica-{next(_names)}.test", may_publish=may_publish)


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
