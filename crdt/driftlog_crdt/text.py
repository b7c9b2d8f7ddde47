"""Text: characters in an order that concurrent editing agrees on.

| concurrent ops | result |
|---|---|
| insert(x) and insert(y) at different places | both, each between the characters that its writer saw |
| insert(x) and insert(y) at the same place | x then y, or y then x, on all replicas alike; never letter by letter |
| insert(x) and delete around it | x stays, what the deleter saw goes |
| delete and delete of the same | gone, once |

An insert is [position, text], a delete is [position, count]; both count characters (code points) of what the writer sees. Why it
converges, and what an op carries, is in `sequence`.

>>> from driftlog_crdt.document import DocumentType, Field
>>> note = DocumentType("Note", {"body": Field(Text())})
>>> here, there = note.new(), note.new()
>>> hello = note.prepare(here, "a", 1, "body", "insert", [0, "helo"])
>>> _ = note.apply(here, hello), note.apply(there, hello)
>>> mend, shout = note.prepare(here, "a", 2, "body", "insert", [3, "l"]), note.prepare(there, "b", 2, "body", "insert", [4, "!"])
>>> _ = note.apply(here, mend), note.apply(here, shout), note.apply(there, shout), note.apply(there, mend)
>>> note.values(here), note.encode(here) == note.encode(there)
({'body': 'hello!'}, True)

Source: Nicolaescu et al. 2016 (YATA), section 3, through pycrdt, the Python binding of Yrs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftlog_crdt.errors import BadValue
from driftlog_crdt.plain import Plain, check_plain
from driftlog_crdt.sequence import Sequence
from driftlog_crdt.sequence_state import SequenceState
from driftlog_crdt.yjs_edit import Edit

if TYPE_CHECKING:
    from pycrdt import Text as YText


class Text(Sequence):
    """A collaborative text."""

    __slots__ = ()

    name = "text"

    def root(self) -> type[Any]:
        from pycrdt import Text as YText

        return YText

    def value(self, state: SequenceState) -> Plain:
        return _shown(state)

    def length(self, state: SequenceState) -> int:
        return len(state.root if state.narrow else _shown(state))

    def offset(self, state: SequenceState, position: int) -> int:
        """Yrs counts bytes of UTF-8, people count characters."""
        return position if state.narrow else len(_shown(state)[:position].encode())

    def insert(self, root: YText, offset: int, run: Plain) -> None:
        if type(run) is not str:
            raise BadValue("", f"a text is inserted, not {run!r}")
        check_plain(run, "")
        root.insert(offset, run)

    def check_run(self, edit: Edit, field: str) -> None:
        if edit.elements:
            raise BadValue(field, "elements cannot stand in a text")


def _shown(state: SequenceState) -> str:
    if state.shown is None:
        state.shown = str(state.root)
        state.narrow = state.shown.isascii()
    return state.shown
