"""Same ops, same state: whatever the order, the number of deliveries, the grouping or the route."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import Outcome
from tests.properties.cases import DOCUMENTS, documents
from tests.properties.histories import deliver, histories, histories_with_cuts

every_document = pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())


@every_document
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_same_ops_any_order_same_bytes(names: list[str], data: st.DataObject, seed: int) -> None:
    document = data.draw(documents(names))
    history = data.draw(histories(document))
    one, other = history.fold(), history.fold(order=Random(seed))
    assert document.encode(one) == document.encode(other)
    assert document.values(one) == document.values(other)
    assert document.exists(one) == document.exists(other)
    assert document.deleted(one) == document.deleted(other)


@every_document
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_any_delivery_with_duplicates_and_gaps_ends_the_same(names: list[str], data: st.DataObject, seed: int) -> None:
    document = data.draw(documents(names))
    history = data.draw(histories(document))
    random = Random(seed)
    mail = list(zip(history.ops, history.events, strict=True)) * 2
    random.shuffle(mail)
    state = document.new()
    while mail:
        op, event = mail.pop(0)
        before = document.encode(state)
        if state.vector.get(op.replica, 0) >= op.seq:
            assert document.apply(state, op).outcome is Outcome.DUPLICATE
        elif document.ready(state, op):
            deliver(document, state, op, event)
            continue
        else:
            assert document.apply(state, op).outcome is Outcome.GAP
            mail.append((op, event))
        assert document.encode(state) == before
    assert document.encode(state) == document.encode(history.fold())


@every_document
@given(data=st.data())
def test_join_agrees_with_apply(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    history, (ours, theirs) = data.draw(histories_with_cuts(document, 2))
    left, right = history.fold(ours), history.fold(theirs)
    before = document.encode(left), document.encode(right)
    joined = document.join(left, right)
    assert document.encode(joined) == document.encode(history.fold(ours | theirs))
    assert before == (document.encode(left), document.encode(right))


@every_document
@given(data=st.data())
def test_join_commutes_associates_and_is_idempotent(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    history, cuts = data.draw(histories_with_cuts(document, 3))
    x, y, z = (history.fold(cut) for cut in cuts)
    join, encode = document.join, document.encode
    assert encode(join(x, y)) == encode(join(y, x))
    assert encode(join(join(x, y), z)) == encode(join(x, join(y, z)))
    assert encode(join(x, x)) == encode(x)
    assert encode(join(x, document.new())) == encode(x)


@every_document
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_a_state_only_grows(names: list[str], data: st.DataObject, seed: int) -> None:
    document = data.draw(documents(names))
    history, (cut,) = data.draw(histories_with_cuts(document, 1))
    early, late = history.fold(cut), history.fold(order=Random(seed))
    assert document.encode(document.join(early, late)) == document.encode(late)


@every_document
@given(data=st.data())
def test_a_stored_prefix_continues_like_a_live_one(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    history, (cut,) = data.draw(histories_with_cuts(document, 1))
    state = document.decode(document.encode(history.fold(cut)))
    for op, event in history.delivery(history.everything - cut):
        deliver(document, state, op, event)
    assert document.encode(state) == document.encode(history.fold())
    assert document.values(state) == document.values(history.fold())
    assert document.conflicts(state) == document.conflicts(history.fold())


@every_document
@given(data=st.data())
def test_encoding_round_trip(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    history, (cut,) = data.draw(histories_with_cuts(document, 1))
    state = history.fold(cut)
    again = document.decode(document.encode(state))
    assert document.encode(again) == document.encode(state)
    assert document.values(again) == document.values(state)
    assert (document.exists(again), document.deleted(again)) == (document.exists(state), document.deleted(state))


@every_document
@given(data=st.data())
def test_a_copy_goes_its_own_way(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    history, (cut,) = data.draw(histories_with_cuts(document, 1))
    state = history.fold(cut)
    before, copy = document.encode(state), document.copy(state)
    assert document.encode(copy) == before
    for op, event in history.delivery(history.everything - cut):
        deliver(document, copy, op, event)
    assert document.encode(state) == before
