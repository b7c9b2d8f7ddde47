"""One command on documents in memory, by the code with which an agent runs it (`driftlog_schemas.running`).

What an agent refuses is refused here: by the same calls, in the same order, with the same words. Nothing is kept when it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from driftlog_crdt import DocumentState, HybridClock, TooLarge, Vector
from driftlog_schemas.batch_codec import encode_command
from driftlog_schemas.contract import AppContract, CollectionContract, Json
from driftlog_schemas.copied_views import CopiedViews
from driftlog_schemas.errors import TooBig
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, DocumentOp
from driftlog_schemas.running import Run, View, Writer, run_declared


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ran: its result, and what it changed."""

    command: str
    command_id: str
    result: Json
    ops: tuple[DocumentOp, ...]
    asked: str = ""
    """The fingerprint of what was asked."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command comes to before anything of it is kept."""

    result: Json
    sent: Command | None
    """As it would be sent; None if it changed nothing."""
    states: Mapping[DocumentId, DocumentState]
    """The documents that it changed, as they are after it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants done."""

    name: str
    arguments: Mapping[str, Any]
    command_id: str
    actor: str = ""


def execute(
    contract: AppContract,
    asked: Asked,
    held: Mapping[DocumentId, DocumentState],
    known: Callable[[DocumentId], Vector],
    replica: str,
    clock: HybridClock,
    wall_ms: int,
    publishes: Callable[[], bool],
) -> Ran:
    """Run it on copies of the documents that are `held`; `known` is how far the cloud has decided a document's changes; `publishes`: may the
    device write what only comes down?

    Raises:
        InvalidInput, Refused, AlgebraError: as an agent does; `clock` is then as it was.
    """
    declared = contract.command(asked.name)
    checked = declared.validate(asked.arguments)
    views, stamp = _Copies(contract, held, known), clock.last
    writer = Writer(replica, ())
    run = Run(views, declared.space, lambda *_: writer, clock, wall_ms, None, asked.command_id, asked.actor, publishes)
    try:
        result = run_declared(declared, run, checked)
        sent = _as_sent(contract, declared.space, asked, run, clock.last)
    except BaseException:
        clock.last = stamp
        raise
    finally:
        run.end()
    return Ran(result, sent, {view.document: view.state for view in run.touched.values()})


def _as_sent(contract: AppContract, space: str, asked: Asked, run: Run[View], hlc: int) -> Command | None:
    """The command as it would be sent. Raises `TooLarge` if it could not be."""
    if run.scope is None or not run.ops:
        return None
    command = Command(asked.command_id, asked.name, run.scope, hlc, tuple(run.ops), asked.actor)
    try:
        encode_command(command, space, run.replica, contract.spaces[space].release)
    except TooBig as error:
        raise TooLarge("", f"the command is too big to be sent: {error}") from error
    return command


class _Copies(CopiedViews):
    """The views of one command: copies of what is held, made when they are looked at."""

    def __init__(
        self,
        contract: AppContract,
        held: Mapping[DocumentId, DocumentState],
        known: Callable[[DocumentId], Vector],
    ) -> None:
        super().__init__()
        self._contract = contract
        self._held = held
        self._known = known

    def collection(self, name: str) -> CollectionContract:
        return self._contract.collection(name)

    def _copied(self, document: DocumentId, key: bytes) -> View:
        collection = self._contract.collection(document.collection)
        rules, held = collection.document, self._held.get(document)
        state, size = (rules.new(), 0) if held is None else (rules.copy(held), len(rules.encode(held)))
        view = View(document, key, collection, state, size)
        view.known = dict(self._known(document))
        return view

    def documents(self, collection: str, scope: str) -> Iterator[DocumentId]:
        return iter(sorted((d for d in self._held if d[:2] == (collection, scope)), key=document_key))
