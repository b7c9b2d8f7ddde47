"""What cannot be merged is refused by a typed error that names the field, and the state stays whole."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import (
    AlgebraError,
    BadEncoding,
    BadOperation,
    BadValue,
    DocumentType,
    Field,
    Map,
    Op,
    Outcome,
    Ranked,
    Register,
    TooLarge,
)
from tests.properties.cases import CASES, DOCUMENTS, document
from tests.properties.encodings import assembled, parts
from tests.properties.histories import Sample, samples

every_document = pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())
everything = document(list(CASES))
observing = document(["counter", "text", "map_of_counters", "register"], "update-wins")


def op(field: str, kind: str, value: Any, context: Any = None, seq: int = 1) -> Op:
    return Op("a", seq, 0, field, kind, value, {} if context is None else context)


deep: list[Any] = []
for _ in range(40):
    deep = [deep]

REFUSED: list[tuple[str, str, Any]] = [
    ("counter", "increment", -1),
    ("counter", "increment", 1.5),
    ("counter", "increment", True),
    ("counter", "decrement", "1"),
    ("counter", "increment", 2**63),
    ("grow_counter", "increment", None),
    ("bounded_counter", "increment", -1),
    ("bounded_counter", "decrement", 1.0),
    ("bounded_counter", "transfer", ["b"]),
    ("bounded_counter", "transfer", ["b", -1]),
    ("bounded_counter", "transfer", [1, 1]),
    ("bounded_counter", "transfer_room", 5),
    ("register", "set", math.nan),
    ("register", "set", math.inf),
    ("register", "set", {1, 2}),
    ("register", "set", ("x",)),
    ("register", "set", b"x"),
    ("register", "set", {"x": [math.nan]}),
    ("register", "set", {1: "x"}),
    ("register", "set", "\ud800"),
    ("register", "set", {"\udc00": 1}),
    ("register", "set", deep),
    ("register", "set", 2**1100),
    ("ranked", "set", "lost"),
    ("ranked", "set", ["open"]),
    ("multi_value", "set", object()),
    ("enable_wins_flag", "enable", True),
    ("custom", "set", [math.nan, [[0, [], 0]]]),
    ("add_wins_set", "add", ["x"]),
    ("add_wins_set", "remove", {"x": 1}),
    ("add_wins_set", "add", math.nan),
    ("remove_wins_set", "add", [1]),
    ("grow_set", "add", [1]),
    ("max", "raise", "7"),
    ("max", "raise", True),
    ("max", "raise", math.nan),
    ("min", "lower", None),
    ("map_of_counters", "increment", 5),
    ("map_of_counters", "increment", [5, 5]),
    ("map_of_counters", "increment", ["k", -5]),
    ("map_of_counters", "increment", ["\ud800", 5]),
    ("map_of_counters", "remove", ["k", {"a": [1]}]),
    ("map_of_counters", "remove", ["k", {"a": [1, -1]}]),
    ("map_of_counters", "remove", ["k", 5]),
    ("map_of_registers", "set", ["k", math.nan]),
    ("map_of_registers", "remove", ["k", {"a": [1, 0]}]),
    ("text", "insert", "not base64!"),
    ("text", "insert", 7),
    ("text", "insert", ""),
    ("text", "delete", "AAE="),
    ("list", "insert", "AQEBAQUCaGk="),
]


@pytest.mark.parametrize(
    ("field", "kind", "value"), REFUSED, ids=[f"{f}-{k}-{i}" for i, (f, k, _) in enumerate(REFUSED)]
)
def test_a_value_outside_its_type_is_refused_by_name(field: str, kind: str, value: Any) -> None:
    with pytest.raises(BadValue) as refusal:
        everything.check(op(field, kind, value))
    assert refusal.value.field == field
    assert str(refusal.value).startswith(f"{field}: ")


NO_SIGHTS = [2, [], [[0, []]], [[0, [], "1"]], [[0, [["a"]], 1]], [[0, [["a", 0]], 1]], [[0, [], 0]] * 9]


@pytest.mark.parametrize(
    "carried", [5, [1], [1, 2, 3], {"value": 1, "base": 2}, *([1, sights] for sights in NO_SIGHTS)]
)
def test_a_custom_write_without_its_base_is_refused(carried: Any) -> None:
    with pytest.raises(BadOperation, match=r"^custom: .* carries \[value, \[\[base"):
        everything.check(op("custom", "set", carried))


def test_a_custom_write_whose_branch_began_where_its_writer_never_was_is_refused() -> None:
    with pytest.raises(BadOperation, match=r"^custom: .* had not seen"):
        everything.check(op("custom", "set", [1, [[0, [["stranger", 1]], 1]]]))


@pytest.mark.parametrize("field", CASES)
def test_an_op_of_another_type_is_refused_by_name(field: str) -> None:
    for kind in ("frobnicate", "", "delete" if field not in ("text", "list") else "set"):
        with pytest.raises(BadOperation, match=f"^{field}: a {CASES[field].type.name} takes "):
            everything.check(op(field, kind, 1))
        with pytest.raises(AlgebraError):
            everything.prepare(everything.new(), "a", 0, field, kind, 1)


@pytest.mark.parametrize("field", CASES)
def test_an_op_that_needs_a_context_and_has_none_is_refused(field: str) -> None:
    for kind in CASES[field].type.contextual:
        with pytest.raises(BadOperation, match="carries the vector that its writer had seen"):
            everything.check(Op("a", 1, 0, field, kind, None, None))


def test_an_undeclared_field_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(BadOperation, match=r"^colour: Sample declares no such field; it has counter, "):
        everything.check(op("colour", "set", "red"))
    with pytest.raises(BadOperation, match=r"^colour: "):
        everything.prepare(everything.new(), "a", 0, "colour", "set", "red")
    with pytest.raises(BadOperation, match=r"^colour: "):
        everything.field_value(everything.new(), "colour")
    with pytest.raises(BadOperation, match=r"^: |^Sample"):
        everything.check(op("", "put", {}))


@pytest.mark.parametrize("context", [{"a": 3}, {"a": 4}, {"b": 0}, {"b": -1}, {"b": 1.0}, {"b": True}, {"b": "1"}])
def test_an_op_from_the_future_or_with_a_broken_context_is_refused(context: Any) -> None:
    with pytest.raises(BadOperation, match="the context holds more than the op's own predecessor"):
        everything.check(op("register", "set", "x", context, seq=3))


def test_a_context_may_name_the_predecessor() -> None:
    everything.check(op("register", "set", "x", {"a": 2}, seq=3))


@pytest.mark.parametrize("seq", [0, -1, 1.0, True])
def test_there_is_no_op_before_the_first(seq: Any) -> None:
    with pytest.raises(BadOperation, match="the first op of a replica has seq 1"):
        everything.check(Op("a", seq, 0, "counter", "increment", 1))


@pytest.mark.parametrize(
    ("kind", "value", "context", "error"),
    [
        (everything, None, None, BadOperation),
        (everything, {"counter": {"a": [1, 0]}}, {}, BadValue),
        (observing, 7, {}, BadValue),
        (observing, {"colour": None}, {}, BadOperation),
        (observing, {"counter": [1, 0]}, {}, BadValue),
        (observing, {"counter": {"a": [1, 0, 1]}}, {}, BadValue),
        (observing, {"counter": {"a": 1}}, {}, BadValue),
        (observing, {"counter": {"a": [1, -1]}}, {}, BadValue),
        (observing, {"counter": {"a": [1, 0.5]}}, {}, BadValue),
        (observing, {"text": "AAE="}, {}, BadValue),
        (observing, {"register": "x"}, {}, BadValue),
        (observing, {"map_of_counters": 3}, {}, BadValue),
        (observing, {"map_of_counters": {"k": 3}}, {}, BadValue),
    ],
)
def test_a_delete_that_says_what_it_cannot_know_is_refused(
    kind: DocumentType, value: Any, context: Any, error: type[AlgebraError]
) -> None:
    with pytest.raises(error):
        kind.check(Op("a", 1, 0, "", "delete", value, context))


def test_a_delete_takes_no_value_from_its_writer() -> None:
    with pytest.raises(BadValue, match="a delete takes no value"):
        everything.prepare(everything.new(), "a", 0, "", "delete", 5)


def test_a_value_over_the_size_guard_is_refused_before_it_is_merged() -> None:
    note = DocumentType("Note", {"body": Field(Register())}, max_bytes=100)
    for value in ("x" * 101, ["x" * 50, "x" * 50], {"x" * 60: "x" * 60}):
        with pytest.raises(TooLarge, match=r"^body: .* at most 100 bytes"):
            note.prepare(note.new(), "a", 0, "body", "set", value)
    note.prepare(note.new(), "a", 0, "body", "set", "x" * 100)


def test_a_state_over_the_size_guard_is_not_encoded() -> None:
    note = DocumentType("Note", {"body": Field(Register())}, max_bytes=120)
    state = note.new()
    note.apply(state, note.prepare(state, "a", 0, "body", "set", "x" * 60))
    size = len(note.encode(state))
    assert size <= 120
    note.apply(state, note.prepare(note.new(), "b", 0, "body", "set", "y" * 60))
    with pytest.raises(TooLarge, match=r"Note: \d+ bytes of state, at most 120"):
        note.encode(state)
    exact = DocumentType("Note", note.fields, max_bytes=size)
    state = exact.new()
    exact.apply(state, exact.prepare(state, "a", 0, "body", "set", "x" * 60))
    assert len(exact.encode(state)) == size


JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    "x",
    "AAA=",
    [],
    {},
    [[]],
    [[1]],
    {"a": 1},
    {"a": []},
    {"a": [1, 2, 3]},
    [["x", {}]],
]


@every_document
@given(data=st.data())
def test_no_refusal_leaves_a_trace(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(samples(names))
    a_truncated_encoding_is_refused(sample, data)
    a_foreign_encoding_is_refused_or_read_whole(sample, data)
    no_refusal_changes_the_state(sample, data)


def a_truncated_encoding_is_refused(sample: Sample, data: st.DataObject) -> None:
    encoded = sample.document.encode(sample.history.fold())
    with pytest.raises(BadEncoding):
        sample.document.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


def a_foreign_encoding_is_refused_or_read_whole(sample: Sample, data: st.DataObject) -> None:
    """One part of a true encoding replaced by junk: either `BadEncoding`, or a state that can be read and written."""
    document = sample.document
    plain, behind = parts(document.encode(sample.history.fold(sample.cuts[0])))
    _graft(plain, data)
    try:
        state = document.decode(assembled(*map(json.dumps, plain), behind))
    except BadEncoding as refusal:
        assert refusal.field in {"", *document.fields, *plain_names(plain)}
        return
    document.values(state)
    document.conflicts(state)
    assert document.encode(document.decode(document.encode(state))) == document.encode(state)


def no_refusal_changes_the_state(sample: Sample, data: st.DataObject) -> None:
    document, state = sample.document, sample.history.fold()
    before = document.encode(state)
    field = data.draw(st.sampled_from([*document.fields, "colour", ""]))
    kind = data.draw(st.sampled_from(["set", "add", "increment", "insert", "remove", "enable", "transfer", "delete"]))
    try:
        made = document.prepare(state, "a", 0, field, kind, data.draw(st.sampled_from([*JUNK, math.nan])))
    except AlgebraError:
        made = None
    assert document.encode(state) == before
    if made is not None and made.seq > 1:
        early = made._replace(seq=made.seq + 1)
        assert document.apply(state, early).outcome is Outcome.GAP
        assert document.encode(state) == before


def plain_names(plain: Any) -> set[str]:
    rest = plain[1]
    return set(rest["fields"]) if isinstance(rest, dict) and isinstance(rest.get("fields"), dict) else set()


def _graft(plain: Any, data: st.DataObject) -> None:
    while True:
        keys = list(plain) if isinstance(plain, dict) else list(range(len(plain)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if isinstance(plain[key], dict | list) and plain[key] and data.draw(st.integers(0, 3)):
            plain = plain[key]
        else:
            plain[key] = data.draw(st.sampled_from(JUNK))
            return


@pytest.mark.parametrize("order", [[], ["a", "a"], [["a"]], [math.nan]])
def test_an_order_that_is_none_is_refused(order: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"order"):
        Ranked(order)


def test_a_map_of_what_cannot_be_removed_in_part_is_refused() -> None:
    for name in ("add_wins_set", "text", "bounded_counter", "map_of_counters", "grow_set"):
        with pytest.raises(ValueError, match="a map cannot hold"):
            Map(CASES[name].type)


def test_a_record_of_anything_but_registers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Sample\.counter: a record written as one holds registers"):
        DocumentType("Sample", {"counter": Field(CASES["counter"].type)}, unit="record")
