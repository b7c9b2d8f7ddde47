"""A command while it runs: the documents it has opened, the ops it has made, and what it may not do.

Ops are applied to the views as they come, so the function sees its own changes. One that is refused is undone at once: the function
may catch that and go on, and no dot is left out. When the function has returned, the documents it was given are of no use any more.

Where the views come from is the caller's: an agent computes them from its store, the kit for an app's tests keeps them in memory. So both
refuse the same.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic_core import to_json

from driftlog_crdt import DocumentState, HybridClock, Op, Plain, TooLarge, canonical, deletion
from driftlog_schemas.batch_codec import MAX_BATCH_OPS
from driftlog_schemas.bounds import MAX_COMMAND_ID, MAX_ID, MAX_SCOPE, OutOfBounds, check_text
from driftlog_schemas.contract import CollectionContract, CommandContract, InvalidInput, Json, OneWay, touches_op
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import DocumentOp

COMMAND_ID = "Idempotency-Key"
"""What a caller of an agent calls the id of its command."""
_SCALARS = frozenset({str, int, float, bool, type(None)})


class View:
    """One document as a replica sees it."""

    __slots__ = ("collection", "document", "key", "known", "size", "stamp", "state", "unseen")

    def __init__(
        self, document: DocumentId, key: bytes, collection: CollectionContract, state: DocumentState, size: int
    ) -> None:
        self.document = document
        self.key = key
        self.collection = collection
        self.state = state
        self.size = size
        """About how many bytes the state takes."""
        self.stamp = 0
        """the highest of own pending ops here"""
        self.known: dict[str, int] = dict(state.vector)
        """replica -> up to which seq the outcome is known"""
        self.unseen: dict[str, int] = {}
        """replica -> up to which seq its dots are taken, although the state may lack some of them for ever"""


V = TypeVar("V", bound=View)


class Views(Protocol[V]):
    """The documents of a replica."""

    def collection(self, name: str) -> CollectionContract:
        """Raises `Undeclared`."""
        ...

    def get(self, document: DocumentId) -> V:
        """The view, to change in place; of an empty document when there is none. Raises `Undeclared`."""
        ...

    def put(self, view: V) -> None:
        """Take a view that was made elsewhere."""
        ...

    def forget(self, key: bytes) -> None:
        """What is in a view is not to stand: make it anew next time."""
        ...

    def grew(self, view: V, size: int) -> None:
        """A view takes so many bytes more."""
        ...

    def documents(self, collection: str, scope: str) -> Iterator[DocumentId]:
        """Those of a scope, in id order, deleted ones too."""
        ...


class DocumentEditor:
    """One document inside the running command."""

    __slots__ = ("_run", "_view")

    def __init__(self, run: Run[Any], view: View) -> None:
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


class Run(Generic[V]):
    """A running command: gathers ops, applies them to the views as they come."""

    def __init__(
        self,
        views: Views[V],
        space: str,
        writer: Callable[[str, str], Writer],
        clock: HybridClock,
        wall_ms: int,
        scopes: Collection[str] | None,
        command_id: str,
        actor: str,
        publishes: Callable[[], bool] = lambda: False,
    ) -> None:
        """`writer` says of a space and scope who writes there. `publishes`: may this device write what only comes down?"""
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
        self._publishes = publishes
        self.scope: str | None = None
        self.replica = ""
        self._over: tuple[str, ...] = ()
        self.ops: list[DocumentOp] = []
        self.touched: dict[bytes, V] = {}
        self._passed: set[bytes] = set()
        """Views whose vector counts dots that only who writes on them may count."""
        self.entered: dict[str, CollectionContract] = {}
        """The collections that it has looked at."""

    def open(self, collection: str, scope: str, id: str) -> DocumentEditor:
        declared = self._enter(collection, scope)
        check_name(declared.id_field, id, MAX_ID)
        document = DocumentId(collection, scope, id)
        return DocumentEditor(self, self.touched.get(document_key(document)) or self._views.get(document))

    def ids(self, collection: str, scope: str) -> Iterator[str]:
        """Ids of the documents that there are, in order, own changes of this command included."""
        self._enter(collection, scope)
        return self._ids(collection, scope)

    def _enter(self, collection: str, scope: str) -> CollectionContract:
        """Only a scope that is held, one scope and one space are for a command to see."""
        declared = self._views.collection(collection)
        if declared.space != self._space:
            raise InvalidInput("collection", f"{collection} belongs to space {declared.space!r}, not {self._space!r}")
        check_name(declared.scope_field, scope, MAX_SCOPE)
        if self.scope is None:
            if self._scopes is not None and scope not in self._scopes:
                holds = f"this device does not hold scope {scope!r}; it holds {', '.join(self._scopes)}"
                raise BadName(declared.scope_field, holds, scope)
            self.scope = scope
            self.replica, self._over = self._writer(self._space, scope)
        elif scope != self.scope:
            one = f"a command stays in one scope: {self.scope!r}, not {scope!r}"
            raise BadName(declared.scope_field, one, scope)
        self.entered[collection] = declared
        return declared

    def _ids(self, collection: str, scope: str) -> Iterator[str]:
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
        for key in self._passed.difference(document_key(document) for document, _ in self.ops):
            self._views.forget(key)

    def require_running(self) -> None:
        """Raise RuntimeError once the command has ended: a change would be lost, and a value may be another by now."""
        if not self._running:
            raise RuntimeError(f"a document of command {self.command_id!r} was used after the command had ended")

    def record(self, view: V, field: str, kind: str, value: Plain) -> None:
        """One op. When it is refused, the document is as it was before it, and the command may go on."""
        rules = view.collection.document
        if len(self.ops) >= MAX_BATCH_OPS:
            raise InvalidInput("command", f"makes more than {MAX_BATCH_OPS} changes; split it")
        if view.collection.direction == "down" and not self._publishes():
            raise _comes_down(view.document.collection, field or kind)
        self._clock.observe(view.stamp, self._clock.now_ms(self._wall_ms))
        stamp = view.stamp = self._clock.tick(self._wall_ms)
        self._pass_over(view)
        unsure = view.state.vector.get(self.replica, 0) - view.known.get(self.replica, 0)
        op = rules.prepare(view.state, self.replica, stamp, field, kind, value, unsure, self._over)
        self.touched[view.key] = view
        try:
            rules.apply(view.state, op)
            size = 96 + (len(canonical(value)) if isinstance(value, str | list | dict) else 0)
            view.size += size
            self._views.grew(view, size)
            if view.size > rules.max_bytes:
                view.size = _measured(view, field)
        except BaseException:  # whatever it was, the app may catch it and go on
            self._undo(view)
            raise
        self.ops.append(DocumentOp(view.document, op))

    def _undo(self, view: V) -> None:
        """Its state as before the op that was refused: computed anew, with this command's earlier ops."""
        self._views.forget(view.key)
        before = self._views.get(view.document)
        self._pass_over(before)
        for document, op in self.ops:
            if document == view.document:
                view.collection.document.apply(before.state, op)
        view.state, view.size = before.state, len(view.collection.document.encode(before.state))
        self._views.put(view)

    def _pass_over(self, view: V) -> None:
        """Write above the dots that are taken."""
        if pass_over(view, self.replica, view.unseen.get(self.replica, 0)):
            self._passed.add(view.key)

    def dots(self) -> Iterator[tuple[bytes, Op]]:
        """(document key, op) of all it has made."""
        keys = {view.document: key for key, view in self.touched.items()}
        return ((keys[document], op) for document, op in self.ops)


def pass_over(view: View, replica: str, up_to: int) -> bool:
    """Count a replica's dots up to this one as taken, where those that the state lacks may stay unseen; were there any?"""
    if not view.state.vector.get(replica, 0) < up_to <= view.unseen.get(replica, 0):
        return False
    deletion.without_effect(view.state, replica, up_to)
    return True


def run_declared(command: CommandContract, run: Run[Any], arguments: Mapping[str, Any]) -> Json:
    """The result of a declared command on checked arguments, if it changed only what it declares; the cloud would refuse anything else
    under its name.
    """
    try:
        result = command.run(run, arguments)
    except BadName as error:
        raise error.as_given(arguments) from error
    if command.touches is not None:
        for document, op in run.ops:
            if not touches_op(command.touches, document.collection, op):
                place = f"{document.collection}.{op.field or op.kind}"
                raise InvalidInput("command", f"{command.name} changes {place}; add it to what it declares in touches=")
    return result


def oldest_allowed(command: CommandContract, run: Run[Any]) -> float | None:
    """How old may be, in seconds, what a command has looked at; None for any age."""
    if command.requires_fresh != "max_age":
        return command.requires_fresh
    return min((one.max_age for one in run.entered.values() if one.max_age is not None), default=None)


def check_command_id(command_id: str) -> None:
    """Raise `InvalidInput` unless this can name a command."""
    check_name(COMMAND_ID, command_id, MAX_COMMAND_ID)


def _comes_down(collection: str, changed: str) -> OneWay:
    return OneWay(
        f"{collection}.{changed}",
        f"{collection} only comes down to devices, and this one is not known to publish it; write it on a device that was enrolled with"
        " `driftlog devices enrol --may-publish` and has met the cloud since",
    )


def _measured(view: View, field: str) -> int:
    """What its state takes. Raises `TooLarge` in the name of the field that was changed last."""
    try:
        return len(view.collection.document.encode(view.state))
    except TooLarge as error:
        raise TooLarge(field, f"there is no room for this in {'/'.join(view.document)}; {error.reason}") from error


def fingerprint(name: str, arguments: Any) -> str:
    """What must be the same for a repeated id to be a repetition."""
    asked = (name, _ordered(arguments))
    try:
        text = to_json(asked, fallback=str)
    except ValueError:  # half a surrogate pair; whoever validates it will name its field
        text = json.dumps(asked, default=str).encode()
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _ordered(value: Any) -> Any:
    """The same, keys in order: how a caller orders them says nothing."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else value


def require_same(known: str, asked: str) -> None:
    """Raise `InvalidInput` unless what is asked under a known id is what was asked under it before; both as fingerprints."""
    if known != asked:
        raise InvalidInput(COMMAND_ID, "was used for another command; make a new key for a new intent")


class BadName(InvalidInput):
    """A scope or an id that cannot be used, under the name that its document has for it."""

    def __init__(self, field: str, message: str, given: object) -> None:
        super().__init__(field, message)
        self.given = given

    def as_given(self, arguments: Mapping[str, object]) -> InvalidInput:
        """The same under the name that the caller has for it, where it was given as one of these."""
        names = [name for name, value in arguments.items() if type(value) is type(self.given) and value == self.given]
        if not names or self.field in names:
            return InvalidInput(self.field, self.message)
        return InvalidInput(names[0], f"{self.message}; it is the document's {self.field}")


def check_name(field: str, text: object, most: int) -> None:
    if not isinstance(text, str):
        raise BadName(field, "must be text", text)
    try:
        check_text(field, text, most, least=1)
    except OutOfBounds as error:
        raise BadName(error.field, str(error).removeprefix(f"{field}: "), text) from error
