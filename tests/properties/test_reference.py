"""The value of every field, the presence of every document and every conflict are what the partial order says."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DELETE, DOCUMENT, Conflict, DocumentState, DocumentType, Outcome, Place, differ
from tests.properties.cases import DOCUMENTS, case_of
from tests.properties.histories import History, Sample, deliver, samples
from tests.reference_model import founding
from tests.reference_model.fields import Past, conflicts, record
from tests.reference_model.history import Dot, Event, surviving, text


def values_are_those_of_the_partial_order(sample: Sample) -> None:
    _assert_values(sample.history, sample.cuts[0], sample.history.fold(sample.cuts[0]))
    _assert_values(sample.history, sample.history.everything, sample.shuffled())


def _assert_values(history: History, cut: frozenset[Dot], state: DocumentState) -> None:
    document = history.document
    if document.unit == "record":
        start = dict.fromkeys(document.fields, "none")
        assert document.values(state) == record(start)(*_records(history, cut))
        return
    for name in document.fields:
        answer = case_of(name).value
        if answer is not None:
            expected = answer(_alive(history, name, cut), lambda e, name=name: _alive(history, name, e.past))
            assert text(document.field_value(state, name)) == text(expected), name


def a_document_exists_while_an_op_has_an_effect(sample: Sample) -> None:
    document, history = sample.document, sample.history
    for cut in (sample.cuts[0], history.everything):
        state, events = history.fold(cut), history.within(cut)
        alive = surviving(events, document.on_delete)
        assert document.exists(state) == bool(alive)
        was_deleted = any(e.kind == "delete" and e.field == DOCUMENT and not e.refused for e in events)
        assert document.deleted(state) == (was_deleted and not alive)


def conflicts_open_and_close_as_the_partial_order_says(sample: Sample) -> None:
    document, history = sample.document, sample.history
    state = document.new()
    after: dict[Place, Conflict] = {}
    done: set[Dot] = set()
    for op, event in history.delivery(history.everything, Random(sample.seed)):
        applied = deliver(document, state, op, event)
        done.add(event.dot)
        before = after
        after = {Place(conflict.field, conflict.key): conflict for conflict in document.conflicts(state)}
        if applied is not None:
            assert applied.ended == tuple(before[place] for place in sorted(before.keys() - after.keys()))
            assert (
                {place for place in after if after[place] != before.get(place)}
                <= set(applied.contested)
                <= after.keys()
            )
        else:
            assert after == before
        assert _pairs(document, state) == expected_conflicts(history, frozenset(done))


def what_was_built_on_a_refused_op_is_refused(sample: Sample) -> None:
    document, history = sample.document, sample.history
    for event in history.events:
        founded = _founded(document, event)
        if event.refused == "guard" or founded is None:
            continue
        stands = not event.believed or founded(event, _alive(history, event.field, event.past))
        assert event.refused == (None if stands else "builds_on_refused")


def _founded(document: DocumentType, event: Event) -> founding.Founded | None:
    if event.field == DOCUMENT:
        says_what_it_saw = {"counter", "grow_counter", "map_of_counters", "text", "list"}
        fields = {name.partition("#")[0] for name in document.fields}
        return founding.never if document.on_delete == "update-wins" and says_what_it_saw & fields else founding.always
    return founding.never if document.unit == "record" else case_of(event.field).founded


def an_op_without_effect_is_told(sample: Sample) -> None:
    document, history = sample.document, sample.history
    state = document.new()
    done: set[Dot] = set()
    for op, event in history.delivery(history.everything, Random(sample.seed)):
        applied = deliver(document, state, op, event)
        done.add(event.dot)
        if applied is None:
            continue
        alive = (event.field, event.kind) == (DOCUMENT, DELETE) or event in surviving(
            history.within(frozenset(done)), document.on_delete
        )
        assert applied.outcome is (Outcome.APPLIED if alive else Outcome.NO_EFFECT)


@pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@given(data=st.data())
def test_the_algebra_says_what_the_reference_model_says(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(samples(names))
    values_are_those_of_the_partial_order(sample)
    a_document_exists_while_an_op_has_an_effect(sample)
    conflicts_open_and_close_as_the_partial_order_says(sample)
    what_was_built_on_a_refused_op_is_refused(sample)
    an_op_without_effect_is_told(sample)


def _alive(history: History, name: str, cut: frozenset[Dot]) -> list[Event]:
    return [e for e in surviving(history.within(cut), history.document.on_delete) if e.field == name]


def _records(history: History, cut: frozenset[Dot]) -> tuple[list[Event], Past]:
    policy = history.document.on_delete
    return surviving(history.within(cut), policy), lambda e: surviving(history.within(e.past), policy)


def expected_conflicts(history: History, cut: frozenset[Dot]) -> set[frozenset[Dot]]:
    found: set[frozenset[Dot]] = set()
    if history.document.unit == "record":
        alive, past = _records(history, cut)
        start = dict.fromkeys(history.document.fields, "none")
        return conflicts([replace(e, value={**record(start)(past(e), past), e.field: e.value}) for e in alive])
    for name, declared in history.document.fields.items():
        if declared.type.conflicting:
            found |= case_of(name).conflicts(_alive(history, name, cut))
    return found


def _pairs(document: DocumentType, state: DocumentState) -> set[frozenset[Dot]]:
    """All pairs of differing writes in the conflicts that the document lists; and what it lists must hold together."""
    pairs: set[frozenset[Dot]] = set()
    for conflict in document.conflicts(state):
        merge = document.merge_type(conflict.field)
        assert list(conflict.writes) == sorted(conflict.writes, key=merge.rank, reverse=True)
        assert document.conflict_at(state, Place(conflict.field, conflict.key)) == conflict
        found = {
            frozenset({x[:2], y[:2]}) for x in conflict.writes for y in conflict.writes if differ(x.value, y.value)
        }
        assert found
        pairs |= found
    return pairs
