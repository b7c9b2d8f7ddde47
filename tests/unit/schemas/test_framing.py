"""Framed Avro: five bytes say by which schema; readers understand older and newer writers, and believe the five bytes no further."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.errors import ContractError, Undecodable, UnknownSchema
from driftlog_schemas.framing import HEADER_BYTES, FramedCodec, header, schema_id_of
from driftlog_schemas.registry import FixedIds


def schema(*fields: dict[str, Any], name: str = "Visit") -> str:
    return json.dumps({"type": "record", "name": name, "namespace": "test.v1", "fields": list(fields)})


WHO = {"name": "who", "type": "string"}
COUNT = {"name": "count", "type": "long", "default": 3}
OLD, NEW = schema(WHO), schema(WHO, COUNT)


class Registry(FixedIds):
    """Ids that tests can add to, as foreign writers do."""

    def add(self, schema_id: int, text: str) -> None:
        self._texts[schema_id] = text


@pytest.fixture
def ids() -> Registry:
    return Registry()


def test_the_frame_is_confluents(ids: Registry) -> None:
    value = FramedCodec(OLD, ids).encode({"who": "ann"})
    assert value == b"\x00" + ids.id_of(OLD).to_bytes(4, "big") + b"\x06ann"
    assert value[:HEADER_BYTES] == header(schema_id_of(value))


def test_a_new_reader_understands_an_old_writer(ids: Registry) -> None:
    value = FramedCodec(OLD, ids).encode({"who": "ann"})
    assert FramedCodec(NEW, ids).decode(value) == {"who": "ann", "count": 3}


def test_an_old_reader_understands_a_new_writer(ids: Registry) -> None:
    value = FramedCodec(NEW, ids).encode({"who": "ann", "count": 9})
    assert FramedCodec(OLD, ids).decode(value) == {"who": "ann"}


class Unregistered(Registry):
    """A registry to which nobody has given the newest schema yet."""

    def id_of(self, text: str) -> int:
        if text == NEW:
            raise UnknownSchema("not registered", "run a worker of this release")
        return super().id_of(text)


def test_a_reader_whose_own_schema_nobody_has_registered_reads_what_others_wrote() -> None:
    """An edge is upgraded before the workers: it must go on reading what it has."""
    ids = Unregistered()
    value = FramedCodec(OLD, ids).encode({"who": "ann"})
    reader = FramedCodec(NEW, ids)
    assert not reader.must_ask(value)
    assert reader.decode(value) == {"who": "ann", "count": 3}
    ids.add(77, NEW)
    assert reader.decode(header(77) + b"\x06ann\x12") == {"who": "ann", "count": 9}
    assert reader.own_id == 77, "known by what was read"


def test_an_id_that_nobody_knows_is_an_unknown_schema(ids: Registry) -> None:
    with pytest.raises(UnknownSchema):
        FramedCodec(OLD, ids).decode(header(12) + b"\x06ann")


def test_another_records_schema_is_undecodable(ids: Registry) -> None:
    value = FramedCodec(schema(WHO, name="Other"), ids).encode({"who": "ann"})
    with pytest.raises(Undecodable, match=r"test\.v1\.Other, not test\.v1\.Visit"):
        FramedCodec(OLD, ids).decode(value)


def test_an_older_schema_that_cannot_be_brought_into_ours_is_undecodable(ids: Registry) -> None:
    value = FramedCodec(schema(COUNT), ids).encode({"count": 9})
    with pytest.raises(Undecodable):
        FramedCodec(OLD, ids).decode(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '"string"',
        "[]",
        "7",
        "null",
        "{}",
        '{"type": "record"}',
        '{"type": "record", "name": "Visit", "namespace": "test.v1"}',
        '{"type": "record", "name": "Visit", "namespace": "test.v1", "fields": 7}',
        '{"type": "record", "name": "Visit", "namespace": "test.v1", "fields": [7]}',
        '{"type": "record", "name": "Visit", "namespace": "test.v1", "fields": [{"name": "who"}]}',
        '{"type": "record", "name": "Visit", "namespace": "test.v1", "fields": [{"name": "who", "type": "no.such"}]}',
        '{"type": "record", "name": 7, "namespace": "test.v1", "fields": []}',
        '{"type": "enum", "name": "Visit", "namespace": "test.v1", "symbols": 7}',
        '{"type": "fixed", "name": "Visit", "namespace": "test.v1", "size": "x"}',
        '{"type": "map", "name": "Visit", "namespace": "test.v1", "values": "long"}',
        '{"type": ["null"], "name": "Visit", "namespace": "test.v1"}',
        "[" * 100_000,
    ],
)
def test_a_schema_that_is_none_is_undecodable(ids: Registry, text: str) -> None:
    ids.add(9, text)
    with pytest.raises(Undecodable):
        FramedCodec(OLD, ids).decode(header(9) + b"\x06ann")


@pytest.mark.parametrize(
    "value", [b"", b"\x00", b"\x00\x00\x00\x00", b"\x01\x00\x00\x00\x09\x06ann", b'{"who": "ann"}']
)
def test_what_has_no_frame_is_undecodable(ids: Registry, value: bytes) -> None:
    with pytest.raises(Undecodable, match="wire format"):
        FramedCodec(OLD, ids).decode(value)


@pytest.mark.parametrize("rest", [b"", b"\x06an", b"\x06ann\x00", b"\x05ann", b"\x06\xff\xff\xff", b"\xff" * 12])
def test_a_frame_around_something_else_is_undecodable(ids: Registry, rest: bytes) -> None:
    codec = FramedCodec(OLD, ids)
    with pytest.raises(Undecodable):
        codec.decode(header(codec.own_id) + rest)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_record_or_an_error_of_the_tree(data: bytes, framed: bool) -> None:
    codec = FramedCodec(NEW, FixedIds())
    try:
        assert set(codec.decode(header(codec.own_id) + data if framed else data)) == {"who", "count"}
    except ContractError as error:
        assert str(error)
