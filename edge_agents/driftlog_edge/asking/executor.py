"""Running a command: local first, atomic, idempotent by its id.

One command gives one write set: the op log entry with its ops, the command log entry, the pending index, the outbox entry and the
clock. Nothing is written when it is refused. The command runs on the cached views themselves; if it fails half-way the
touched views are dropped and computed anew from what is stored.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from driftlog_crdt import DocumentState, HybridClock, Plain, TooLarge, canonical
from driftlog_edge.asking import asked
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Clock, Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry, Status, fingerprint
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives
from driftlog_edge.store.pending import Fate, Mark
from driftlog_edge.store.stamps import Stamps
from driftlog_edge.store.views import View, Views
from driftlog_schemas.batch_codec import MAX_BATCH_OPS, encode_command
from driftlog_schemas.bounds import MAX_COMMAND_ID, MAX_ID, MAX_SCOPE, OutOfBounds, check_text
from driftlog_schemas.contract import AppContract, CollectionContract, InvalidInput, Json
from driftlog_schemas.errors import TooBig
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, DocumentOp


class Executed(NamedTuple):
    """An answered command. `writes` is None when it was answered from the log: nothing is new."""

    command_id: str
    entry: Entry
    writes: dict[Place, bytes | None] | None
    touched: tuple[bytes, ...] = ()
    scope: str = ""


class _DocumentEditor:
    """One document inside the running command."""

    __slots__ = ("_run", "_view")

    def __init__(self, run: _Run, view: View) -> None:
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


class _Run:
    """A running command: gathers ops, applies them to the views as they come."""

    def __init__(
        self,
        views: Views,
        space: str,
        writer: Callable[[str, str], str],
        clock: HybridClock,
        wall_ms: int,
        scopes: Collection[str] | None,
        command_id: str,
        actor: str,
    ) -> None:
        """`writer` says of a space and scope under which replica this command writes there."""
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
        self.ops: list[DocumentOp] = []
        self.touched: dict[bytes, View] = {}

    def open(self, collection: str, scope: str, id: str) -> _DocumentEditor:
        declared = self._views.collection(collection)
        for field, text, most in ((declared.scope_field, scope, MAX_SCOPE), (declared.id_field, id, MAX_ID)):
            _check_name(field, text, most)
        if self.scope is None:
            if self._scopes is not None and scope not in self._scopes:
                raise InvalidInput(
                    declared.scope_field,
                    f"this device does not hold scope {scope!r}; it holds {', '.join(self._scopes)}",
                )
            self.scope = scope
            self.replica = self._writer(self._space, scope)
        elif scope != self.scope:
            raise InvalidInput(declared.scope_field, f"a command stays in one scope: {self.scope!r}, not {scope!r}")
        document = DocumentId(collection, scope, id)
        view = self.touched.get(document_key(document)) or self._views.get(document)
        if view.collection.space != self._space:
            raise InvalidInput(
                "collection", f"{collection} belongs to space {view.collection.space!r}, not {self._space!r}"
            )
        return _DocumentEditor(self, view)

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
        op = rules.prepare(view.state, self.replica, stamp, field, kind, value, unsure)
        self.touched[view.key] = view
        try:
            rules.apply(view.state, op)
            view.size += 96 + (len(canonical(value)) if isinstance(value, str | list | dict) else 0)
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


class Executor:
    """Commands against the views of one replica."""

    def __init__(
        self,
        contract: AppContract,
        lives: Lives,
        views: Views,
        outbox: Outbox,
        journal: Journal,
        clock: Clock,
        scopes: Collection[str] | None = None,
    ) -> None:
        """`scopes` are those that the replica holds, None for all: what it does not hold it would never see merged."""
        self._contract = contract
        self._lives = lives
        self._views = views
        self._outbox = outbox
        self._journal = journal
        self._wall = clock
        self._scopes = scopes
        self.stamps = Stamps(journal, clock)
        self._last_lsn = 0
        self.reload()
        journal.on_rollback(self.reload)

    def reload(self) -> None:
        """The lsn as the store has it."""
        _, self._last_lsn = keys.unpack_pair(self._journal.get(Family.META, keys.CLOCK))

    def run(
        self, name: str, arguments: Mapping[str, Any], command_id: str = "", actor: str = "", again: str = ""
    ) -> Executed:
        """A declared command; `again` is its fingerprint when it runs once more under its id.

        Raises:
            InvalidInput, Refused, AlgebraError, OutboxFull: nothing has changed.
        """
        command = self._contract.command(name)
        mark = again or fingerprint(name, arguments)
        if not again and (known := self._known(command_id, mark)):
            return known
        checked = command.validate(arguments)
        return self._execute(
            command_id,
            name,
            command.space,
            command.priority,
            mark,
            actor,
            lambda run: command.run(run, checked),
            asked.run(arguments),
        )

    def write(
        self,
        document: DocumentId,
        changes: Sequence[tuple[str, str, Sequence[Json]]],
        command_id: str = "",
        actor: str = "",
        again: str = "",
    ) -> Executed:
        """Changes of one document without a declared command: (field, op, args). Raises like `run`."""
        collection = self._contract.collection(document.collection)
        mark = again or fingerprint("", [document, changes])
        if not again and (known := self._known(command_id, mark)):
            return known
        if not changes:
            raise InvalidInput("body", "no changes; give a list of {field, op, args}")

        def apply(run: _Run) -> Json:
            editor = run.open(*document)
            for field, op, args in changes:
                collection.mutate(editor, field, op, args)
            return None

        intent = asked.write(document, changes)
        return self._execute(command_id, "", collection.space, collection.priority, mark, actor, apply, intent)

    def decide(
        self, document: DocumentId, chosen: Mapping[str, Json], command_id: str = "", actor: str = "", again: str = ""
    ) -> Executed:
        """What a person chose for a conflict: place -> value. Raises like `run`."""
        collection = self._contract.collection(document.collection)
        mark = again or fingerprint("", [document, chosen])
        if not again and (known := self._known(command_id, mark)):
            return known

        def apply(run: _Run) -> Json:
            editor = run.open(*document)
            for place, value in chosen.items():
                collection.decide(editor, place, value)
            return None

        intent = asked.decide(document, chosen)
        return self._execute(command_id, "", collection.space, collection.priority, mark, actor, apply, intent)

    def _known(self, command_id: str, mark: str) -> Executed | None:
        if not command_id:
            return None
        _check_name("Idempotency-Key", command_id, MAX_COMMAND_ID)
        raw = self._journal.get(Family.COMMANDS, command_id.encode())
        if raw is None:
            return None
        entry = Entry.decode(raw)
        if entry.fingerprint != mark:
            raise InvalidInput("Idempotency-Key", "was used for another command; make a new key for a new intent")
        return Executed(command_id, entry, None)

    def _execute(
        self,
        command_id: str,
        name: str,
        space: str,
        priority: str,
        mark: str,
        actor: str,
        function: Callable[[_Run], Json],
        intent: Json,
    ) -> Executed:
        wall_ms = self._wall.wall_ms()
        clock = self.stamps.clock
        stamp = clock.last
        command_id = command_id or str(uuid.uuid4())
        run = _Run(self._views, space, self._writer, clock, wall_ms, self._scopes, command_id, actor)
        try:
            result = function(run)
            if run.ops:
                self._outbox.require_room()
            return self._log(command_id, name, space, priority, mark, actor, run, result, wall_ms, intent)
        except BaseException:
            # Refused, invalid or a defect in the app's function: the views may hold half of it.
            clock.last = stamp
            for key in run.touched:
                self._views.forget(key)
            raise
        finally:
            run.end()

    def _log(
        self,
        command_id: str,
        name: str,
        space: str,
        priority: str,
        mark: str,
        actor: str,
        run: _Run,
        result: Json,
        wall_ms: int,
        intent: Json,
    ) -> Executed:
        writes: dict[Place, bytes | None] = {}
        touched = tuple(run.touched)
        if not run.ops:
            entry = Entry(0, name, mark, Status.MERGED, result, (), wall_ms)
            writes[Family.COMMANDS, command_id.encode()] = entry.encode()
            return Executed(command_id, entry, writes)
        assert run.scope is not None
        lsn = self._last_lsn + 1
        command = Command(command_id, name, run.scope, self.stamps.clock.last, tuple(run.ops), actor)
        try:
            logged = encode_command(command, space, run.replica)
        except TooBig as error:
            raise TooLarge("", f"the command is too big to be sent: {error}") from error
        dots = tuple((view_key.decode(), op.replica, op.seq) for view_key, op in _dots(run))
        entry = Entry(lsn, name, mark, Status.PENDING, result, dots, wall_ms, asked=intent)
        writes[Family.OPLOG, keys.lsn_key(lsn)] = logged
        writes[Family.COMMANDS, command_id.encode()] = entry.encode()
        for key, view in run.touched.items():
            mark_there = Mark(lsn, Fate.UNKNOWN, run.replica, view.state.vector[run.replica])
            writes[Family.PENDING, keys.pending_key(key, lsn)] = mark_there.encode()
        writes[Family.META, keys.CLOCK] = keys.pack_pair(self.stamps.clock.last, lsn)
        writes.update(self._lives.taking(*self._outbox.place(space, run.scope), run.replica))
        writes.update(self._outbox.entry(space, run.scope, priority, lsn, touched))
        for view in run.touched.values():
            view.pending.append(lsn)
        self._last_lsn = lsn
        self._views.backlog.added(lsn)
        return Executed(command_id, entry, writes, touched, run.scope)

    def _writer(self, space: str, scope: str) -> str:
        return self._lives.writer(*self._outbox.place(space, scope))


def _check_name(field: str, text: object, most: int) -> None:
    if not isinstance(text, str):
        raise InvalidInput(field, "must be text")
    try:
        check_text(field, text, most, least=1)
    except OutOfBounds as error:
        raise InvalidInput(error.field, str(error).removeprefix(f"{field}: ")) from error


def _dots(run: _Run) -> list[tuple[bytes, Any]]:
    by_document = {view.document: key for key, view in run.touched.items()}
    return [(by_document[document], op) for document, op in run.ops]
