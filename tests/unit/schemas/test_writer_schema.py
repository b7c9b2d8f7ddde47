"""A foreign schema cannot make a reader recurse, spin or swell: it is refused before it reads a byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftlog_schemas import avro_files
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.framing import FramedCodec, header
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import state_schema
from driftlog_schemas.writer_schema import MAX_DEPTH, MAX_FIELDS, NoSchema, writer_schema
from tests.unit.schemas.specimens import COLLECTION


def record(*fields: Any, name: str = "Visit") -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "namespace": "test.v1",
        "fields": [{"name": f"f{number}", "type": kind} for number, kind in enumerate(fields)],
    }


def nested(kind: str, depth: int) -> Any:
    schema: Any = "long"
    for _ in range(depth):
        schema = {"type": kind, ("items" if kind == "array" else "values"): schema}
    return schema


def doubling(types: int) -> dict[str, Any]:
    """Each type holds the next one twice: a few names, 2 ** types fields, not one byte."""
    schema = record(name=f"T{types}")
    for number in reversed(range(types)):
        schema = record(schema, f"test.v1.T{number + 1}", name=f"T{number}")
    return record(schema)


@pytest.mark.parametrize("name", avro_files.RECORDS)
def test_our_own_records_are_within_the_bounds(name: str) -> None:
    found, _ = writer_schema(avro_files.text(name))
    assert found.startswith("driftlog.v1.")


def test_the_row_of_a_collection_is_within_the_bounds() -> None:
    assert writer_schema(state_schema(COLLECTION))[0] == "driftlog.retail.Stock"


HOSTILE = {
    "holds itself": record("Visit"),
    "holds itself or nothing": record(["null", "Visit"]),
    "holds a list of itself": record({"type": "array", "items": "Visit"}),
    "holds a map of itself": record({"type": "map", "values": "Visit"}),
    "is too deep": record(nested("array", MAX_DEPTH + 1)),
    "is far too deep": record(nested("map", 200)),
    "doubles twenty times": record(doubling(20)),
    "has too many fields": record(*["long"] * (MAX_FIELDS + 1)),
    "has a list of nulls": record({"type": "array", "items": "null"}),
    "has a list of empty records": record({"type": "array", "items": record(name="Nothing")}),
    "has a list of empty texts": record({"type": "array", "items": {"type": "fixed", "name": "Zero", "size": 0}}),
    "has a list of less than nothing": record({"type": "array", "items": {"type": "fixed", "name": "Z", "size": -1}}),
    "has a list of little": record({"type": "array", "items": record("null", record(name="Nothing"), name="Little")}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_schema_without_bounds_is_refused(name: str) -> None:
    with pytest.raises(NoSchema):
        writer_schema(json.dumps(HOSTILE[name]))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"type":' * 100_000])
def test_a_text_that_only_opens_is_refused(text: str) -> None:
    with pytest.raises(NoSchema):
        writer_schema(text)


def test_a_record_by_such_a_schema_is_undecodable() -> None:
    ids = FixedIds()
    endless = ids.id_of(json.dumps(record(["null", "Visit"])))
    with pytest.raises(Undecodable, match="nested"):
        FramedCodec(json.dumps(record("long")), ids).decode(header(endless) + b"\x02" * 100_000)


@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 3])
def test_a_schema_within_the_bounds_is_taken(depth: int) -> None:
    text = json.dumps(record("long", {"type": "array", "items": record(nested("map", depth), name="Inner")}))
    assert writer_schema(text)[0] == "test.v1.Visit"
