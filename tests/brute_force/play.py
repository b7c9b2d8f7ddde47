"""Playing one small history: each writer writes on what it sees, the algebra and the reference model are told the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from driftlog_crdt import BadOperation, BadValue, DocumentState, DocumentType, Op
from tests.brute_force.cast import Intent
from tests.brute_force.shapes import REPLICAS, Cut, Shape
from tests.properties.histories import deliver, merge, unfounded
from tests.reference_model.history import Dot, Event

CLOCKS = (1, 0, 1, 0)
"""Of the first op, the second ...: they run backwards and repeat."""


class Impossible(Exception):
    """Nobody can do this: there is nothing to act on, or no right to it."""


@dataclass
class Played:
    """A history as both sides know it: the ops in the order in which they were made."""

    document: DocumentType
    ops: list[Op] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    """What each op's writer knew with it."""
    views: list[list[str]] = field(default_factory=list)
    """Bodies of texts and lists, as their writers saw them."""
    edits: dict[Dot, list[str]] = field(default_factory=dict)
    """What each edit of a body brought or took."""

    def within(self, cut: Cut) -> list[int]:
        """The numbers of the ops in a cut."""
        return [i for i, op in enumerate(self.ops) if op.seq <= cut[REPLICAS.index(op.replica)]]

    def fold(self, numbers: Sequence[int], own: str = "", told: int = 0) -> DocumentState:
        """These ops as they were decided; those of `own` after `told` as if they had been accepted."""
        state = self.document.new()
        for number in numbers:
            op, event = self.ops[number], self.events[number]
            if op.replica == own and op.seq > told:
                merge(self.document, state, op)
            else:
                deliver(self.document, state, op, event)
        return state

    @property
    def all(self) -> range:
        return range(len(self.ops))


def play(document: DocumentType, shape: Shape, changes: Sequence[tuple[str, Intent]]) -> Played:
    """The history of this shape in which the ops do this. Raises `Impossible`."""
    played = Played(document)
    for number, (place, (name, intent)) in enumerate(zip(shape, changes, strict=True)):
        replica, seq = REPLICAS[place.writer], place.seen[place.writer] + 1
        known = played.within(place.seen)
        view = played.fold(known, replica, place.told)
        body = document.field_value(view, name) if name else None
        intended = intent(body, number)
        if intended is None:
            raise Impossible
        kind, value = intended
        try:
            op = document.prepare(view, replica, CLOCKS[number], name, kind, value, seq - 1 - place.told)
        except (BadOperation, BadValue) as error:
            raise Impossible from error
        cause = "guard" if place.refused else unfounded(document, played.fold(known), op)
        own = [e for e in played.events if e.replica == replica]
        believed = frozenset(e.dot for e in own if e.refused and e.seq > place.told)
        past = frozenset(played.events[i].dot for i in known)
        event = Event(replica, seq, CLOCKS[number], name, kind, value, past, cause, believed)
        if kind == "insert":
            played.edits[event.dot] = list(value[1])
        elif kind == "delete" and name:
            played.edits[event.dot] = list(body)[value[0] : value[0] + value[1]]  # type: ignore[arg-type]  # a body
        played.ops.append(op)
        played.events.append(event)
        played.cuts.append((*place.seen[: place.writer], seq, *place.seen[place.writer + 1 :]))
        if name in ("text", "list"):
            played.views.append(list(document.field_value(played.fold([*known, number], replica, place.told), name)))  # type: ignore[arg-type]
    return played
