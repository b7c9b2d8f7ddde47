"""Sequence: what `Text` and `List` share, a Yjs document behind the interface of a field.

| concurrent ops | result |
|---|---|
| insert and insert, at different places | both, each between the neighbours that its writer saw |
| insert and insert, at the same place | both, one run after the other, never mixed; all replicas in the same order |
| insert and delete around it | the insert stays, what was deleted goes |
| delete and delete of the same | gone, once |

The writer says positions; `author` turns them into a Yjs update (see `yjs_edit`), which names neighbours instead of
positions, and that is what the op carries. So the writer of a command need not know Yjs, and the cloud need not know what
the writer saw. Convergence is that of YATA, which Yjs implements.

What Yjs leaves open is closed here:
- *Order*: an edit means nothing before what it refers to, so each carries its context, and the document lets it wait.
- *Who writes*: the Yjs client id is a hash of the replica's name (53 bits), so a restart goes on where it stopped. A forged
  op with another's client id is refused.
- *A missing predecessor*: where an earlier op of the writer was refused, its clocks are not there. Yjs would keep the later
  edit waiting, and would take the clocks twice when the writer uses them again. Here an insert whose needs are not met has no
  effect, and a delete takes what is there of what it names; since a writer's ops come in order and their contexts are met, every
  replica finds the same. A merge agent refuses such an insert, so that its writer hears of it (see `refusals`).
- *Weight*: in the state each client id stands once (see `yjs_state`).
- *Whoever is over*: their client ids, and what they deleted, go when the sequence is founded anew (see `foundation`).
- *Bytes*: how Yjs cuts runs depends on the order of arrival. `encode` writes the document as a new one that loaded it,
  which cuts them anew; equal states then give equal bytes (tested, not promised by Yjs).

An erase (delete under update-wins) carries a Yjs update that deletes all that its writer saw, and takes as much of it as there is.

Merging an op costs the same however long the history is. Making one walks the runs of the document to the position, as Yrs
does, and no more: its length and places are not counted anew where that can be known.

Source: Nicolaescu et al. 2016, "Near real-time peer-to-peer shared editing on extensible data types" (YATA), section 3.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from driftlog_crdt import yjs_state
from driftlog_crdt.carried_edit import carried, edit_in
from driftlog_crdt.causal import Vector
from driftlog_crdt.errors import BadEncoding, BadOperation, BadValue
from driftlog_crdt.field_type import FieldType
from driftlog_crdt.foundation import Foundation
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain
from driftlog_crdt.sequence_state import SequenceState, load
from driftlog_crdt.takeover import Takeover
from driftlog_crdt.yjs_client import client_of, founder_of
from driftlog_crdt.yjs_edit import Edit, Range, delete_of, filled, read_edit, renamed

FEW = 16


def pays(over: int, going_on: int) -> bool:
    """Is a sequence to be founded anew, with so many clients that are over and so many that go on? Seldom enough to cost each life little."""
    return over > max(going_on, FEW)


class Sequence(FieldType[SequenceState]):
    """Runs of things in an order that concurrent edits agree on."""

    __slots__ = ()

    max_bytes = 480 * 1024  # twice in a row, as text and as this, it fits into a record of a mebibyte
    kinds = frozenset({"insert", "delete"})
    contextual = frozenset({"insert", "delete"})
    fallible = True
    claims = True

    @abstractmethod
    def root(self) -> type[Any]:
        """The Yjs type that holds the run."""

    @abstractmethod
    def length(self, state: SequenceState) -> int:
        """How many things a user counts."""

    @abstractmethod
    def offset(self, state: SequenceState, position: int) -> int:
        """Where Yrs counts what a user counts as `position`."""

    @abstractmethod
    def insert(self, root: Any, offset: int, run: Plain) -> None:
        """Put `run` into a Yjs type. Raises `BadValue` for what is no run of this type."""

    @abstractmethod
    def check_run(self, edit: Edit, field: str) -> None:
        """Raise `BadValue` unless the inserted run is one of this type."""

    def new(self) -> SequenceState:
        return SequenceState(b"", self.root())

    def check(self, op: Op) -> None:
        self.require_kind(op)
        try:
            edit = edit_in(op.value)[1]
        except ValueError as error:
            raise BadValue(op.field, f"{op.kind} carries an edit as base64 text: {error}") from error
        if (edit.length > 0) != (op.kind == "insert"):
            raise BadOperation(op.field, f"what this {op.kind} carries is not one")
        if edit.length:
            if edit.client != client_of(op.replica):
                raise BadOperation(op.field, f"an insert by {op.replica} in the name of another")
            self.check_run(edit, op.field)

    def author(self, state: SequenceState, replica: str, seq: int, kind: str, value: Plain) -> Plain:
        if kind not in self.kinds:
            raise BadOperation("", f"a {self.name} takes insert, delete, not {kind!r}")
        if type(value) is not list or len(value) != 2 or type(value[0]) is not int:
            raise BadValue("", f"{kind} takes [position, {'run' if kind == 'insert' else 'count'}], not {value!r}")
        position: int = value[0]
        what: Any = value[1]
        length = self.length(state)
        if kind == "insert":
            if not 0 <= position <= length or not what:
                raise BadValue("", f"cannot insert {what!r} at {position} of {length}")
        elif type(what) is not int or what < 1 or not 0 <= position <= length - what:
            raise BadValue("", f"cannot delete {what!r} at {position} of {length}")
        doc, root = state.twin_of(client_of(replica), self.root())
        edits: list[bytes] = []
        watch = doc.observe(lambda event: edits.append(event.update))
        try:
            start = self.offset(state, position)
            if kind == "insert":
                self.insert(root, start, what)
            else:
                del root[start : self.offset(state, position + what)]
        except BadValue:
            state.twin = None
            raise
        finally:
            doc.unobserve(watch)
        (state.draft,) = edits
        return carried(state.draft)

    def takes_effect(self, state: SequenceState, op: Op) -> bool:
        edit = edit_in(op.value)[1]
        if not edit.length:
            old, held = state.held(edit.gone)
            return old or bool(held)
        if state.clocks.get(edit.client, 0) != edit.clock:
            return False
        if state.before is not None and state.before.knows(edit):
            return True
        return state.has(edit.left) and state.has(edit.right)

    def stands_alone(self, state: SequenceState, op: Op) -> bool:
        return op.kind == "delete" or self.takes_effect(state, op)

    def renamed(self, kind: str, value: Plain, taking: Takeover) -> Plain:
        old, new = client_of(taking.old), client_of(taking.new)
        if not kind:
            return _erased_anew(value, taking, old, new)
        update, edit = edit_in(value)
        if edit.length and edit.client == old:
            taking.inserts(edit.clock, edit.length)
        return value if taking.run is None else carried(renamed(update, old, new, taking.run))

    def leave(self, kind: str, value: Plain, taking: Takeover) -> None:
        edit = edit_in(value)[1]
        if edit.length:
            taking.left.append((edit.clock, edit.length))

    def stands_on_left(self, kind: str, value: Plain, taking: Takeover) -> bool:
        edit, old = edit_in(value)[1], client_of(taking.old)
        if edit.length:
            return any(one is not None and one[0] == old and taking.has_left(one[1]) for one in (edit.left, edit.right))
        return all(gone.client == old and taking.has_left(gone.start, gone.length) for gone in edit.gone)

    def apply(self, state: SequenceState, op: Op) -> None:
        state.merge(*edit_in(op.value))

    def join(self, left: SequenceState, left_seen: Vector, right: SequenceState, right_seen: Vector) -> SequenceState:
        return left.joined(right, self.root())

    def let_go(self, state: SequenceState, floor: int) -> None:
        if state.before is not None and floor >= state.before.at:
            state.before = state.encoded = None

    def founded(self, state: SequenceState, there: Collection[str], at: int) -> SequenceState:
        if state.before is not None:
            return state
        clients = set(map(client_of, there))
        going_on = {client: clock for client, clock in state.clocks.items() if client in clients}
        if not pays(len(state.clocks) - len(going_on), len(going_on)):
            return state
        return self._founded(state, going_on, at) or state

    def _founded(self, state: SequenceState, going_on: Mapping[int, int], at: int) -> SequenceState | None:
        """The same anew. None where the bytes are not of this module's making: then it stays as it is."""
        founder = founder_of(at)
        try:
            before = Foundation.of(state.doc.get_update(), state.clocks, at, founder)
        except (ValueError, IndexError):
            return None
        doc, root = load(b"", self.root(), founder)
        if not self.is_empty(state):
            self.insert(root, 0, self.value(state))
        doc.apply_update(filled(going_on))
        founded = SequenceState(doc.get_update(), self.root())
        founded.narrow, founded.filled, founded.before = state.narrow, going_on, before
        return founded if founded.clocks.get(founder, 0) == before.shown else None

    def encode(self, state: SequenceState) -> bytes:
        if state.encoded is None:
            doc, _ = load(state.doc.get_update(), self.root(), 0)
            before = b"" if state.before is None else state.before.encode()
            state.encoded = yjs_state.pack(doc.get_update(), state.clocks) + before
        return state.encoded

    def decode(self, plain: Any) -> SequenceState:
        if type(plain) is not bytes:
            raise BadEncoding("", f"a {self.name} is encoded as bytes")
        try:
            update, filled_up, before = yjs_state.unpack(plain)
            state = SequenceState(update, self.root())
            state.filled = filled_up
            if before:
                state.before = _decoded(before, state.clocks)
            self.value(state)
        except (ValueError, IndexError) as error:
            raise BadEncoding("", f"a {self.name} is encoded as the bytes of a Yjs update: {error}") from error
        if self.is_new(state):
            raise BadEncoding("", f"a {self.name} that holds nothing is not encoded")
        return state

    def copy(self, state: SequenceState) -> SequenceState:
        return state.copy(self.root())

    def is_new(self, state: SequenceState) -> bool:
        return not state.clocks and state.before is None

    def is_empty(self, state: SequenceState) -> bool:
        return len(state.root) == 0

    def observe(self, state: SequenceState) -> Plain:
        if self.is_empty(state):
            return None
        doc, root = load(state.doc.get_update(), self.root(), 0)
        edits: list[bytes] = []
        watch = doc.observe(lambda event: edits.append(event.update))
        del root[0 : len(root)]
        doc.unobserve(watch)
        return carried(edits[0])

    def check_observed(self, observed: Plain, field: str) -> None:
        if observed is None:
            return
        try:
            edit = edit_in(observed)[1]
        except ValueError as error:
            raise BadValue(field, f"an erase carries a delete as base64 text: {error}") from error
        if edit.length:
            raise BadValue(field, "an erase inserts nothing")

    def erase(self, state: SequenceState, seen: Vector, observed: Plain) -> None:
        if observed is None:
            return
        update, edit = edit_in(observed)
        if state.held(edit.gone)[1]:
            state.merge(update, edit)


def _erased_anew(observed: Plain, taking: Takeover, old: int, new: int) -> Plain:
    """What an erase names under the new life: what its writer saw, and all that came along before it."""
    gone: list[Range] = []
    if observed is not None:
        update, edit = edit_in(observed)
        if taking.run is not None:
            edit = read_edit(renamed(update, old, new, taking.run))
        gone = [part for part in edit.gone if part.client != new]
    if taking.brought:
        gone.append(Range(new, 0, taking.brought))
    return carried(delete_of(sorted(gone))) if gone else None


def _decoded(data: bytes, clocks: Mapping[int, int]) -> Foundation:
    before = Foundation.decode(data, founder_of)
    if clocks.get(before.founder, 0) != before.shown:
        raise ValueError("not what this sequence was founded on")
    return before
