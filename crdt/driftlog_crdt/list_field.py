"""List: elements in an order that concurrent editing agrees on.

| concurrent ops | result |
|---|---|
| insert(x) and insert(y) at different places | both, each between the elements that its writer saw |
| insert(x) and insert(y) at the same place | one run after the other, on all replicas alike; never mixed |
| insert(x) and delete around it | x stays, what the deleter saw goes |
| delete and delete of the same | gone, once |

An insert is [position, [element, ...]], a delete is [position, count]. An element is any plain value; it stands in Yjs as its
canonical text, since Yjs has one kind of number and we have two.

>>> from driftlog_crdt.document import DocumentType, Field
>>> tour = DocumentType("Tour", {"stops": Field(List())})
>>> state = tour.new()
>>> _ = tour.apply(state, tour.prepare(state, "a", 1, "stops", "insert", [0, ["Ulm", {"city": "Bonn"}]]))
>>> _ = tour.apply(state, tour.prepare(state, "a", 2, "stops", "insert", [1, [7]]))
>>> _ = tour.apply(state, tour.prepare(state, "a", 3, "stops", "delete", [0, 1]))
>>> tour.values(state)
{'stops': [7, {'city': 'Bonn'}]}

Source: Nicolaescu et al. 2016 (YATA), section 3, through pycrdt, the Python binding of Yrs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from driftlog_crdt.errors import BadValue
from driftlog_crdt.plain import Plain, canonical, check_plain
from driftlog_crdt.sequence import Sequence
from driftlog_crdt.sequence_state import SequenceState
from driftlog_crdt.yjs_edit import Edit

if TYPE_CHECKING:
    from pycrdt import Array


class List(Sequence):
    """A collaborative list."""

    __slots__ = ()

    name = "list"

    def root(self) -> type[Any]:
        from pycrdt import Array

        return Array

    def value(self, state: SequenceState) -> Plain:
        texts: list[str] = json.loads(str(state.root))  # all at once: one by one, each would be a Yrs transaction
        return [json.loads(text) for text in texts]

    def length(self, state: SequenceState) -> int:
        return len(state.root)

    def offset(self, state: SequenceState, position: int) -> int:
        return position

    def insert(self, root: Array[str], offset: int, run: Plain) -> None:
        if type(run) is not list:
            raise BadValue("", f"a list of elements is inserted, not {run!r}")
        for element in run:
            check_plain(element, "")
        root[offset:offset] = [canonical(element) for element in run]

    def check_run(self, edit: Edit, field: str) -> None:
        if not edit.elements:
            raise BadValue(field, "a text cannot stand in a list")
        for text in edit.elements:
            try:
                element = json.loads(text)
                check_plain(element, field)
            except (ValueError, RecursionError) as error:
                raise BadValue(field, f"an element that is no plain value: {error}") from error
            if canonical(element) != text:
                raise BadValue(field, "an element that is not in canonical form")
