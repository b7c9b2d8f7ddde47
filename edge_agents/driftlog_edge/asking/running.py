"""A command while it runs: the documents it has opened, the ops it has made.

Ops are applied to the views as they come, so the function sees its own changes. One that is refused is undone at once: the function
may catch that and go on, and no dot is left out. When the function has returned, the documents it was given are of no use any more.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from driftlog_crdt import DocumentState, HybridClock, Op, Plain, canonical
from driftlog_edge.store.views import View, Views
from driftlog_schemas.batch_codec import MAX_BATCH_OPS
from driftlog_schemas.bounds import MAX_ID, MAX_SCOPE, OutOfBounds, check_text
from driftlog_schemas.contract import CollectionContract, InvalidInput
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import DocumentOp


class DocumentEditor:
    """One document inside the running command."""

    __slots__ = ("_run", "_view")

    def __init__(self, run: Run, view: View) -> None:
        self._run = run
        self._view = view

    @property
    def collection(self) -> CollectionContract:
        return self._view.collection

    @property
    def scope(self) -> str:
        return self._view.document.scope

    @property
    def id(self) -> str:
        return self._view.document.id

    @property
    def state(self) -> DocumentState:
        self._run.require_running()
        return self._view.state

    def record(self, field: str, kind: str, value: Plain) -> None:
        self._run.require_running()
        self._run.record(self._view, field, kind, value)


class Writer(NamedTuple):
    """Under which life a command writes, and which lives of the device are known to be over there."""

    replica: str
    over: tuple[str, ...]


class Run:
    """A running command: gathers ops, applies them to the views as they come."""

    def __init__(
        self,
        views: Views,
        space: str,
        writer: Callable[[str, str], Writer],
        clock: HybridClock,
        wall_ms: int,
        scopes: Collection[str] | None,
        command_id: str,
        actor: str,
    ) -> None:
        """`writer` says of a space and scope who writes there."""
        self.command_id = command_id
        self.actor = actor
        self.now_ms = wall_ms
        self._running = True
        self._views = views
        self._scopes = scopes
        self._space = space
        self._writer = writer
        self._clock = clock
        self._wall_ms = wall_ms
        self.scope: str | None = None
        self.replica = ""
        self._over: tuple[str, ...] = ()
        self.ops: list[DocumentOp] = []
        self.touched: dict[bytes, View] = {}

    def open(self, collection: str, scope: str, id: str) -> DocumentEditor:
        declared = self._views.collection(collection)
        for field, text, most in ((declared.scope_field, scope, MAX_SCOPE), (declared.id_field, id, MAX_ID)):
            check_name(field, text, most)
        if self.scope is None:
            if self._scopes is not None and scope not in self._scopes:
                raise InvalidInput(
                    declared.scope_field,
                    f"this device does not hold scope {scope!r}; it holds {', '.join(self._scopes)}",
                )
            self.scope = scope
            self.replica, self._over = self._writer(self._space, scope)
        elif scope != self.scope:
            raise InvalidInput(declared.scope_field, f"a command stays in one scope: {self.scope!r}, not {scope!r}")
        document = DocumentId(collection, scope, id)
        view = self.touched.get(document_key(document)) or self._views.get(document)
        if view.collection.space != self._space:
            raise InvalidInput(
                "collection", f"{collection} belongs to space {view.collection.space!r}, not {self._space!r}"
            )
        return DocumentEditor(self, view)

    def ids(self, collection: str, scope: str) -> Iterator[str]:
        """Ids of the documents that there are, in order, own changes of this command included."""
        own = (view.document for view in self.touched.values())
        written = sorted(d for d in own if (d.collection, d.scope) == (collection, scope))
        last = None
        for document in heapq.merge(self._views.documents(collection, scope), written):
            if document != last:
                last = document
                view = self.touched.get(document_key(document)) or self._views.get(document)
                if view.collection.document.exists(view.state):
                    yield document.id

    def end(self) -> None:
        """The function has returned; what it may have kept is no document any more."""
        self._running = False

    def require_running(self) -> None:
        """Raise RuntimeError once the command has ended: a change would be lost, and a value may be another by now."""
        if not self._running:
            raise RuntimeError(f"a document of command {self.command_id!r} was used after the command had ended")

    def record(self, view: View, field: str, kind: str, value: Plain) -> None:
        """One op. When it is refused, the document is as it was before it, and the command may go on."""
        rules = view.collection.document
        if len(self.ops) >= MAX_BATCH_OPS:
            raise InvalidInput("command", f"makes more than {MAX_BATCH_OPS} changes; split it")
        self._clock.observe(view.stamp, self._clock.now_ms(self._wall_ms))
        stamp = view.stamp = self._clock.tick(self._wall_ms)
        unsure = view.state.vector.get(self.replica, 0) - view.known.get(self.replica, 0)
        op = rules.prepare(view.state, self.replica, stamp, field, kind, value, unsure, self._over)
        self.touched[view.key] = view
        try:
            rules.apply(view.state, op)
            size = 96 + (len(canonical(value)) if isinstance(value, str | list | dict) else 0)
            view.size += size
            self._views.grew(view, size)
            if view.size > rules.max_bytes:
                view.size = len(rules.encode(view.state))  # raises TooLarge
        except BaseException:  # whatever it was, the app may catch it and go on
            self._undo(view)
            raise
        self.ops.append(DocumentOp(view.document, op))

    def _undo(self, view: View) -> None:
        """Its state as before the op that was refused: computed anew, with this command's earlier ops."""
        self._views.forget(view.key)
        before = self._views.get(view.document)
        for document, op in self.ops:
            if document == view.document:
                view.collection.document.apply(before.state, op)
        view.state, view.size = before.state, len(view.collection.document.encode(before.state))
        self._views.put(view)

    def dots(self) -> Iterator[tuple[bytes, Op]]:
        """(document key, op) of all it has made."""
        keys = {view.document: key for key, view in self.touched.items()}
        return ((keys[document], op) for document, op in self.ops)


def check_name(field: str, text: object, most: int) -> None:
    if not isinstance(text, str):
        raise InvalidInput(field, "must be text")
    try:
        check_text(field, text, most, least=1)
    except OutOfBounds as error:
        raise InvalidInput(error.field, str(error).removeprefix(f"{field}: ")) from error
