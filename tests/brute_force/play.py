"""Playing one small history: each writer writes on what it sees, the algebra and the reference model are told the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from driftlog_crdt import DOCUMENT, BadOperation, BadValue, DocumentState, DocumentType, Op
from tests.brute_force.cast import TWINS, Change
from tests.brute_force.shapes import REPLICAS, Cut, Place, Shape
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
    changes: list[Change] = field(default_factory=list)
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

    def then(self, place: Place, change: Change) -> Played:
        """This history, and one op more. Raises `Impossible`."""
        document, number = self.document, len(self.ops)
        name, intent = change
        replica, seq = REPLICAS[place.writer], place.seen[place.writer] + 1
        known = self.within(place.seen)
        view = self.fold(known, replica, place.told)
        body = document.field_value(view, name) if name else None
        intended = intent(body, number)
        if intended is None:
            raise Impossible
        kind, value = intended
        try:
            op = document.prepare(view, replica, CLOCKS[number], name, kind, value, seq - 1 - place.told)
        except (BadOperation, BadValue) as error:
            raise Impossible from error
        cause = "guard" if place.refused else unfounded(document, self.fold(known), op)
        own = [e for e in self.events if e.replica == replica]
        believed = frozenset(e.dot for e in own if e.refused and e.seq > place.told)
        past = frozenset(self.events[i].dot for i in known)
        event = Event(replica, seq, CLOCKS[number], name, kind, value, past, cause, believed)
        cut = (*place.seen[: place.writer], seq, *place.seen[place.writer + 1 :])
        longer = Played(document, [*self.ops, op], [*self.events, event], [*self.cuts, cut], [*self.changes, change])
        longer.views, longer.edits = self.views, self.edits
        if kind == "insert":
            longer.edits = {**self.edits, event.dot: list(value[1])}
        elif kind == "delete" and name:
            longer.edits = {**self.edits, event.dot: list(body)[value[0] : value[0] + value[1]]}  # type: ignore[arg-type]  # a body
        if name in ("text", "list"):
            seen = document.field_value(longer.fold([*known, number], replica, place.told), name)
            longer.views = [*self.views, list(seen)]  # type: ignore[arg-type]
        return longer

    @property
    def all(self) -> range:
        return range(len(self.ops))

    @property
    def latest(self) -> list[int]:
        """The ops that no other one's writer had seen: each may be the last to arrive."""
        seen = set().union(*(event.past for event in self.events))
        return [i for i in self.all if self.events[i].dot not in seen]


def play(document: DocumentType, shape: Shape, changes: Sequence[Change]) -> Played:
    """The history of this shape in which the ops do this. Raises `Impossible`."""
    played = Played(document)
    for place, change in zip(shape, changes, strict=True):
        played = played.then(place, change)
    return played


def all_of(document: DocumentType, shape: Shape, changes: Sequence[Change], *, once: bool) -> Iterator[Played]:
    """The possible histories of this shape; `once`: without those that differ from another one by name alone.

    Two things are mere names. Values that may be given to each other's place (`cast.TWINS`): the second comes only after the first. And
    what a refused op would have done, where its writer never believed in it: nobody was ever shown it. Of such an op only whether
    it would have emptied the document and what its writer had seen are told.
    """
    yield from _after(Played(document), shape, changes, once)


def _after(played: Played, shape: Shape, changes: Sequence[Change], once: bool) -> Iterator[Played]:
    number = len(played.ops)
    if number == len(shape):
        yield played
        return
    place = shape[number]
    unbelieved = place.refused and not any(_believes(later, place) for later in shape[number + 1 :])
    told: set[str] = set()
    for change in changes:
        if once and any(second == change and first not in played.changes for first, second in TWINS):
            continue
        try:
            longer = played.then(place, change)
        except Impossible:
            continue
        if once and unbelieved:
            op = longer.ops[-1]
            shown = repr((op.field == DOCUMENT, op.context))
            if shown in told:
                continue
            told.add(shown)
        yield from _after(longer, shape, changes, once)


def _believes(later: Place, refused: Place) -> bool:
    return later.writer == refused.writer and later.told <= refused.seen[refused.writer] < later.seen[later.writer]
