"""What was deleted or removed leaves no bytes behind, except where an op still on its way could need them.

And pruning forgets those when no such op is left: nobody can tell a pruned state by its values, now or later.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DELETE, DOCUMENT, BadOperation, DocumentState, DocumentType, Field
from tests.properties.cases import CASES, DOCUMENTS, document, documents
from tests.properties.encodings import assembled, parts
from tests.properties.histories import History, deliver, histories, samples
from tests.reference_model.history import Dot

REMEMBERS = {"counter", "grow_counter", "map_of_counters", "text", "list"}
"""Counters keep the sums that were erased, sequences the places of what was erased: later ops count from there."""


def stored_fields(document: DocumentType, state: DocumentState) -> dict[str, Any]:
    plain, _ = parts(document.encode(state))
    fields: dict[str, Any] = plain[1]["fields"]
    return fields


@pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@given(data=st.data())
def test_nobody_can_tell_a_pruned_state_by_its_values(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(documents(names))
    before = data.draw(histories(sample))
    after = data.draw(histories(sample, start=before))
    later = data.draw(st.sampled_from([cut for cut in after.cuts if before.everything <= cut]))
    a_delete_by_somebody_who_saw_everything_leaves_vector_and_grave(before)
    nothing_is_pruned_that_somebody_has_not_seen(before)
    a_pruned_state_goes_on_like_the_whole_one(before, after)
    a_pruned_state_joins_like_the_whole_one(before, after, later)


def a_delete_by_somebody_who_saw_everything_leaves_vector_and_grave(history: History) -> None:
    document, state = history.document, history.fold()
    delete = document.prepare(state, "a", 9, DOCUMENT, DELETE, None)
    document.apply(state, delete)
    assert document.values(state) == document.values(document.new())
    assert not document.exists(state)
    assert document.conflicts(state) == []
    left = stored_fields(document, state)
    if document.on_delete == "delete-wins":
        assert left == {}
    else:
        assert {name.partition("#")[0] for name in left} <= REMEMBERS
    document.prune(state, dict(state.vector))
    again = document.decode(document.encode(state))
    assert (document.exists(again), document.deleted(again)) == (False, True)


def nothing_is_pruned_that_somebody_has_not_seen(history: History) -> None:
    sample, state = history.document, history.fold()
    before = sample.encode(state)
    sample.prune(state, {})
    assert sample.encode(state) == before


def a_pruned_state_goes_on_like_the_whole_one(before: History, after: History) -> None:
    """The floor is the whole vector: everybody has seen everything so far."""
    sample, whole = before.document, before.fold()
    pruned = sample.copy(whole)
    sample.prune(pruned, dict(whole.vector))
    assert sample.values(pruned) == sample.values(whole)
    for op, event in after.delivery(after.everything - before.everything):
        deliver(sample, whole, op, event)
        deliver(sample, pruned, op, event)
        assert sample.values(pruned) == sample.values(whole)
        assert sample.exists(pruned) == sample.exists(whole)
    again = sample.decode(sample.encode(pruned))
    assert sample.values(again) == sample.values(whole)
    assert sample.encode(again) == sample.encode(pruned)


def a_pruned_state_joins_like_the_whole_one(before: History, after: History, later: frozenset[Dot]) -> None:
    sample, pruned = before.document, before.fold()
    sample.prune(pruned, dict(pruned.vector))
    for op, event in after.delivery(later - before.everything):
        deliver(sample, pruned, op, event)
    whole = after.fold()
    for joined in (sample.join(pruned, whole), sample.join(whole, pruned)):
        assert sample.values(joined) == sample.values(whole)
        assert sample.exists(joined) == sample.exists(whole)


def test_a_pruned_tombstone_keeps_out_whoever_never_saw_a_delete() -> None:
    stock = document(["counter"])
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


@pytest.mark.parametrize("name", [name for name in CASES if "remove" in CASES[name].type.kinds])
@given(data=st.data())
def test_removing_all_that_is_in_leaves_only_what_a_late_add_must_meet(name: str, data: st.DataObject) -> None:
    sample = data.draw(samples([name]))
    document, state = sample.document, sample.history.fold()
    for element in list(document.field_value(state, name)):  # type: ignore[arg-type]  # a list or a dict of keys
        document.apply(state, document.prepare(state, "b", 1, name, "remove", element))
    assert document.values(state) == document.values(document.new())
    document.prune(state, dict(state.vector))
    assert set(stored_fields(document, state)) <= REMEMBERS


@pytest.mark.parametrize("name", CASES)
def test_a_field_that_nobody_touched_takes_no_bytes(name: str) -> None:
    document = DocumentType("Sample", {name: Field(CASES[name].type)})
    state = document.new()
    kind = CASES[name].type
    assert kind.is_new(kind.new())
    assert kind.is_empty(kind.new())
    state.fields[name] = kind.new()
    assert document.encode(state) == document.encode(document.new()) == assembled("{}", '{"fields":{}}')


@pytest.mark.parametrize("name", ["map_of_counters", "map_of_registers"])
def test_a_remove_of_what_is_removed_already_carries_nothing(name: str) -> None:
    document = DocumentType("Sample", {"map": Field(CASES[name].type)})
    state = document.new()
    kind = "increment" if name == "map_of_counters" else "set"
    document.apply(state, document.prepare(state, "a", 1, "map", kind, ["k", 1]))
    document.apply(state, document.prepare(state, "a", 1, "map", "remove", "k"))
    assert document.prepare(state, "a", 1, "map", "remove", "k").value == ["k", None]
    assert document.prepare(state, "a", 1, "map", "remove", "l").value == ["l", None]


def test_a_key_that_a_remove_never_saw_is_not_taken() -> None:
    document = DocumentType("Sample", {"map": Field(CASES["map_of_registers"].type)})
    state = document.new()
    remove = document.prepare(state, "b", 1, "map", "remove", "k")
    document.apply(state, document.prepare(state, "a", 1, "map", "set", ["k", 1]))
    document.apply(state, remove)
    assert document.values(state) == {"map": {"k": 1}}


def test_an_erase_of_a_bounded_counter_is_refused_where_it_is_declared() -> None:
    counter = CASES["bounded_counter"].type
    with pytest.raises(NotImplementedError, match="bounded_counter cannot be erased in part"):
        counter.erase(counter.new(), {}, None)
    with pytest.raises(BadOperation):
        document = DocumentType("Sample", {"n": Field(counter)})
        document.check(document.prepare(document.new(), "a", 0, "n", "remove", "x"))
