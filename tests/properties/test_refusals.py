"""A refused op has no effect, and is remembered just as long as its writer may not know of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from driftlog_crdt import Counter, DocumentState, DocumentType, Field, Map, Max, Op, Register
from driftlog_crdt.refusals import MAX_RUNS
from tests.properties.encodings import assembled, of_field, parts
from tests.properties.histories import Sample, deliver, samples

COUNTED = DocumentType("Counted", {"n": Field(Counter()), "peak": Field(Max())})
SHELF = DocumentType("Shelf", {"bins": Field(Map(Counter())), "n": Field(Counter())}, "update-wins")


def count(seq: int, unsure: int = 0, amount: int = 1) -> Op:
    return Op("a", seq, 0, "n", "increment", amount, None, unsure)


def remembered(state: DocumentState) -> Any:
    plain, _ = parts(COUNTED.encode(state))
    return plain[1].get("refused", {})


def test_refused_ops_are_remembered_until_their_writer_knows() -> None:
    state = COUNTED.new()
    COUNTED.see(state, count(1))
    COUNTED.see(state, count(2, unsure=1))
    assert remembered(state) == {"a": [[1, 2, False]]}
    COUNTED.apply(state, count(3, unsure=2))
    COUNTED.see(state, count(4, unsure=3))
    assert remembered(state) == {"a": [[1, 2, False], [4, 4, False]]}
    COUNTED.apply(state, count(5, unsure=3))
    assert remembered(state) == {"a": [[2, 2, False], [4, 4, False]]}
    COUNTED.apply(state, count(6))
    assert remembered(state) == {}
    assert COUNTED.values(state) == {"n": 3, "peak": None}


def test_an_op_is_unsure_of_no_more_than_it_says() -> None:
    bins = DocumentType("Bins", {"bins": Field(Map(Counter()))})
    state = bins.new()
    bins.see(state, Op("a", 1, 0, "bins", "increment", ["k", 1]))
    bins.apply(state, Op("a", 2, 0, "bins", "increment", ["k", 1], None, 1))
    remove = Op("a", 3, 0, "bins", "remove", ["k", None], {})
    assert [bins.builds_on_refused(state, remove._replace(unsure=unsure)) for unsure in (0, 1, 2)] == [
        False,
        False,
        True,
    ]
    assert not bins.builds_on_refused(state, remove._replace(replica="b", seq=1, unsure=0))


def test_the_memory_of_one_writer_is_bounded_and_errs_towards_a_second_try() -> None:
    state = COUNTED.new()
    for seq in range(1, 4 * MAX_RUNS, 2):
        COUNTED.see(state, count(seq, unsure=seq - 1))
        COUNTED.apply(state, count(seq + 1, unsure=seq))
    runs = remembered(state)["a"]
    assert len(runs) == MAX_RUNS
    assert runs[0][0] == 1
    assert COUNTED.decode(COUNTED.encode(state)).refused == state.refused


def test_what_everybody_has_seen_is_forgotten() -> None:
    state = COUNTED.new()
    for seq in (1, 2, 3):
        COUNTED.see(state, count(seq, unsure=seq - 1))
    COUNTED.prune(state, {"a": 2})
    assert remembered(state) == {"a": [[3, 3, False]]}
    whole = COUNTED.new()
    for seq in (1, 2, 3):
        COUNTED.see(whole, count(seq, unsure=seq - 1))
    assert remembered(COUNTED.join(whole, state)) == remembered(COUNTED.join(state, whole)) == {"a": [[3, 3, False]]}


@pytest.mark.parametrize(
    "refused",
    [
        [],
        {"a": []},
        {"a": [[1, 2]]},
        {"a": [[1, 2, 0]]},
        {"a": [[2, 1, False]]},
        {"a": [[0, 1, False]]},
        {"a": [[1, 2, False], [2, 4, False]]},
        {"a": [[3, 4, False], [1, 1, False]]},
        {"a": [[1, True, False]]},
        {"a": 5},
        {"a": [5]},
    ],
)
def test_a_memory_that_nobody_wrote_is_refused(refused: Any) -> None:
    with pytest.raises(ValueError, match="refused"):
        COUNTED.decode(assembled('{"a":9}', json.dumps({"fields": {}, "refused": refused})))


def test_a_claim_takes_no_more_than_is_held() -> None:
    """A forged remove says that its writer saw 995 of what was never counted."""
    state = SHELF.new()
    SHELF.apply(state, Op("b", 1, 0, "bins", "increment", ["k", 5]))
    SHELF.apply(state, Op("a", 1, 0, "bins", "remove", ["k", {"b": [995, 0], "c": [995, 0]}], {"b": 1}))
    SHELF.apply(state, Op("b", 2, 0, "bins", "increment", ["k", 3]))
    SHELF.apply(state, Op("c", 1, 0, "bins", "increment", ["k", 4]))
    assert SHELF.values(state) == {"bins": {"k": 7}, "n": 0}
    SHELF.apply(state, Op("a", 2, 0, "", "delete", {"n": {"b": [7, 7]}}, {"b": 2, "c": 1}))
    SHELF.apply(state, Op("b", 3, 0, "n", "increment", 1))
    assert SHELF.values(state)["n"] == 1


def test_a_counter_from_which_more_was_erased_than_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="more was erased than counted"):
        COUNTED.decode(of_field("n", {"a": [5, 0, 6, 0]}))


@given(sample=samples(["register", "map_of_counters", "text", "bounded_counter"]))
def test_a_writer_that_has_heard_everything_leaves_no_memory(sample: Sample) -> None:
    document, state = sample.document, sample.history.fold()
    for replica in list(state.vector):
        op = document.prepare(state, replica, 9, "register", "set", "heard")
        document.apply(state, op)
    assert state.refused == {}


@given(sample=samples(["counter"]))
def test_refused_ops_change_no_value(sample: Sample) -> None:
    document = sample.document
    whole, without = document.new(), document.new()
    for op, event in sample.history.delivery(sample.history.everything):
        deliver(document, whole, op, event)
        if event.refused:
            without.vector[op.replica] = op.seq
        else:
            document.apply(without, op)
    assert document.values(whole) == document.values(without)


def test_a_register_is_set_whatever_was_refused() -> None:
    named = DocumentType("Named", {"name": Field(Register())})
    state = named.new()
    named.see(state, Op("a", 1, 0, "name", "set", "one", {}))
    second = Op("a", 2, 0, "name", "set", "two", {}, 1)
    assert not named.builds_on_refused(state, second)
    named.apply(state, second)
    assert named.values(state) == {"name": "two"}
