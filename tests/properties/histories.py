"""Random histories: replicas write on what they have seen, and learn from one another now and then.

The ops are made by the algebra (`prepare`, on the writer's own view); what each writer meant and had seen is recorded beside,
for the reference model. Clocks are random and repeat, so that no law can lean on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from driftlog_crdt import DELETE, DOCUMENT, BadOperation, BadValue, DocumentState, DocumentType, Op, Outcome, dominates
from tests.properties.cases import case_of, documents
from tests.reference_model.history import Dot, Event

REPLICAS = ["a", "b", "c", "d", "e", "f"]

# Strategies are made once: making them costs more than drawing from them.
_CROWDS = {count: st.sampled_from(REPLICAS[:count]) for count in range(2, len(REPLICAS) + 1)}
_COUNTS = st.sampled_from([2, 2, 2, 3, 3, 4, 5, 6])
_STEPS = st.integers(5, 14)
_ACTIONS = st.integers(0, 19)
_HLCS = st.integers(0, 3)
_SEEDS = st.integers(0, 2**32)


@dataclass
class History:
    """What happened: the ops in an order that causality allows, and the same as the writers meant it."""

    document: DocumentType
    ops: list[Op] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    cuts: list[frozenset[Dot]] = field(default_factory=list)
    """Sets of dots closed under causality: what some replica knew at some time."""

    @property
    def everything(self) -> frozenset[Dot]:
        return frozenset(e.dot for e in self.events)

    def within(self, cut: frozenset[Dot]) -> list[Event]:
        return [e for e in self.events if e.dot in cut]

    def fold(self, cut: frozenset[Dot] | None = None, order: Random | None = None) -> DocumentState:
        """The state of the ops in `cut`, in the order of the history or in a random one (see `delivery`)."""
        state = self.document.new()
        for op, event in self.delivery(self.everything if cut is None else cut, order):
            deliver(self.document, state, op, event)
        return state

    def delivery(self, cut: frozenset[Dot], order: Random | None = None) -> list[tuple[Op, Event]]:
        """The ops in `cut`, in the order they were made, or in any other that their dots and contexts allow.

        An op without context waits for its predecessor alone, although its writer may have seen more.
        """
        waiting = [(op, event) for op, event in zip(self.ops, self.events, strict=True) if event.dot in cut]
        if order is None:
            return waiting
        seen: dict[str, int] = {}
        result = []
        while waiting:
            ready = [
                i
                for i, (op, _) in enumerate(waiting)
                if seen.get(op.replica, 0) == op.seq - 1 and dominates(seen, op.context or {})
            ]
            op, event = waiting.pop(order.choice(ready))
            seen[op.replica] = op.seq
            result.append((op, event))
        return result


def deliver(document: DocumentType, state: DocumentState, op: Op, event: Event) -> Any:
    """Merge one op that is next; a refused one is only seen."""
    if event.refused:
        document.see(state, op.replica, op.seq)
        return None
    applied = document.apply(state, op)
    assert applied.outcome is Outcome.APPLIED
    return applied


@st.composite
def histories(draw: st.DrawFn, document: DocumentType, *, start: History | None = None) -> History:
    """A history of a few steps on one document; after `start`, which everybody has seen, if given.

    Few replicas are likelier than many, and a writer often learns before it writes: forks that meet again say most.
    """
    history = History(document, cuts=[frozenset()])
    if start is not None:
        history = History(document, list(start.ops), list(start.events), [start.everything])
    count = draw(_COUNTS)
    names, somebody, fields = REPLICAS[:count], _CROWDS[count], st.sampled_from(list(document.fields))
    states = {name: history.fold() for name in names}
    known: dict[str, set[Dot]] = {name: set(history.everything) for name in names}
    for _ in range(draw(_STEPS)):
        name, action = draw(somebody), draw(_ACTIONS)
        if action < 10:
            other = draw(somebody)
            for op, event in history.delivery(frozenset(known[other] - known[name])):
                deliver(document, states[name], op, event)
            known[name] |= known[other]
        if action > 4:
            field_name, kind, value = DOCUMENT, DELETE, None
            if action < 19:
                field_name = draw(fields)
                case = case_of(field_name)
                kind, value = case.fit(document.field_value(states[name], field_name), draw(case.intents))
            hlc = draw(_HLCS)
            try:
                op = document.prepare(states[name], name, hlc, field_name, kind, value)
            except (BadOperation, BadValue):
                continue  # the writer lacks the right, or there is nothing to delete: it does not write
            refused = draw(_ACTIONS) == 0
            event = Event(name, op.seq, hlc, field_name, kind, value, frozenset(known[name]), refused)
            deliver(document, states[name], op, event)
            history.ops.append(op)
            history.events.append(event)
            known[name].add(event.dot)
        history.cuts.append(frozenset(known[name]))
    return history


@dataclass
class Sample:
    """A history, three causally closed parts of it, and a source of orders."""

    history: History
    cuts: list[frozenset[Dot]]
    seed: int

    @property
    def document(self) -> DocumentType:
        return self.history.document

    def shuffled(self) -> DocumentState:
        """The state of all ops in an order of this sample's own."""
        return self.history.fold(order=Random(self.seed))


@st.composite
def samples(draw: st.DrawFn, names: list[str]) -> Sample:
    """A sample of a document with these fields (see `cases.DOCUMENTS`), with up to six replicas."""
    history = draw(histories(draw(documents(names))))
    late_first = st.sampled_from(history.cuts[::-1])  # what is drawn most often is what stands first
    return Sample(history, [draw(late_first) for _ in range(3)], draw(_SEEDS))
