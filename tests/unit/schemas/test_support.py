"""Which versions an app's floors let through, and what a batch says of its own."""

from __future__ import annotations

import json

import pytest

from driftlog_schemas import avro_files
from driftlog_schemas.framing import FramedCodec
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.support import (
    MAX_VERSION,
    MOST_TOLD,
    Floor,
    heard,
    named,
    parsed,
    release_of,
    told,
    unmet,
    version_of,
)

FLOORS = (Floor("1.4", 1000), Floor("2.0", 2000))


@pytest.mark.parametrize(
    ("version", "missed"),
    [
        ("2.0", None),
        ("2.0.1", None),
        ("10", None),
        ("1.4", "2.0"),
        ("1.10", "2.0"),
        ("2.0rc1", "2.0"),
        ("1.4rc1", "1.4"),
        ("1.3.9", "1.4"),
        ("1.3", "1.4"),
        ("", "1.4"),
        ("newest", "1.4"),
        ("9" * (MAX_VERSION + 1), "1.4"),
        ("\N{FULLWIDTH DIGIT NINE}", "1.4"),
        ("2.0@2.0", "1.4"),
        ("\x00", "1.4"),
    ],
)
def test_the_first_floor_that_a_version_does_not_meet(version: str, missed: str | None) -> None:
    floor = unmet(version, FLOORS)
    assert (None if floor is None else floor.version) == missed


def test_without_floors_anything_goes() -> None:
    assert unmet("noise", ()) is None


def test_a_batch_says_release_and_version_and_an_app_without_one_what_it_always_said() -> None:
    assert named("5f0c77aa", "") == "5f0c77aa"
    for release, version in (("5f0c77aa", "1.3"), ("", "1.3"), ("5f0c77aa", "")):
        said = named(release, version)
        assert (release_of(said), version_of(said)) == (release, version)
    assert parsed("1.3@") is None, "so no version has what separates it"


def test_a_row_of_a_worker_before_it_says_nothing_of_versions() -> None:
    schema = json.loads(avro_files.text("chain_row"))
    schema["fields"] = [one for one in schema["fields"] if one["name"] not in ("oldest_supported", "support_ends_ms")]
    ids = FixedIds()
    codecs = RecordCodecs(ids)
    row = ChainRow("store-1", "store-1.1", "retail", 0, 0, b"", 1, ())
    plain = FramedCodec(avro_files.text("chain_row"), ids).decode(codecs.encode_chain_row(row))
    older = FramedCodec(json.dumps(schema), ids).encode(plain)
    assert codecs.decode_chain_row(older) == row


def test_readers_are_told_the_newest_floors() -> None:
    assert heard(told(FLOORS)) == FLOORS
    assert told(()) == b"" and heard(b"") == ()
    many = [Floor(f"{number}!1.{'9' * (MAX_VERSION - 7)}+a", number) for number in range(10, 30)]
    assert heard(told(many)) == tuple(many[-MOST_TOLD:])


@pytest.mark.parametrize(
    "text",
    [
        b"\xff=1",
        b"1.4",
        b"1.4=",
        b"1.4=-1",
        b"1.4=x",
        b"1.4=99999999999999999999",
        "1.4=\u0661".encode(),
        b"=1",
        b"1.4=1," * 200,
    ],
    ids=str,
)
def test_what_a_stranger_says_of_versions_is_passed_over(text: bytes) -> None:
    assert heard(text) == ()
    if len(text) < 40:
        assert heard(b"1.4=1000," + text) == FLOORS[:1]
