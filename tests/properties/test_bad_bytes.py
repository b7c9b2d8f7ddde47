"""Bytes that are no state of this document are refused, and the field named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftlog_crdt import BadEncoding
from tests.properties.cases import CASES, document

everything = document(list(CASES))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"[2,{},{}]",
        b"[true,{},{}]",
        b"[1,[],{}]",
        b"[1,{},[]]",
        b'[1,{"a":0},{}]',
        b'[1,{"a":1.0},{}]',
        b'[1,{"a":true},{}]',
        b"[1,{},{},{},{}]",
        b'[1,{},{},{"tomb":{}}]',
        b'[1,{},{},{"grave":[]}]',
        b'[1,{},{},{"presence":{"a":"1"}}]',
        b'[1,{"a":1},{"register":[["a",1,0,NaN]]}]',
        b"[" * 100_000,
    ],
)
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        everything.decode(data)


@pytest.mark.parametrize(
    ("field", "stored"),
    [
        ("add_wins_set", 5),
        ("add_wins_set", [["x", [1]]]),
        ("remove_wins_set", 5),
        ("register", 5),
        ("max", 5),
        ("map_of_counters", 5),
        ("bounded_counter", 5),
        ("counter", 5),
        ("counter", [1]),
        ("counter", {"a": [1]}),
        ("counter", {"a": [1, -1]}),
        ("counter", {"a": [1, 2, 3]}),
        ("bounded_counter", []),
        ("bounded_counter", {"a": [[1, 2], {}]}),
        ("bounded_counter", {"a": [[1, -2], {}, {}]}),
        ("bounded_counter", {"a": [[1, True], {}, {}]}),
        ("bounded_counter", {"a": [[1, 2], {"b": "1"}, {}]}),
        ("register", {}),
        ("register", [["a", 1, 0]]),
        ("register", [["a", 0, 0, "x"]]),
        ("register", [["a", 1, "0", "x"]]),
        ("register", [[1, 1, 0, "x"]]),
        ("register", [["b", 1, 0, "x"], ["a", 1, 0, "y"]]),
        ("register", [["a", 1, 0, "x"], ["a", 2, 0, "y"]]),
        ("custom", [["a", 1, 0, 5]]),
        ("custom", [["a", 1, 0, [1, 2]]]),
        ("custom", [["a", 1, 0, [1, 2, "3"]]]),
        ("add_wins_set", {"x": {"a": 1}}),
        ("add_wins_set", [["x", {}]]),
        ("add_wins_set", [["x", {"a": 0}]]),
        ("add_wins_set", [[["x"], {"a": 1}]]),
        ("add_wins_set", [["x", {"a": 1}], ["x", {"b": 1}]]),
        ("remove_wins_set", {}),
        ("remove_wins_set", [["x", []]]),
        ("remove_wins_set", [["x", 5]]),
        ("remove_wins_set", [["x", [5]]]),
        ("remove_wins_set", [["x", [["a", 1, 1]]]]),
        ("remove_wins_set", [["x", [["a", 1, True]]], ["x", [["a", 2, True]]]]),
        ("max", [1]),
        ("max", {"a": []}),
        ("max", {"a": [[1, "7"]]}),
        ("max", {"a": [[1, True]]}),
        ("max", {"a": [[1, 5], [2, 7]]}),
        ("max", {"a": [[2, 7], [1, 5]]}),
        ("min", {"a": [[1, 9], [2, 7]]}),
        ("map_of_counters", []),
        ("map_of_counters", {"k": {"a": [1]}}),
        ("text", 5),
        ("text", ""),
        ("text", "AAA="),
        ("text", "!!!!"),
        ("text", "AQEBAQUC"),
        ("colour", []),
    ],
)
def test_a_field_of_foreign_bytes_is_named(field: str, stored: Any) -> None:
    with pytest.raises(BadEncoding) as refusal:
        everything.decode(json.dumps([1, {"a": 1}, {field: stored}]).encode())
    assert refusal.value.field == field


@pytest.mark.parametrize("value", ["Main 1", 7, None, ["street"]])
def test_a_record_that_is_no_object_is_refused(value: Any) -> None:
    record = document(["record"])
    with pytest.raises(BadEncoding, match="a write of a record is encoded as"):
        record.decode(json.dumps([1, {"a": 1}, {"": [["a", 1, 0, value]]}]).encode())
