"""Fields that are not declared (any more, or not yet) are carried along unread, and are there again when they are declared."""

from __future__ import annotations

import pytest

from driftlog_crdt import DELETE, DOCUMENT, Counter, DocumentState, DocumentType, Field, Op, Outcome, Register, Text
from driftlog_crdt.declared import DeletePolicy

FIELDS = {"count": Field(Counter()), "name": Field(Register()), "note": Field(Text())}
WHOLE = DocumentType("Thing", FIELDS)
LESS = DocumentType("Thing", {"count": FIELDS["count"]})


def written(kind: DocumentType = WHOLE) -> DocumentState:
    state = kind.new()
    for field, op, value in (("count", "increment", 3), ("name", "set", "tea"), ("note", "insert", [0, "greén"])):
        kind.apply(state, kind.prepare(state, "a", 1, field, op, value))  # type: ignore[arg-type]  # a plain value
    return state


def test_a_removal_is_undone_by_declaring_again() -> None:
    state = LESS.decode(WHOLE.encode(written()))
    LESS.apply(state, LESS.prepare(state, "b", 2, "count", "increment", 4))
    assert LESS.values(state) == {"count": 7}
    again = WHOLE.decode(LESS.encode(LESS.copy(state)))
    assert WHOLE.values(again) == {"count": 7, "name": "tea", "note": "greén"}


def test_carrying_changes_no_byte() -> None:
    data = WHOLE.encode(written())
    assert LESS.encode(LESS.decode(data)) == data
    assert LESS.decode(data).unread.keys() == {"name", "note"}


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_states_the_one_that_has_seen_more_gives_it(swapped: bool) -> None:
    early = written()
    late = WHOLE.copy(early)
    WHOLE.apply(late, WHOLE.prepare(late, "b", 2, "name", "set", "coffee"))
    sides = [LESS.decode(WHOLE.encode(state)) for state in (early, late)]
    joined = LESS.join(*(reversed(sides) if swapped else sides))
    assert WHOLE.values(WHOLE.decode(LESS.encode(joined)))["name"] == "coffee"


def test_what_a_later_state_no_longer_has_does_not_come_back() -> None:
    early = written()
    late = WHOLE.copy(early)
    WHOLE.apply(late, WHOLE.prepare(late, "b", 2, DOCUMENT, DELETE, None))
    for sides in ((early, late), (late, early)):
        joined = LESS.join(*(LESS.decode(WHOLE.encode(state)) for state in sides))
        assert (joined.unread, LESS.deleted(joined)) == ({}, True)


@pytest.mark.parametrize(("policy", "left"), [("delete-wins", set()), ("update-wins", {"name", "note"})])
def test_a_delete_that_wins_takes_it_too(policy: DeletePolicy, left: set[str]) -> None:
    whole, less = (DocumentType("Thing", dict(kind.fields), policy) for kind in (WHOLE, LESS))
    state = less.decode(whole.encode(written(whole)))
    less.apply(state, less.prepare(state, "b", 2, DOCUMENT, DELETE, None))
    assert state.unread.keys() == left


def test_an_op_of_such_a_field_counts_as_seen_and_does_nothing() -> None:
    state = LESS.new()
    assert LESS.apply(state, Op("a", 1, 1, "name", "set", "tea", {})).outcome is Outcome.NO_EFFECT
    assert LESS.apply(state, Op("a", 2, 1, "count", "increment", 1)).outcome is Outcome.APPLIED
    assert LESS.values(state) == {"count": 1}


def test_a_document_with_a_text_may_be_larger_by_default() -> None:
    assert (LESS.max_bytes, WHOLE.max_bytes) == (64 * 1024, 480 * 1024)
    assert DocumentType("Thing", FIELDS, max_bytes=1000).max_bytes == 1000
