"""Pruning forgets what no writer needs any more: nobody can tell a pruned state by its values, now or later."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DocumentState, DocumentType
from tests.properties.cases import DOCUMENTS, document, documents
from tests.properties.histories import deliver, histories

every_document = pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())


@every_document
@given(data=st.data())
def test_a_pruned_state_goes_on_like_the_whole_one(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(documents(names))
    before = data.draw(histories(sample))
    whole = before.fold()
    floor = dict(whole.vector)  # everybody has seen everything so far
    pruned = sample.copy(whole)
    sample.prune(pruned, floor)
    assert sample.values(pruned) == sample.values(whole)
    after = data.draw(histories(sample, start=before))
    done = before.everything
    for op, event in after.delivery(after.everything - done):
        deliver(sample, whole, op, event)
        deliver(sample, pruned, op, event)
        assert sample.values(pruned) == sample.values(whole)
        assert sample.exists(pruned) == sample.exists(whole)
        again = sample.decode(sample.encode(pruned))
        assert sample.values(again) == sample.values(whole)


@every_document
@given(data=st.data())
def test_a_pruned_state_joins_like_the_whole_one(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(documents(names))
    before = data.draw(histories(sample))
    after = data.draw(histories(sample, start=before))
    later = data.draw(st.sampled_from([cut for cut in after.cuts if before.everything <= cut]))
    pruned = before.fold()
    sample.prune(pruned, dict(pruned.vector))
    for op, event in after.delivery(later - before.everything):
        deliver(sample, pruned, op, event)
    whole = after.fold()
    for joined in (sample.join(pruned, whole), sample.join(whole, pruned)):
        assert sample.values(joined) == sample.values(whole)
        assert sample.exists(joined) == sample.exists(whole)


@every_document
@given(data=st.data())
def test_nothing_is_pruned_that_somebody_has_not_seen(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(documents(names))
    history = data.draw(histories(sample))
    state = history.fold()
    before = sample.encode(state)
    sample.prune(state, {})
    assert sample.encode(state) == before


def test_a_pruned_tombstone_keeps_out_whoever_never_saw_a_delete(stock: DocumentType) -> None:
    state = stock.new()
    _write(stock, state, "a", "increment", 5)
    unaware = stock.prepare(state, "b", 2, "counter", "increment", 1)
    stock.apply(state, stock.prepare(state, "a", 3, "", "delete", None))
    stock.prune(state, dict(state.vector))
    stock.apply(state, unaware)
    assert not stock.exists(state)
    assert stock.deleted(state)
    assert stock.values(state) == {"counter": 0}


def _write(document: DocumentType, state: DocumentState, replica: str, kind: str, value: int) -> None:
    document.apply(state, document.prepare(state, replica, 1, "counter", kind, value))


@pytest.fixture
def stock() -> DocumentType:
    return document(["counter"])
