"""Edits of a text and a list that a new life takes over from an old one mean the same under its name."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DocumentState, DocumentType, Field, List, Outcome, Text

OLD, NEW, OTHER = "a.old", "a.new", "b.one"
NOTE = DocumentType("Note", {"body": Field(Text()), "steps": Field(List())})
edits = st.lists(
    st.tuples(st.sampled_from(("body", "steps")), st.booleans(), st.integers(0, 40), st.integers(1, 3)), max_size=8
)


def edit(state: DocumentState, replica: str, field: str, insert: bool, at: int, size: int) -> Any:
    """One more edit of this replica, applied; None where there is nothing to delete."""
    length = len(NOTE.values(state)[field])  # type: ignore[arg-type]  # a text or a list
    if insert or not length:
        run: Any = "xyz"[:size] + "ü" * (at % 2) if field == "body" else [at, {"n": size}][: 1 + size % 2]
        value = [at % (length + 1), run]
    else:
        size = min(size, length)
        value = [at % (length - size + 1), size]
    op = NOTE.prepare(state, replica, 0, field, "insert" if insert or not length else "delete", value)
    assert NOTE.apply(state, op).outcome is Outcome.APPLIED
    return op


@given(settled=edits, others=edits, taken=edits)
def test_what_a_new_life_takes_over_gives_the_same_document(
    settled: list[Any], others: list[Any], taken: list[Any]
) -> None:
    state = NOTE.new()
    for made in settled:
        edit(state, OLD, *made)
    for made in others:
        edit(state, OTHER, *made)
    promised, renewed = NOTE.copy(state), NOTE.copy(state)
    ops = [edit(promised, OLD, *made) for made in taken]

    since: dict[str, int] = {}
    for seq, op in enumerate(ops, 1):
        context = {**op.context, **({OLD: state.vector[OLD]} if OLD in state.vector else {})}
        taken_over = NOTE.renamed(op, NEW, since)._replace(seq=seq, context=context)
        NOTE.check(taken_over)
        assert NOTE.apply(renewed, taken_over).outcome is Outcome.APPLIED

    assert NOTE.values(renewed) == NOTE.values(promised)
    assert NOTE.decode(NOTE.encode(renewed)).vector == renewed.vector
