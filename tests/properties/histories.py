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
from tests.properties.cases import case_of
from tests.reference_model.history import Dot, Event

REPLICAS = ["a", "b", "c", "d", "e", "f"]
MAX_STEPS = 14


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
def histories(draw: st.DrawFn, document: DocumentType, *, replicas: int = 4, start: History | None = None) -> History:
    """A history of at most `MAX_STEPS` steps on one document; after `start`, which everybody has seen, if given."""
    history = History(document, cuts=[frozenset()])
    if start is not None:
        history = History(document, list(start.ops), list(start.events), [start.everything])
    names = REPLICAS[: draw(st.integers(2, replicas))]
    states = {name: history.fold() for name in names}
    known: dict[str, set[Dot]] = {name: set(history.everything) for name in names}
    for _ in range(draw(st.integers(1, MAX_STEPS))):
        name = draw(st.sampled_from(names))
        action = draw(st.integers(0, 19))
        if action < 6:
            other = draw(st.sampled_from(names))
            for op, event in history.delivery(frozenset(known[other] - known[name])):
                deliver(document, states[name], op, event)
            known[name] |= known[other]
        else:
            field_name, kind, value = DOCUMENT, DELETE, None
            if action < 19:
                field_name = draw(st.sampled_from(list(document.fields)))
                case = case_of(field_name)
                kind, value = case.fit(document.field_value(states[name], field_name), draw(case.intents))
            hlc = draw(st.integers(0, 3))
            try:
                op = document.prepare(states[name], name, hlc, field_name, kind, value)
            except (BadOperation, BadValue):
                continue  # the writer lacks the right, or there is nothing to delete: it does not write
            refused = draw(st.integers(0, 19)) == 0
            event = Event(name, op.seq, hlc, field_name, kind, value, frozenset(known[name]), refused)
            deliver(document, states[name], op, event)
            history.ops.append(op)
            history.events.append(event)
            known[name].add(event.dot)
        history.cuts.append(frozenset(known[name]))
    return history


@st.composite
def histories_with_cuts(draw: st.DrawFn, document: DocumentType, count: int) -> tuple[History, list[frozenset[Dot]]]:
    """A history and some causally closed parts of it."""
    history = draw(histories(document))
    return history, [draw(st.sampled_from(history.cuts)) for _ in range(count)]
