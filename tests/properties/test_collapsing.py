"""A row of ops that nobody has seen, and the fewest that mean the same: whoever merges either shows the same, then and ever after.

A writer works on while others do, and now and then learns of them; its ops stay in its folder until the end. Then they are merged one by one into one
state and collapsed into another, beside what others wrote meanwhile; and somebody who has seen all goes on writing on both.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DELETE, DOCUMENT, BadOperation, BadValue, Collapsing, DocumentState, DocumentType, Op, Outcome
from tests.properties.cases import DOCUMENTS, case_of, document
from tests.properties.histories import Sample, deliver, samples, unfounded

WRITER, READER = "z", "y"
HOLDER = "a"
"""Of the rights in bounded counters."""


@dataclass(frozen=True)
class Row:
    """A history of others, and what the writer did beside it, in order, with the deletes that end its rows."""

    sample: Sample
    ops: list[Op]

    @property
    def collapsed(self) -> list[Op]:
        kind, result = self.sample.document, list[Op]()
        row = Collapsing(kind, 0)
        for op in self.ops:
            if not row.takes(op):
                result += [*row.ops(), op]
                row = Collapsing(kind, op.seq)
            else:
                row.add(op)
        return [*result, *row.ops()]


def drawn_op(draw: st.DrawFn, kind: DocumentType, view: DocumentState, replica: str) -> Op | None:
    field, change, value = DOCUMENT, DELETE, None
    if draw(st.integers(0, 11)) or not kind.exists(view):
        field = draw(st.sampled_from(list(kind.fields)))
        case = case_of(field)
        change, value = case.fit(kind.field_value(view, field), draw(case.intents))
    seq = view.vector.get(replica, 0)
    try:
        return kind.prepare(view, replica, draw(st.integers(0, 3)), field, change, value, seq)
    except (BadOperation, BadValue):
        return None


@st.composite
def rows(draw: st.DrawFn, names: list[str]) -> Row:
    sample = draw(samples(names))
    kind, view = sample.document, sample.document.new()
    left = list(zip(sample.history.ops, sample.history.events, strict=True))
    ops = []
    for _ in range(draw(st.integers(2, 12))):
        news = draw(st.integers(0, 2)) if draw(st.booleans()) else 0
        for other, event in left[:news]:
            deliver(kind, view, other, event)
        left = left[news:]
        op = drawn_op(draw, kind, view, WRITER)
        if op is not None:
            assert kind.apply(view, op).outcome in (Outcome.APPLIED, Outcome.NO_EFFECT)
            ops.append(op)
    return Row(sample, ops)


def merged(row: Row, ops: list[Op], order: Random) -> DocumentState:
    """Everything, in an order that dots and contexts allow."""
    kind, state = row.sample.document, row.sample.document.new()
    others, own = row.sample.history.delivery(row.sample.history.everything, order), list(ops)
    while others or own:
        if own and kind.ready(state, own[0]) and (not others or order.random() < 0.5):
            op = own.pop(0)
            kind.check(op)
            assert unfounded(kind, state, op) is None, op
            assert kind.apply(state, op).outcome in (Outcome.APPLIED, Outcome.NO_EFFECT)
        else:
            deliver(kind, state, *others.pop(0))
    return state


def shown(kind: DocumentType, state: DocumentState) -> Any:
    conflicts = [(c.field, c.key, [w[:4] for w in c.writes]) for c in kind.conflicts(state)]
    return kind.values(state), kind.exists(state), kind.deleted(state), conflicts, dict(state.vector)


@pytest.mark.parametrize("name", DOCUMENTS)
@given(data=st.data())
def test_collapsed_ops_mean_what_all_of_them_mean(name: str, data: st.DataObject) -> None:
    row = data.draw(rows(DOCUMENTS[name]))
    kind, collapsed = row.sample.document, row.collapsed
    assert sum(op.span for op in collapsed) == len(row.ops), "dots are as dense as ever"
    full = merged(row, row.ops, Random(1))
    few = merged(row, collapsed, Random(data.draw(st.integers(0, 99))))
    assert shown(kind, full) == shown(kind, few)
    for _ in range(3):
        op = drawn_op(data.draw, kind, full, READER)
        if op is not None:
            for state in (full, few):
                assert kind.apply(state, op).outcome in (Outcome.APPLIED, Outcome.NO_EFFECT)
    assert shown(kind, full) == shown(kind, few)
    joined = kind.join(row.sample.history.fold(), few)
    assert kind.encode(joined) == kind.encode(kind.join(few, joined))


FEWEST = [
    ("counter", [("increment", 1)] * 1000, [(1000, 1000, "increment", 1000)]),
    ("counter", [("increment", 2), ("decrement", 1)] * 3, [(5, 5, "increment", 6), (6, 1, "decrement", 3)]),
    (
        "bounded_counter",
        [("increment", 2)] * 3 + [("decrement", 1)] * 2,
        [(3, 3, "increment", 6), (5, 2, "decrement", 2)],
    ),
    ("register", [("set", n) for n in range(5)], [(5, 5, "set", 4)]),
    ("enable_wins_flag", [("enable", None), ("disable", None)], [(2, 2, "disable", None)]),
    ("add_wins_set", [("add", "x"), ("add", "y"), ("remove", "x")], [(2, 2, "add", "y"), (3, 1, "remove", "x")]),
    ("add_wins_set", [("add", "x"), ("remove", "x")] * 4 + [("add", "x")], [(8, 8, "remove", "x"), (9, 1, "add", "x")]),
    ("remove_wins_set", [("add", "x"), ("remove", "x")] * 4, [(8, 8, "remove", "x")]),
    ("max", [("raise", 7), ("raise", 5)], [(2, 2, "raise", 7)]),
    (
        "map_of_counters",
        [("increment", ["k", 1]), ("increment", ["l", 1])] * 2,
        [(3, 3, "increment", ["k", 2]), (4, 1, "increment", ["l", 2])],
    ),
    ("text", [("insert", [0, "a"]), ("insert", [1, "b"])], None),
]
"""field, changes, and what is left of them: (seq, span, kind, value); None: all of them."""


@pytest.mark.parametrize(("name", "changes", "left"), FEWEST, ids=[f"{name} {len(c)}" for name, c, _ in FEWEST])
def test_they_are_as_few_as_they_can_be(name: str, changes: list[tuple[str, Any]], left: list[Any] | None) -> None:
    kind = document([name])
    view, row = kind.new(), Collapsing(kind, 0)
    for change, value in changes:
        op = kind.prepare(view, "a", 1, name, change, value, view.vector.get("a", 0))
        kind.apply(view, op)
        row.add(op)
    ops = [(op.seq, op.span, op.kind, op.value) for op in row.ops()]
    if left is None:
        assert [(seq, span) for seq, span, _, _ in ops] == [(n, 1) for n in range(1, len(changes) + 1)]
    else:
        assert ops == left


def test_no_context_grows_what_others_did_in_between_keeps_the_ops_apart() -> None:
    """Where somebody has deleted, an op says what its writer had seen: two that say different things are two."""
    kind = document(["counter"])
    view, row = kind.new(), Collapsing(kind, 0)
    kind.apply(view, kind.prepare(view, "b", 1, "counter", "increment", 1))
    for step in range(4):
        if step == 2:
            kind.apply(view, kind.prepare(view, "b", 1, DOCUMENT, DELETE, None))
        op = kind.prepare(view, WRITER, 1, "counter", "increment", 1, view.vector.get(WRITER, 0))
        kind.apply(view, op)
        row.add(op)
    assert [(op.seq, op.span, op.value, op.context) for op in row.ops()] == [(2, 2, 2, None), (4, 2, 2, {"b": 2})]


def test_a_refused_row_is_refused_whole_and_what_stood_on_it_knows() -> None:
    kind = document(["bounded_counter"])
    state, view, row = kind.new(), kind.new(), Collapsing(kind, 0)
    for _ in range(3):
        op = kind.prepare(view, HOLDER, 1, "bounded_counter", "increment", 5, view.vector.get(HOLDER, 0))
        kind.apply(view, op)
        row.add(op)
    (one,) = row.ops()
    kind.see(state, one)
    assert state.vector == {HOLDER: 3}
    assert kind.apply(state, one).outcome is Outcome.DUPLICATE
    assert kind.builds_on_refused(state, kind.prepare(view, HOLDER, 1, "bounded_counter", "decrement", 7, 3))


def test_of_a_row_that_was_merged_in_part_only_the_rest_is_refused() -> None:
    kind = document(["counter"])
    state = kind.new()
    kind.apply(state, Op(WRITER, 2, 1, "counter", "increment", 2, span=2))
    half = Op(WRITER, 5, 1, "counter", "increment", 4, span=4)
    before = kind.encode(state)
    assert kind.apply(state, half).outcome is Outcome.GAP, "it cannot be merged: a part of it would count twice"
    assert kind.encode(state) == before
    kind.see(state, half)
    assert (kind.values(state), state.vector, state.refused[WRITER][0][:2]) == ({"counter": 2}, {WRITER: 5}, (3, 5))


@pytest.mark.parametrize(("seq", "span"), [(3, 4), (3, 0), (3, -1)])
def test_an_op_takes_dots_that_there_are(seq: int, span: int) -> None:
    with pytest.raises(BadOperation, match="dots"):
        document(["counter"]).check(Op(WRITER, seq, 1, "counter", "increment", 1, span=span))
