"""Random histories: replicas write on what they have seen, and learn from one another now and then.

The ops are made by the algebra (`prepare`, on the writer's own view); what each writer meant and had seen is recorded beside,
for the reference model. Clocks are random and repeat, so that no law can lean on them.

An op may be refused, and then its writer is the last to know: it has applied the op and builds on it until it meets somebody who
has heard of it. Everybody else sees it without effect. What was built on it the algebra refuses; whether rightly, the reference
model says (`test_reference`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from random import Random
from typing import Any

from hypothesis import strategies as st

from driftlog_crdt import (
    DELETE,
    DOCUMENT,
    BadOperation,
    BadValue,
    DocumentState,
    DocumentType,
    Op,
    Outcome,
    Plain,
    dominates,
)
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
    ops: list[Op] = attribute(default_factory=list)
    events: list[Event] = attribute(default_factory=list)
    cuts: list[frozenset[Dot]] = attribute(default_factory=list)
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

    def delivery(
        self, cut: frozenset[Dot], order: Random | None = None, known: Mapping[str, int] | None = None
    ) -> list[tuple[Op, Event]]:
        """The ops in `cut`, in the order they were made, or in any other that their dots and contexts allow after what is known.

        An op without context waits for its predecessor alone, although its writer may have seen more.
        """
        waiting = [(op, event) for op, event in zip(self.ops, self.events, strict=True) if event.dot in cut]
        if order is None:
            return waiting
        seen = dict(known or {})
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
    """Merge one op that is next; a refused one is only seen. An op that stood once stands in every order."""
    if event.refused:
        document.see(state, op)
        return None
    assert unfounded(document, state, op) is None, op
    return merge(document, state, op)


def merge(document: DocumentType, state: DocumentState, op: Op) -> Any:
    applied = document.apply(state, op)
    assert applied.outcome in (Outcome.APPLIED, Outcome.NO_EFFECT)
    return applied


def unfounded(document: DocumentType, state: DocumentState, op: Op) -> str | None:
    """Why a merge agent refuses an op, besides what an app's guards say."""
    if document.builds_on_refused(state, op):
        return "builds_on_refused"
    try:
        document.permit(state, op)
    except BadOperation:
        return "invalid"
    return None


class _Writer:
    """A replica in the making of a history."""

    def __init__(self, history: History, name: str) -> None:
        self._history = history
        self.name = name
        self.known = set(history.everything)
        self.truth = history.fold()
        """What it has heard of, as it was decided."""
        self.view = history.fold()
        """What it sees: its own ops too whose outcome it has not heard, as if they had been accepted."""
        self.told = self.truth.vector.get(name, 0)
        """Up to which of its own ops it has heard the outcome."""

    def learn(self, other: _Writer) -> None:
        document, news = self._history.document, frozenset(other.known - self.known)
        for op, event in self._history.delivery(news):
            deliver(document, self.truth, op, event)
            deliver(document, self.view, op, event)
        self.known |= other.known
        told = max(self.told, other.truth.vector.get(self.name, 0))
        surprised = any(self.told < e.seq <= told for e in self._history.events if e.replica == self.name and e.refused)
        self.told = told
        if surprised:
            self.view = document.new()
            for op, event in self._history.delivery(frozenset(self.known)):
                if event.replica == self.name and event.seq > self.told:
                    merge(document, self.view, op)
                else:
                    deliver(document, self.view, op, event)

    def write(self, hlc: int, field: str, kind: str, value: Plain, refused: bool) -> None:
        """Write on the view; `refused` if a guard of the app will not have it."""
        document, history, name = self._history.document, self._history, self.name
        seq = self.truth.vector.get(name, 0) + 1
        op = document.prepare(self.view, name, hlc, field, kind, value, seq - 1 - self.told)
        cause = "guard" if refused else unfounded(document, self.truth, op)
        believed = frozenset(e.dot for e in history.events if e.replica == name and e.seq > self.told and e.refused)
        event = Event(name, seq, hlc, field, kind, value, frozenset(self.known), cause, believed)
        document.apply(self.view, op)
        applied = deliver(document, self.truth, op, event)
        idle = applied is not None and applied.outcome is Outcome.NO_EFFECT
        assert not idle or case_of(field).founded is None
        history.ops.append(op)
        history.events.append(replace(event, idle=idle))
        self.known.add(event.dot)


@st.composite
def histories(
    draw: st.DrawFn, document: DocumentType, *, start: History | None = None, without: Collection[str] = ()
) -> History:
    """A history of a few steps on one document; after `start`, which everybody has seen, if given; `without` these replicas.

    Few replicas are likelier than many, and a writer often learns before it writes: forks that meet again say most.
    """
    history = History(document, cuts=[frozenset()])
    if start is not None:
        history = History(document, list(start.ops), list(start.events), [start.everything])
    names = [name for name in REPLICAS[: draw(_COUNTS)] if name not in without] or ["g"]
    somebody = st.sampled_from(names) if without else _CROWDS[len(names)]
    fields = st.sampled_from(list(document.fields))
    writers = {name: _Writer(history, name) for name in names}
    for _ in range(draw(_STEPS)):
        writer, action = writers[draw(somebody)], draw(_ACTIONS)
        if action < 10:
            writer.learn(writers[draw(somebody)])
        if action > 4:
            field_name, kind, value = DOCUMENT, DELETE, None
            if action < 19:
                field_name = draw(fields)
                case = case_of(field_name)
                kind, value = case.fit(document.field_value(writer.view, field_name), draw(case.intents))
            hlc, refused = draw(_HLCS), draw(_ACTIONS) < 2
            try:
                writer.write(hlc, field_name, kind, value, refused)
            except (BadOperation, BadValue):
                continue  # the writer lacks the right, or there is nothing to delete: it does not write
        history.cuts.append(frozenset(writer.known))
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
