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
        b"[1,{},{}]",
        b"[true,{},{}]",
        b"[2,[],{}]",
        b"[2,{},[]]",
        b'[2,{"a":0},{}]',
        b'[2,{"a":1.0},{}]',
        b'[2,{"a":true},{}]',
        b"[2,{},{},{},{}]",
        b'[2,{},{},{"tomb":{}}]',
        b'[2,{},{},{"grave":[]}]',
        b'[2,{},{},{"presence":{"a":"1"}}]',
        b'[2,{"a":1},{"register":[["a",1,0,NaN]]}]',
        b'[2,{"a":1},{},{"bytes":[]}]',
        b'[2,{"a":1},{},{"bytes":{"text":0}}]',
        b'[2,{"a":1},{},{"bytes":{"text":true}}]x',
        b'[2,{"a":1},{},{"bytes":{"text":2}}]x',
        b'[2,{"a":1},{},{"bytes":{"elsewhere":1}}]xy',
        b'[2,{"a":1},{"elsewhere":5},{"bytes":{"elsewhere":1}}]x',
        b"[2,{},{}]x",
        b'[2,{"\xff":1},{}]',
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
        ("counter", {"a": [2, -1]}),
        ("counter", {"a": [1, 2, 3]}),
        ("bounded_counter", []),
        ("bounded_counter", {"a": [[1, 2], {}]}),
        ("bounded_counter", {"a": [[2, -2], {}, {}]}),
        ("bounded_counter", {"a": [[2, True], {}, {}]}),
        ("bounded_counter", {"a": [[1, 2], {"b": "1"}, {}]}),
        ("register", {}),
        ("register", [["a", 1, 0]]),
        ("register", [["a", 0, 0, "x"]]),
        ("register", [["a", 1, "0", "x"]]),
        ("register", [[2, 1, 0, "x"]]),
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
        ("max", {"a": [[2, "7"]]}),
        ("max", {"a": [[2, True]]}),
        ("max", {"a": [[2, 5], [2, 7]]}),
        ("max", {"a": [[2, 7], [2, 5]]}),
        ("min", {"a": [[2, 9], [2, 7]]}),
        ("map_of_counters", []),
        ("map_of_counters", {"k": {"a": [1]}}),
        ("text", 5),
        ("text", "AQEBAQUC"),
    ],
)
def test_a_field_of_foreign_bytes_is_named(field: str, stored: Any) -> None:
    with pytest.raises(BadEncoding) as refusal:
        everything.decode(json.dumps([2, {"a": 1}, {field: stored}]).encode())
    assert refusal.value.field == field


BLOBS = {
    "nothing": b"\x00",
    "nothing of a client": b"\x01" + bytes(7) + b"\x05\x00\x00",
    "cut off": b"\x01" + bytes(7) + b"\x05\x01\x01\x00\x00\x04\x01\x01s\x02h",
    "more": b"\x01" + bytes(7) + b"\x05\x01\x01\x00\x00\x04\x01\x01s\x02hi\x00\x00",
    "clients in disorder": b"\x02" + bytes(7) + b"\x05" + bytes(8) + b"\x00\x00",
    "a client that is not listed": b"\x01" + bytes(7) + b"\x05\x01\x01\x01\x00\x04\x01\x01s\x02hi\x00",
    "another root": b"\x01" + bytes(7) + b"\x05\x01\x01\x00\x00\x04\x01\x01t\x02hi\x00",
    "a number without end": b"\xff" * 20,
    "many clients": b"\xff\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("blob", BLOBS.values(), ids=BLOBS.keys())
def test_bytes_that_are_no_text_are_refused_by_name(blob: bytes) -> None:
    with pytest.raises(BadEncoding) as refusal:
        everything.decode(b'[2,{"a":1},{},{"bytes":{"text":%d}}]' % len(blob) + blob)
    assert refusal.value.field == "text"


@pytest.mark.parametrize("value", ["Main 1", 7, None, ["street"]])
def test_a_record_that_is_no_object_is_refused(value: Any) -> None:
    record = document(["record"])
    with pytest.raises(BadEncoding, match="a write of a record is encoded as"):
        record.decode(json.dumps([2, {"a": 1}, {"": [["a", 1, 0, value]]}]).encode())
