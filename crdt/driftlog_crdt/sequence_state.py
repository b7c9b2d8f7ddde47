"""The state of a text or list: a Yjs document, how far its clients have come, and what it was founded on.

A state has one owner, who may write as well as merge. Whoever writes drafts the edit in a *twin* of the document, under its client id: the edit is
what Yjs tells of that change, and merging it into the document itself happens like with any other edit. The twin follows what is merged, so
writing does not load the document each time.

Yrs is a library of some megabytes, so pycrdt is imported with the first sequence: most apps declare none.

What is remembered beside the document (bytes, text, whether all is ASCII) is true while nothing has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from driftlog_crdt.foundation import Foundation
from driftlog_crdt.yjs_bytes import ROOT, Id
from driftlog_crdt.yjs_edit import Edit, Range, beside, delete_of, read_clocks

if TYPE_CHECKING:
    from pycrdt import Array, Doc
    from pycrdt import Text as YText

_PANICS = "pyo3_runtime"
"""Where the class of a panic is from; it cannot be imported."""
Root: TypeAlias = "YText | Array[str]"


class SequenceState:
    """A Yjs document, the clocks it has reached, and a twin in which the owner of this state drafts edits."""

    __slots__ = ("before", "clocks", "doc", "draft", "encoded", "filled", "narrow", "root", "shown", "twin")

    def __init__(self, update: bytes, root: type[Any]) -> None:
        self.doc, self.root = load(update, root, 0)
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

    def copy(self, root: type[Any]) -> SequenceState:
        """An independent copy. `root` is the Yjs type that holds the run."""
        copy = SequenceState(self.doc.get_update(), root)
        copy.encoded, copy.shown, copy.narrow = self.encoded, self.shown, self.narrow
        copy.filled, copy.before = self.filled, shared(self.before)
        return copy

    def joined(self, other: SequenceState, root: type[Any]) -> SequenceState:
        """The state of both sides' edits."""
        result = SequenceState(self.doc.get_update(), root)
        take(result.doc, other.doc.get_update())
        result.clocks = read_clocks(result.doc.get_state())
        result.filled = {**self.filled, **other.filled}
        if self.before is not None and other.before is not None:
            result.before = self.before.joined(other.before)
        else:
            result.before = shared(self.before or other.before)
        return result

    # -- what an edit names

    def held(self, gone: tuple[Range, ...]) -> tuple[bool, tuple[Range, ...]]:
        """What is there of what a delete names, under the names that it has here; and does it name anything that was here before?"""
        old = False
        if self.before is not None:
            old, parts = self.before.renamed(gone)
            gone = tuple(parts)
        found = []
        for part in gone:
            first = max(part.start, self.filled.get(part.client, 0))
            last = min(part.start + part.length, self.clocks.get(part.client, 0))
            if first < last:
                found.append(Range(part.client, first, last - first))
        return old, tuple(found)

    def has(self, element: Id | None) -> bool:
        """Is it there, deleted or not? The beginning and the end always are."""
        if element is None:
            return True
        client, clock = element
        return self.filled.get(client, 0) <= clock < self.clocks.get(client, 0)

    # -- changing it

    def merge(self, update: bytes, edit: Edit) -> None:
        """Take an edit, as far as there is what it names."""
        if not edit.length:
            _, held = self.held(edit.gone)
            if held != edit.gone:
                update = delete_of(held)
        elif self.before is not None and self.before.knows(edit):
            self.before = self.before.own()
            sides = self.before.place(edit)
            if sides != (edit.left, edit.right):
                update = beside(update, *sides)
        take(self.doc, update)
        self.encoded = self.shown = None
        if edit.length:
            self.narrow = self.narrow and edit.narrow
            self.clocks[edit.client] = edit.clock + edit.length
        if self.twin is not None:
            if self.draft == update:
                self.draft = None
            elif self.draft is None:
                take(self.twin[1], update)
            else:
                self.twin = self.draft = None

    def twin_of(self, client: int, root: type[Any]) -> tuple[Doc[Any], Any]:
        """A document that shows the same, in which this client may draft an edit."""
        if self.twin is None or self.draft is not None or self.twin[0] != client:
            self.draft = None
            self.twin = (client, *load(self.doc.get_update(), root, client))
        return self.twin[1], self.twin[2]


def shared(before: Foundation | None) -> Foundation | None:
    """What two states are founded on now."""
    if before is not None:
        before.shared = True
    return before


def load(update: bytes, root: type[Any], client: int) -> tuple[Doc[Any], Any]:
    """A Yjs document of this update, and the run in it."""
    from pycrdt import Doc

    doc: Doc[Any] = Doc(client_id=client, allow_multithreading=True)
    held = doc.get(ROOT, type=root)
    if update:
        take(doc, update)
    return doc, held


def take(doc: Doc[Any], update: bytes) -> None:
    """Apply an update. Raises ValueError for what Yrs does not take.

    Some bytes make it panic, which is no `Exception` in Python: it would end whoever looks at what a stranger has written.
    """
    try:
        doc.apply_update(update)
    except BaseException as error:
        if isinstance(error, RuntimeError) or type(error).__module__ == _PANICS:
            raise ValueError(f"Yrs does not take it: {error}") from error
        raise
