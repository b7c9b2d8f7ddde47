"""Stepping over columns comes to where reading them comes to, and over anything else to a place, IndexError or ValueError."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from random import Random
from typing import Any

import fastavro
import pytest

from driftlog_schemas.avro_steps import behind, number, steps_of
from driftlog_schemas.columns_codec import LEAST, MOST, varint
from driftlog_schemas.digests import Versions
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.framing import header
from tests.unit.streams.cloud import IDS

LONG_TEXT = "ä" * 5000
COLUMNS: list[tuple[Any, list[Any]]] = [
    ("null", [None]),
    ("boolean", [True, False]),
    ("int", [0, -1, 63, 64, -(1 << 31)]),
    ("long", [0, LEAST, MOST]),
    ("float", [0.5]),
    ("double", [-2.5]),
    ("bytes", [b"", b"\xff" * 200]),
    ("string", ["", "tea", LONG_TEXT]),
    (["null", "string"], [None, "", LONG_TEXT]),
    (["null", "long", {"type": "array", "items": "string"}], [None, 0, -7, [], ["a", LONG_TEXT]]),
    ({"type": "array", "items": ["null", "double"]}, [[], [None, 1.5, None]]),
    ({"type": "map", "values": {"type": "array", "items": "long"}}, [{}, {"a": [], "b": [1, -70]}]),
    ({"type": "enum", "name": "E", "symbols": ["x", "y"]}, ["x", "y"]),
    ({"type": "fixed", "name": "F", "size": 3}, [b"abc"]),
    ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, [Decimal("-7.25")]),
    (
        {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}, {"name": "t", "type": "string"}]},
        [{"n": -1, "t": "tea"}],
    ),
]


def written(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


@pytest.mark.parametrize(("schema", "values"), COLUMNS, ids=[json.dumps(schema)[:40] for schema, _ in COLUMNS])
def test_each_type_is_stepped_over_to_its_end(schema: Any, values: list[Any]) -> None:
    steps = steps_of([fastavro.parse_schema(schema)])
    assert steps is not None
    for value in values:
        data = written(schema, value)
        assert behind(b"\x07" + data + b"\x02\x02", 1, steps) == 1 + len(data)


def test_columns_are_stepped_over_one_after_the_other() -> None:
    random = Random(7)
    for _ in range(50):
        chosen = [(schema, random.choice(values)) for schema, values in random.sample(COLUMNS, 5)]
        steps = steps_of([fastavro.parse_schema(schema) for schema, _ in chosen])
        assert steps is not None
        data = b"".join([written(schema, value) for schema, value in chosen])
        assert behind(data, 0, steps) == len(data)


def test_blocks_that_tell_their_size_are_stepped_over() -> None:
    steps = steps_of([{"type": "array", "items": "string"}])
    assert steps is not None
    block = b"\x02a" * 3
    data = varint(-3) + varint(len(block)) + block + varint(1) + b"\x02b" + b"\x00"
    assert behind(data, 0, steps) == len(data)


@pytest.mark.parametrize("schema", [["string", "null"], [], "Elsewhere"], ids=str)
def test_of_what_rows_do_not_have_there_are_no_steps(schema: Any) -> None:
    assert steps_of(["string", schema]) is None


@pytest.mark.parametrize("found", [0, -1, 63, -64, 64, 8191, 8192, LEAST, MOST])
def test_a_whole_number_is_found_with_its_end(found: int) -> None:
    data = varint(found)
    assert number(b"\xff" + data + b"\xff", 1) == (found, 1 + len(data))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9])
def test_a_number_that_does_not_end_is_none(data: bytes) -> None:
    with pytest.raises(IndexError):
        number(data, 0)


def test_a_number_of_more_than_64_bits_is_none() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        number(b"\xff" * 11 + b"\x00", 0)


@pytest.mark.parametrize("data", [varint(-1), varint(-300), b"\x02" + varint(-5), varint(-2) + varint(-9)])
def test_nothing_has_less_than_no_bytes(data: bytes) -> None:
    for schema in ("string", ["null", "string"], {"type": "array", "items": "string"}):
        steps = steps_of([schema])
        assert steps is not None
        with pytest.raises((IndexError, ValueError)):
            behind(data + bytes(8), 0, [*steps, len(data) + 9, *steps])


def test_the_version_of_a_row_is_the_same_by_steps_and_by_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows that were damaged anywhere, too: only texts that are none are looked at by the reader alone."""
    row = Row()
    stepping, reading = Versions(IDS), Versions(IDS)
    damaged = [row.value, *row.damaged(Random(11), 3000)]
    by_steps = [digest_or_none(stepping, value) for value in damaged]
    monkeypatch.setattr("driftlog_schemas.digests.steps_of", lambda columns: None)
    by_reading = [digest_or_none(reading, value) for value in damaged]
    assert by_steps[0] is not None
    assert by_steps[0] == by_reading[0]
    differing = [place for place in range(len(damaged)) if by_steps[place] != by_reading[place]]
    assert all(by_reading[place] is None and len(damaged[place]) == len(row.value) for place in differing)
    assert len(differing) < len(damaged) / 4
    assert len([told for told in by_steps if told is None]) > len(damaged) / 10
    reads: list[bytes] = []
    monkeypatch.setattr("driftlog_schemas.digests.decode_plain", lambda schema, value, start: reads.append(value))
    assert digest_or_none(stepping, row.value) == by_steps[0]
    assert not reads, "what is whole is not read"


def digest_or_none(versions: Versions, value: bytes) -> int | None:
    try:
        return versions.digest(b"Stock/s1/tea", value)
    except Undecodable:
        return None


class Row:
    """A row of many types, framed."""

    def __init__(self) -> None:
        meta = {
            "type": "record",
            "name": "Meta",
            "fields": [{"name": "deleted", "type": "boolean"}, {"name": "merge", "type": "bytes"}],
        }
        short = [(schema, [value for value in values if LONG_TEXT not in repr(value)]) for schema, values in COLUMNS]
        columns = {f"c{at}": (schema, values[-1]) for at, (schema, values) in enumerate(short)}
        fields = [{"name": name, "type": schema} for name, (schema, _) in columns.items()]
        schema = {
            "type": "record",
            "name": "Stepped",
            "namespace": "driftlog.test",
            "fields": [*fields, {"name": "_driftlog", "type": meta}],
        }
        vector = b'{"a.1":3}'
        memory = b"\x03" + len(vector).to_bytes(4, "big") + (2).to_bytes(4, "big") + vector + b"{}"
        row = {name: value for name, (_, value) in columns.items()} | {"_driftlog": {"deleted": False, "merge": memory}}
        self.value = header(IDS.id_of(json.dumps(schema))) + written(schema, row)

    def damaged(self, random: Random, count: int) -> list[bytes]:
        """The row with a byte that is another, without its end, or with more behind it."""
        return [self._damaged(random) for _ in range(count)]

    def _damaged(self, random: Random) -> bytes:
        at = random.randrange(5, len(self.value))
        how = random.randrange(4)
        if how == 0:
            return self.value[:at]
        if how == 1:
            return self.value + random.randbytes(3)
        return self.value[:at] + random.randbytes(1) + self.value[at + 1 :]
