"""The bytes of a column are fastavro's, for every type that a declaration can give a column (`driftlog.columns`)."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.avro_writer import binary, boolean, long, string, writer_of
from driftlog_schemas.columns_codec import LEAST, MOST
from tests.unit.schemas.arbitrary import texts

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9}
TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}
DATE = {"type": "int", "logicalType": "date"}

longs = st.integers(LEAST, MOST) | st.integers(-70, 70) | st.sampled_from([LEAST, MOST, 1 << 62, (1 << 62) - 1])
scalars: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("boolean", st.booleans()),
    ("long", longs),
    ("double", st.floats() | st.integers(-(1 << 60), 1 << 60)),
    ("string", texts | st.text("aä", min_size=60, max_size=70)),
    (DECIMAL, st.decimals(-(10**20), 10**20, places=9)),
    (TIMESTAMP, st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda at: at.replace(tzinfo=UTC))),
    (DATE, st.dates()),
]
columns = st.recursive(
    st.sampled_from(scalars),
    lambda inner: st.one_of(
        inner.filter(lambda c: not isinstance(c[0], list)).map(lambda c: (["null", c[0]], st.none() | c[1])),
        inner.map(lambda c: ({"type": "array", "items": c[0]}, st.lists(c[1], max_size=70))),
        inner.map(lambda c: ({"type": "map", "values": c[0]}, st.dictionaries(texts, c[1], max_size=5))),
    ),
    max_leaves=3,
)
JUNK = [
    None,
    True,
    0,
    1,
    1.5,
    MOST + 1,
    LEAST - 1,
    1 << 2000,
    "x",
    "\ud800",
    b"x",
    [None],
    {"a": None},
    {1: 1},
    Decimal("NaN"),
    date(2026, 1, 1),
]


def by_fastavro(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


@given(st.data())
def test_the_bytes_are_those_of_fastavro(data: st.DataObject) -> None:
    schema, values = data.draw(columns)
    value = data.draw(values)
    assert writer_of(schema)(value) == by_fastavro(schema, value)


@given(columns, st.sampled_from(JUNK))
def test_what_is_not_of_the_type_is_refused_or_written_as_fastavro_would(column: tuple[Any, Any], junk: Any) -> None:
    schema, _ = column
    try:
        written = writer_of(schema)(junk)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
        return
    assert written == by_fastavro(schema, junk)


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (long, True),
        (long, "7"),
        (long, 7.0),
        (long, MOST + 1),
        (string, b"x"),
        (string, None),
        (boolean, 1),
        (boolean, ""),
    ],
)
def test_the_writers_of_a_row_are_strict(write: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        write(value)


@pytest.mark.parametrize("size", [0, 63, 64, 8191, 8192, 1 << 20])
def test_bytes_of_any_length(size: int) -> None:
    assert binary(bytes(size)) == by_fastavro("bytes", bytes(size))
