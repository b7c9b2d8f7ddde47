"""Bytes that are no state of this document are refused, and the field named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftlog_crdt import BadEncoding, Text
from driftlog_crdt.sequence_state import SequenceState
from tests.properties.cases import CASES, document
from tests.properties.encodings import assembled, of_field

everything = document(list(CASES))


GOOD = assembled('{"a":1}', '{"fields":{}}')


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"null",
        GOOD[:8],
        b" " + GOOD,
        GOOD[:-1],
        GOOD + b"x",
        GOOD + GOOD,
        b"\x03" + b"\xff" * 8,
        GOOD[:8] + bytes([GOOD[8] + 1]) + GOOD[9:],
        assembled('{"a":1}', '{"fields":{}}', form=2),
        assembled("[" * 100_000, '{"fields":{}}'),
        assembled('{"a":1}', '{"fields":{"elsewhere":' + "[" * 100_000),
    ],
)
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        everything.decode(data)


@pytest.mark.parametrize(
    "vector",
    ["", "[]", "null", '{"a":0}', '{"a":1.0}', '{"a":true}', '{"a":-1}', '{"a":"1"}', '{"a":1}x', b'{"\xff":1}'],
)
def test_a_vector_that_is_none_is_refused(vector: str | bytes) -> None:
    with pytest.raises(BadEncoding):
        everything.decode(assembled(vector, '{"fields":{}}'))


@pytest.mark.parametrize(
    ("rest", "behind"),
    [
        ("", b""),
        ("[]", b""),
        ("{}", b""),
        ('{"fields":[]}', b""),
        ('{"fields":{},"tomb":{}}', b""),
        ('{"fields":{},"grave":[]}', b""),
        ('{"fields":{},"grave":{"a":0}}', b""),
        ('{"fields":{},"presence":7}', b""),
        ('{"fields":{},"presence":{"a":"1"}}', b""),
        ('{"fields":{},"refused":[]}', b""),
        ('{"fields":{},"refused":{"a":[]}}', b""),
        ('{"fields":{},"refused":{"a":[[1]]}}', b""),
        ('{"fields":{},"refused":{"a":[[1,true,false]]}}', b""),
        ('{"fields":{},"refused":{"a":[[0,1,false]]}}', b""),
        ('{"fields":{},"refused":{"a":[[2,1,false]]}}', b""),
        ('{"fields":{},"refused":{"a":[[1,2,false],[2,3,true]]}}', b""),
        ('{"fields":{"register":[["a",1,0,NaN]]}}', b""),
        ('{"fields":{"register":[["a",1,0,1e400]]}}', b""),
        ('{"fields":{"register":[["a",1,0,"\\ud800"]]}}', b""),
        ('{"fields":{"register":[["a",1,0,' + "9" * 5000 + "]]}}", b""),
        ('{"fields":{},"bytes":[]}', b""),
        ('{"fields":{},"bytes":{"text":0}}', b""),
        ('{"fields":{},"bytes":{"text":true}}', b"x"),
        ('{"fields":{},"bytes":{"text":2}}', b"x"),
        ('{"fields":{},"bytes":{"text":1000000000000000000000}}', b"x"),
        ('{"fields":{},"bytes":{"elsewhere":1}}', b"xy"),
        ('{"fields":{"elsewhere":5},"bytes":{"elsewhere":1}}', b"x"),
    ],
)
def test_a_rest_that_is_none_is_refused(rest: str, behind: bytes) -> None:
    with pytest.raises(BadEncoding):
        everything.decode(assembled('{"a":1}', rest, behind))


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
        everything.decode(of_field(field, stored))
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
        everything.decode(assembled('{"a":1}', json.dumps({"fields": {}, "bytes": {"text": len(blob)}}), blob))
    assert refusal.value.field == "text"


@pytest.mark.parametrize("value", ["Main 1", 7, None, ["street"]])
def test_a_record_that_is_no_object_is_refused(value: Any) -> None:
    record = document(["record"])
    with pytest.raises(BadEncoding, match="a write of a record is encoded as"):
        record.decode(of_field("", [["a", 1, 0, value]]))


PANICS = "02000000000778a90a000000002a12dbda020101000401017301610101004401000378797a00"
"""Yrs divides by zero with it: a panic, which is no `Exception`."""
NO_PARENT = "0201ff9bb4dc070004010372756e02616201aebcffd501001344ff9bb4dc07000378797a00"
"""It names a parent that is none, which Yrs tells by a RuntimeError."""


def test_bytes_that_make_yrs_panic_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadEncoding):
        Text().decode(bytes.fromhex(PANICS))
    assert "panicked" in capfd.readouterr().err, "or it knows better by now, and another such text is wanted"


def test_an_update_that_yrs_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="Yrs does not take it"):
        SequenceState(bytes.fromhex(NO_PARENT), Text().root())
