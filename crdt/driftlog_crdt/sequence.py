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

import base64
import binascii
import hashlib
from abc import abstractmethod
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from pycrdt import Array, Doc
from pycrdt import Text as YText

from driftlog_crdt import yjs_state
from driftlog_crdt.causal import PAST, Vector
from driftlog_crdt.errors import BadEncoding, BadOperation, BadValue
from driftlog_crdt.field_type import FieldType
from driftlog_crdt.foundation import Foundation
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain
from driftlog_crdt.takeover import Takeover
from driftlog_crdt.yjs_bytes import ROOT, Id
from driftlog_crdt.yjs_edit import Edit, Range, beside, delete_of, filled, read_clocks, read_edit, renamed

Root: TypeAlias = "YText | Array[str]"

FEW = 16


def pays(over: int, going_on: int) -> bool:
    """Is a sequence to be founded anew, with so many clients that are over and so many that go on? Seldom enough to cost each life little."""
    return over > max(going_on, FEW)


class SequenceState:
    """A Yjs document, the clocks it has reached, and a twin in which the owner of this state drafts edits."""

    __slots__ = ("before", "clocks", "doc", "draft", "encoded", "filled", "narrow", "root", "shown", "twin")

    def __init__(self, update: bytes, root: type[Any]) -> None:
        self.doc, self.root = _load(update, root, 0)
        self.clocks = read_clocks(self.doc.get_state()) if update else {}
        self.filled: Mapping[int, int] = {}
        """client -> its first clock since the sequence was founded anew; what is below it stands for nothing here"""
        self.before: Foundation | None = None
        """What it was founded on, while somebody may still name that."""
        self.encoded: bytes | None = None
        """The canonical bytes, while nothing has changed since they were made."""
        self.shown: str | None = None
        """The text, while nothing has changed since it was read."""
        self.narrow: bool = not update
        """Is every character known to be ASCII, so that bytes and characters count alike?"""
        self.twin: tuple[int, Doc[Any], Root] | None = None
        self.draft: bytes | None = None
        """An edit that the twin holds and the document does not."""


class Sequence(FieldType[SequenceState]):
    """Runs of things in an order that concurrent edits agree on."""

    __slots__ = ()

    max_bytes = 480 * 1024  # twice in a row, as text and as this, it fits into a record of a mebibyte
    kinds = frozenset({"insert", "delete"})
    contextual = frozenset({"insert", "delete"})
    fallible = True
    claims = True

    root: type[Any]
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
        return SequenceState(b"", self.root)

    def check(self, op: Op) -> None:
        self.require_kind(op)
        try:
            edit = _edit(op.value)[1]
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
        root = self._twin(state, client_of(replica))
        edits: list[bytes] = []
        doc = state.twin[1]  # type: ignore[index]  # _twin has just made it
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
        return base64.b64encode(state.draft).decode()

    def takes_effect(self, state: SequenceState, op: Op) -> bool:
        edit = _edit(op.value)[1]
        if not edit.length:
            old, held = _held(edit.gone, state)
            return old or bool(held)
        if state.clocks.get(edit.client, 0) != edit.clock:
            return False
        if state.before is not None and state.before.knows(edit):
            return True
        return _here(edit.left, state) and _here(edit.right, state)

    def stands_alone(self, state: SequenceState, op: Op) -> bool:
        return op.kind == "delete" or self.takes_effect(state, op)

    def renamed(self, kind: str, value: Plain, taking: Takeover) -> Plain:
        update, edit = _edit(value)
        client = client_of(taking.old)
        if edit.length and edit.client == client:
            taking.inserts(edit.clock, edit.length)
        if taking.run is None:
            return value
        return base64.b64encode(renamed(update, client, client_of(taking.new), taking.run)).decode()

    def leave(self, kind: str, value: Plain, taking: Takeover) -> None:
        edit = _edit(value)[1]
        if edit.length:
            taking.left.append((edit.clock, edit.length))

    def stands_on_left(self, kind: str, value: Plain, taking: Takeover) -> bool:
        edit, old = _edit(value)[1], client_of(taking.old)
        if edit.length:
            return any(one is not None and one[0] == old and taking.has_left(one[1]) for one in (edit.left, edit.right))
        return all(gone.client == old and taking.has_left(gone.start, gone.length) for gone in edit.gone)

    def apply(self, state: SequenceState, op: Op) -> None:
        self._merge(state, op.value)

    def join(self, left: SequenceState, left_seen: Vector, right: SequenceState, right_seen: Vector) -> SequenceState:
        result = SequenceState(left.doc.get_update(), self.root)
        result.doc.apply_update(right.doc.get_update())
        result.clocks = read_clocks(result.doc.get_state())
        result.filled = {**left.filled, **right.filled}
        if left.before is not None and right.before is not None:
            result.before = left.before.joined(right.before)
        else:
            result.before = _shared(left.before or right.before)
        return result

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
        founder = _founder(at)
        try:
            before = Foundation.of(state.doc.get_update(), state.clocks, at, founder)
        except (ValueError, IndexError):
            return None
        doc, root = _load(b"", self.root, founder)
        if not self.is_empty(state):
            self.insert(root, 0, self.value(state))
        doc.apply_update(filled(going_on))
        founded = SequenceState(doc.get_update(), self.root)
        founded.narrow, founded.filled, founded.before = state.narrow, going_on, before
        return founded if founded.clocks.get(founder, 0) == before.shown else None

    def encode(self, state: SequenceState) -> bytes:
        if state.encoded is None:
            doc, _ = _load(state.doc.get_update(), self.root, 0)
            before = b"" if state.before is None else state.before.encode()
            state.encoded = yjs_state.pack(doc.get_update(), state.clocks) + before
        return state.encoded

    def decode(self, plain: Any) -> SequenceState:
        if type(plain) is not bytes:
            raise BadEncoding("", f"a {self.name} is encoded as bytes")
        try:
            update, filled_up, before = yjs_state.unpack(plain)
            state = SequenceState(update, self.root)
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
        copy = SequenceState(state.doc.get_update(), self.root)
        copy.encoded, copy.shown, copy.narrow = state.encoded, state.shown, state.narrow
        copy.filled, copy.before = state.filled, _shared(state.before)
        return copy

    def is_new(self, state: SequenceState) -> bool:
        return not state.clocks and state.before is None

    def is_empty(self, state: SequenceState) -> bool:
        return len(state.root) == 0

    def observe(self, state: SequenceState) -> Plain:
        if self.is_empty(state):
            return None
        doc, root = _load(state.doc.get_update(), self.root, 0)
        edits: list[bytes] = []
        watch = doc.observe(lambda event: edits.append(event.update))
        del root[0 : len(root)]
        doc.unobserve(watch)
        return base64.b64encode(edits[0]).decode()

    def check_observed(self, observed: Plain, field: str) -> None:
        if observed is None:
            return
        try:
            edit = _edit(observed)[1]
        except ValueError as error:
            raise BadValue(field, f"an erase carries a delete as base64 text: {error}") from error
        if edit.length:
            raise BadValue(field, "an erase inserts nothing")

    def erase(self, state: SequenceState, seen: Vector, observed: Plain) -> None:
        if observed is not None and _held(_edit(observed)[1].gone, state)[1]:
            self._merge(state, observed)

    def _merge(self, state: SequenceState, carried: Plain) -> None:
        update, edit = _edit(carried)
        if not edit.length:
            _, held = _held(edit.gone, state)
            if held != edit.gone:
                update = delete_of(held)
        elif state.before is not None and state.before.knows(edit):
            state.before = state.before.own()
            sides = state.before.place(edit)
            if sides != (edit.left, edit.right):
                update = beside(update, *sides)
        state.doc.apply_update(update)
        state.encoded = state.shown = None
        if edit.length:
            state.narrow = state.narrow and edit.narrow
            state.clocks[edit.client] = edit.clock + edit.length
        if state.twin is not None:
            if state.draft == update:
                state.draft = None
            elif state.draft is None:
                state.twin[1].apply_update(update)
            else:
                state.twin = state.draft = None

    def _twin(self, state: SequenceState, client: int) -> Any:
        if state.twin is None or state.draft is not None or state.twin[0] != client:
            state.draft = None
            state.twin = (client, *_load(state.doc.get_update(), self.root, client))
        return state.twin[2]


def _held(gone: tuple[Range, ...], state: SequenceState) -> tuple[bool, tuple[Range, ...]]:
    """What is there of what a delete names, under the names that it has here; and does it name anything that was here before?"""
    old = False
    if state.before is not None:
        old, parts = state.before.renamed(gone)
        gone = tuple(parts)
    held = []
    for part in gone:
        first = max(part.start, state.filled.get(part.client, 0))
        last = min(part.start + part.length, state.clocks.get(part.client, 0))
        if first < last:
            held.append(Range(part.client, first, last - first))
    return old, tuple(held)


def _here(element: Id | None, state: SequenceState) -> bool:
    """Is it there, deleted or not? The beginning and the end always are."""
    if element is None:
        return True
    client, clock = element
    return state.filled.get(client, 0) <= clock < state.clocks.get(client, 0)


def _shared(before: Foundation | None) -> Foundation | None:
    if before is not None:
        before.shared = True
    return before


def _founder(at: int) -> int:
    """Whose the elements are with which a sequence is founded anew at this place in the log. No replica is called so."""
    return client_of(f"{PAST}{at}")


def _decoded(data: bytes, clocks: Mapping[int, int]) -> Foundation:
    before = Foundation.decode(data, _founder)
    if clocks.get(before.founder, 0) != before.shown:
        raise ValueError("not what this sequence was founded on")
    return before


def client_of(replica: str) -> int:
    """The Yjs client id of a replica: 53 bits of a hash, never 0."""
    return (int.from_bytes(hashlib.blake2b(replica.encode(), digest_size=8).digest(), "big") >> 11) or 1


def _load(update: bytes, root: type[Any], client: int) -> tuple[Doc[Any], Any]:
    doc: Doc[Any] = Doc(client_id=client, allow_multithreading=True)
    held = doc.get(ROOT, type=root)
    if update:
        doc.apply_update(update)
    return doc, held


def _edit(value: Plain) -> tuple[bytes, Edit]:
    """The Yjs update that an op carries, and what it says. Raises ValueError for what is neither."""
    if type(value) is not str:
        raise ValueError("not a text")
    return _read(value)


@lru_cache(maxsize=256)
def _read(value: str) -> tuple[bytes, Edit]:
    """Remembered for a while, because an op is checked and soon applied, here and in other views."""
    update = _bytes(value)
    return update, read_edit(update)


def _bytes(value: Plain) -> bytes:
    if type(value) is not str:
        raise ValueError("not a text")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
