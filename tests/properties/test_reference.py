"""The value of every field, the presence of every document and every conflict are what the partial order says."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DOCUMENT, Conflict, DocumentState, DocumentType, FieldType, differ
from driftlog_crdt.record import Record
from tests.properties.cases import CASES, DOCUMENTS, case_of, documents
from tests.properties.histories import History, deliver, histories, histories_with_cuts
from tests.reference_model.fields import Past, conflicts, record
from tests.reference_model.history import Dot, Event, surviving, text

every_document = pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())


@every_document
@given(data=st.data())
def test_values_are_those_of_the_partial_order(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    history, (cut,) = data.draw(histories_with_cuts(document, 1))
    state = history.fold(cut)
    if document.unit == "record":
        start = dict.fromkeys(document.fields, "none")
        assert document.values(state) == record(start)(*_records(history, cut))
        return
    for name in document.fields:
        answer = CASES[name].value
        if answer is not None:
            expected = answer(_alive(history, name, cut), lambda e, name=name: _alive(history, name, e.past))
            assert text(document.field_value(state, name)) == text(expected), name


@every_document
@given(data=st.data())
def test_a_document_exists_while_an_op_has_an_effect(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    history, (cut,) = data.draw(histories_with_cuts(document, 1))
    state = history.fold(cut)
    events = history.within(cut)
    alive = surviving(events, document.on_delete)
    assert document.exists(state) == bool(alive)
    was_deleted = any(e.kind == "delete" and not e.refused for e in events)
    assert document.deleted(state) == (was_deleted and not alive)


def _alive(history: History, name: str, cut: frozenset[Dot]) -> list[Event]:
    return [e for e in surviving(history.within(cut), history.document.on_delete) if e.field == name]


def _records(history: History, cut: frozenset[Dot]) -> tuple[list[Event], Past]:
    policy = history.document.on_delete
    return surviving(history.within(cut), policy), lambda e: surviving(history.within(e.past), policy)


WITH_CONFLICTS = {
    case: names for case, names in DOCUMENTS.items() if any(case_of(name).type.conflicting for name in names)
}


@pytest.mark.parametrize("names", WITH_CONFLICTS.values(), ids=WITH_CONFLICTS.keys())
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_conflicts_are_those_of_the_partial_order(names: list[str], data: st.DataObject, seed: int) -> None:
    document = data.draw(documents(names))
    history = data.draw(histories(document, replicas=6))
    state = document.new()
    open_now: set[frozenset[Dot]] = set()
    done: set[Dot] = set()
    for op, event in history.delivery(history.everything, Random(seed)):
        applied = deliver(document, state, op, event)
        done.add(event.dot)
        expected = _expected(history, frozenset(done))
        if applied is not None:
            opened = {frozenset({event.dot, write[:2]}) for write in applied.beside}
            closed = {frozenset({pair.first[:2], pair.second[:2]}) for pair in applied.closed}
            assert opened == expected - open_now
            assert closed == open_now - expected
        open_now = expected
        assert _standing(document, state) == expected


def _expected(history: History, cut: frozenset[Dot]) -> set[frozenset[Dot]]:
    found: set[frozenset[Dot]] = set()
    if history.document.unit == "record":
        alive, past = _records(history, cut)
        start = dict.fromkeys(history.document.fields, "none")
        return conflicts([replace(e, value={**record(start)(past(e), past), e.field: e.value}) for e in alive])
    for name, declared in history.document.fields.items():
        if declared.type.conflicting:
            found |= CASES[name].conflicts(_alive(history, name, cut))
    return found


def _standing(document: DocumentType, state: DocumentState) -> set[frozenset[Dot]]:
    """All pairs in conflict, from what the document lists; and what it lists must hold together."""
    pairs: set[frozenset[Dot]] = set()
    listed = []
    for name, stored in state.fields.items():
        for key, winner, writes in _merge(document, name).siblings(stored):
            found = {frozenset({x[:2], y[:2]}) for x in writes for y in writes if differ(x.value, y.value)}
            if found:
                listed.append((name, key, winner, tuple(w for w in writes if differ(w.value, winner.value))))
            pairs |= found
    assert sorted(map(repr, document.conflicts(state))) == sorted(repr(Conflict(*one)) for one in listed)
    return pairs


def _merge(document: DocumentType, name: str) -> FieldType[Any]:
    return Record() if name == DOCUMENT else document.fields[name].type
