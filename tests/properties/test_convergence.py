"""Same ops, same state: whatever the order, the number of deliveries, the grouping or the route.

Each law is a function of a sample; one sample of each document is asked all of them.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import Outcome
from tests.properties.cases import DOCUMENTS
from tests.properties.histories import Sample, deliver, samples


def same_ops_any_order_same_bytes(sample: Sample) -> None:
    document, one, other = sample.document, sample.history.fold(), sample.shuffled()
    assert document.encode(one) == document.encode(other)
    assert document.values(one) == document.values(other)
    assert document.exists(one) == document.exists(other)
    assert document.deleted(one) == document.deleted(other)
    assert document.conflicts(one) == document.conflicts(other)


def duplicates_and_gaps_change_nothing(sample: Sample) -> None:
    document, history = sample.document, sample.history
    mail = list(zip(history.ops, history.events, strict=True)) * 2
    Random(sample.seed).shuffle(mail)
    state = document.new()
    while mail:
        op, event = mail.pop(0)
        if state.vector.get(op.replica, 0) < op.seq and document.ready(state, op):
            deliver(document, state, op, event)
            continue
        before = document.encode(state)
        if state.vector.get(op.replica, 0) >= op.seq:
            assert document.apply(state, op).outcome is Outcome.DUPLICATE
        else:
            assert document.apply(state, op).outcome is Outcome.GAP
            mail.append((op, event))
        assert document.encode(state) == before
    assert document.encode(state) == document.encode(history.fold())


def join_agrees_with_apply(sample: Sample) -> None:
    document, history = sample.document, sample.history
    ours, theirs, _ = sample.cuts
    left, right = history.fold(ours), history.fold(theirs)
    before = document.encode(left), document.encode(right)
    joined = document.join(left, right)
    assert document.encode(joined) == document.encode(history.fold(ours | theirs))
    assert before == (document.encode(left), document.encode(right))


def join_commutes_associates_and_is_idempotent(sample: Sample) -> None:
    x, y, z = (sample.history.fold(cut) for cut in sample.cuts)
    join, encode = sample.document.join, sample.document.encode
    assert encode(join(x, y)) == encode(join(y, x))
    assert encode(join(join(x, y), z)) == encode(join(x, join(y, z)))
    assert encode(join(x, x)) == encode(x)
    assert encode(join(x, sample.document.new())) == encode(x)


def a_state_only_grows(sample: Sample) -> None:
    document, early, late = sample.document, sample.history.fold(sample.cuts[0]), sample.shuffled()
    assert document.encode(document.join(early, late)) == document.encode(late)


def a_stored_prefix_continues_like_a_live_one(sample: Sample) -> None:
    document, history, cut = sample.document, sample.history, sample.cuts[0]
    prefix = history.fold(cut)
    state = document.decode(document.encode(prefix))
    assert document.encode(state) == document.encode(prefix)
    assert document.values(state) == document.values(prefix)
    assert (document.exists(state), document.deleted(state)) == (document.exists(prefix), document.deleted(prefix))
    for op, event in history.delivery(history.everything - cut):
        deliver(document, state, op, event)
    whole = history.fold()
    assert document.encode(state) == document.encode(whole)
    assert document.values(state) == document.values(whole)
    assert document.conflicts(state) == document.conflicts(whole)


def a_copy_and_a_join_go_their_own_way(sample: Sample) -> None:
    document, history, cut = sample.document, sample.history, sample.cuts[0]
    state = history.fold(cut)
    before, copy, joined = document.encode(state), document.copy(state), document.join(state, document.new())
    assert document.encode(copy) == before
    for op, event in history.delivery(history.everything - cut):
        deliver(document, copy, op, event)
        deliver(document, joined, op, event)
    assert document.encode(state) == before
    assert document.encode(copy) == document.encode(joined) == document.encode(history.fold())


LAWS = [
    same_ops_any_order_same_bytes,
    duplicates_and_gaps_change_nothing,
    join_agrees_with_apply,
    join_commutes_associates_and_is_idempotent,
    a_state_only_grows,
    a_stored_prefix_continues_like_a_live_one,
    a_copy_and_a_join_go_their_own_way,
]


@pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@given(data=st.data())
def test_every_law_of_convergence_holds(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(samples(names))
    for law in LAWS:
        law(sample)
