"""Text and List: nobody's run is lost, doubled, torn or moved, as far as anybody has seen it.

These are the conditions of the strong list specification (Attiya et al. 2016): the elements are those inserted and not deleted, and
there is one order of all elements ever inserted that every view agrees with.
"""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import BadValue, DocumentType, Field, List, Text
from tests.properties.histories import REPLICAS

MAX_STEPS = 25
FIELDS = {"text": Text(), "list": List()}

both = pytest.mark.parametrize("name", list(FIELDS))


def fresh_runs(name: str) -> Any:
    """Runs of elements that were never used before; letters of one, two and four bytes take turns."""
    turns = zip(range(0x21, 0x7F), range(0xE0, 0x17F), range(0x1F600, 0x1F700), strict=False)
    letters = map(chr, itertools.chain.from_iterable(turns))
    take = lambda count: list(itertools.islice(letters, count))  # noqa: E731
    return (lambda count: "".join(take(count))) if name == "text" else take


@both
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_all_views_agree_with_one_order_of_what_was_inserted(name: str, data: st.DataObject, seed: int) -> None:
    document = DocumentType("Note", {"body": Field(FIELDS[name])}, max_bytes=10_000_000)
    names = REPLICAS[: data.draw(st.integers(1, 4))]
    states = {replica: document.new() for replica in names}
    known: dict[str, set[int]] = {replica: set() for replica in names}
    ops, pasts, new_run = [], [], fresh_runs(name)
    views: list[list[str]] = []
    inserted: list[list[str]] = []
    deleted: set[str] = set()
    for _ in range(data.draw(st.integers(1, MAX_STEPS))):
        replica, action = data.draw(st.sampled_from(names)), data.draw(st.integers(0, 5))
        state = states[replica]
        seen = list(document.values(state)["body"])
        if action < 2:
            other = data.draw(st.sampled_from(names))
            for index in sorted(known[other] - known[replica]):
                document.apply(state, ops[index])
            known[replica] |= known[other]
            views.append(list(document.values(state)["body"]))
            continue
        place = data.draw(st.integers(0, len(seen)))
        if action == 2 and place < len(seen):
            count = data.draw(st.integers(1, len(seen) - place))
            kind, value, expected = "delete", [place, count], seen[:place] + seen[place + count :]
            deleted |= set(seen[place : place + count])
        else:
            run = new_run(data.draw(st.integers(1, 4)))
            kind, value, expected = "insert", [place, run], seen[:place] + list(run) + seen[place:]
            inserted.append(list(run))
        op = document.prepare(state, replica, 0, "body", kind, value)
        pasts.append(set(known[replica]))
        document.apply(state, op)
        assert list(document.values(state)["body"]) == expected
        known[replica].add(len(ops))
        ops.append(op)
        views.append(expected)
    final, order = document.new(), Random(seed)
    done: set[int] = set()
    while len(done) < len(ops):
        index = order.choice([i for i in range(len(ops)) if i not in done and pasts[i] <= done])
        document.apply(final, ops[index])
        done.add(index)
    body = list(document.values(final)["body"])
    assert sorted(body) == sorted(set(itertools.chain(*inserted)) - deleted)
    assert_one_order([*views, body])


def assert_one_order(views: list[list[str]]) -> None:
    """No two elements stand in different orders in two views."""
    for one, other in itertools.combinations(views, 2):
        shared = set(one) & set(other)
        assert [e for e in one if e in shared] == [e for e in other if e in shared]


@both
def test_an_edit_whose_ground_was_refused_has_no_effect_and_hurts_nothing(name: str) -> None:
    document = DocumentType("Note", {"body": Field(FIELDS[name])})
    run = fresh_runs(name)
    view, cloud = document.new(), document.new()
    refused = document.prepare(view, "a", 1, "body", "insert", [0, run(3)])
    document.apply(view, refused)
    built_on_it = document.prepare(view, "a", 2, "body", "insert", [2, run(1)])
    document.see(cloud, refused)
    document.apply(cloud, built_on_it)
    assert len(document.values(cloud)["body"]) == 0
    anew = run(2)
    rebased = document.copy(cloud)
    document.apply(cloud, document.prepare(rebased, "a", 3, "body", "insert", [0, anew]))
    assert document.values(cloud)["body"] == anew
    assert document.values(document.decode(document.encode(cloud))) == document.values(cloud)


@both
def test_a_delete_takes_nothing_that_comes_later_in_the_place_of_what_was_refused(name: str) -> None:
    document = DocumentType("Note", {"body": Field(FIELDS[name])})
    run = fresh_runs(name)
    view, cloud = document.new(), document.new()
    first, second, third = run(2), run(3), run(3)
    ops = []
    for kind, value in (("insert", [0, first]), ("insert", [2, second]), ("delete", [1, 4])):
        ops.append(document.prepare(view, "a", 1, "body", kind, value, len(ops)))
        document.apply(view, ops[-1])
    document.apply(cloud, ops[0])
    document.see(cloud, ops[1])
    document.apply(cloud, ops[2])
    assert document.values(cloud)["body"] == first[:1]
    document.apply(cloud, document.prepare(cloud, "a", 1, "body", "insert", [1, third]))
    assert document.values(cloud)["body"] == first[:1] + third


@both
def test_a_draft_that_was_never_applied_leaves_no_trace(name: str) -> None:
    document = DocumentType("Note", {"body": Field(FIELDS[name])})
    run = fresh_runs(name)
    state = document.new()
    first, second = run(2), run(1)
    document.apply(state, document.prepare(state, "a", 1, "body", "insert", [0, first]))
    document.prepare(state, "a", 2, "body", "insert", [0, run(4)])
    theirs = document.prepare(document.copy(state), "b", 2, "body", "insert", [0, second])
    document.apply(state, theirs)
    kept = document.prepare(state, "a", 3, "body", "delete", [0, 1])
    document.apply(state, kept)
    assert document.values(state)["body"] == first


@both
def test_a_draft_that_is_applied_after_a_remote_edit_leaves_the_next_one_right(name: str) -> None:
    document = DocumentType("Note", {"body": Field(FIELDS[name])})
    run = fresh_runs(name)
    state, there = document.new(), document.new()
    mine, theirs, more = run(2), run(3), run(1)
    draft = document.prepare(state, "a", 1, "body", "insert", [0, mine])
    document.apply(state, document.prepare(there, "b", 1, "body", "insert", [0, theirs]))
    document.apply(state, draft)
    body = document.values(state)["body"]
    document.apply(state, document.prepare(state, "a", 2, "body", "insert", [5, more]))
    assert document.values(state)["body"] == body + more


@both
def test_two_replicas_may_write_on_one_view(name: str) -> None:
    document = DocumentType("Note", {"body": Field(FIELDS[name])})
    run = fresh_runs(name)
    state = document.new()
    first, second, third = run(2), run(2), run(2)
    for replica, position, what in (("a", 0, first), ("b", 2, second), ("a", 4, third)):
        document.apply(state, document.prepare(state, replica, 1, "body", "insert", [position, what]))
    assert document.values(state)["body"] == first + second + third


@both
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("delete", [0, "1"]),
        ("delete", [0, 1.0]),
        ("delete", [0, True]),
        ("delete", [0, 0]),
        ("delete", [0, -1]),
        ("delete", [1, 2]),
        ("delete", [-1, 1]),
        ("delete", 1),
        ("insert", [0, ""]),
        ("insert", [0, 5]),
        ("insert", [3, "x"]),
        ("insert", [-1, "x"]),
        ("insert", ["0", "x"]),
        ("insert", [True, "x"]),
        ("insert", [0, "x", 1]),
    ],
)
def test_an_edit_at_no_place_or_of_nothing_is_refused(name: str, kind: str, value: Any) -> None:
    document = DocumentType("Note", {"body": Field(FIELDS[name])})
    state = document.new()
    document.apply(state, document.prepare(state, "a", 1, "body", "insert", [0, fresh_runs(name)(2)]))
    before = document.encode(state)
    with pytest.raises(BadValue, match=r"^body: "):
        document.prepare(state, "a", 1, "body", kind, value)
    assert document.encode(state) == before


def test_places_count_characters_also_when_nobody_reads_in_between() -> None:
    document = DocumentType("Note", {"body": Field(Text())})
    state = document.new()
    for position, run in ((0, "😀é"), (2, "ab"), (4, "c"), (1, "d")):
        document.apply(state, document.prepare(state, "a", 1, "body", "insert", [position, run]))
    document.apply(state, document.prepare(state, "a", 1, "body", "delete", [3, 2]))
    assert document.values(state) == {"body": "😀déc"}
