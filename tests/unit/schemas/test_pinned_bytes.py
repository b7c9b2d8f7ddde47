"""The wire contract does not change by accident: what was sent once is written the same and read the same for ever."""

from __future__ import annotations

import json

import pytest

from driftlog_schemas import avro_files
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.groups import GroupMark, headers, parse
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.record_codecs import RecordCodecs, conflict_id
from driftlog_schemas.signing import verify
from driftlog_schemas.state_codec import StateCodec, state_schema
from tests.unit.schemas import specimens
from tests.unit.schemas.specimens import COLLECTION, IDENTITY, IDS, MADE, STOCK, TEA, pinned, stock_state

CODECS = RecordCodecs(IDS)


@pytest.mark.parametrize("name", MADE)
def test_the_bytes_are_those_that_were_pinned(name: str) -> None:
    assert MADE[name]().hex() == pinned(name).hex()


def test_no_pinned_bytes_are_left_unchecked() -> None:
    assert {path.stem for path in specimens.FOLDER.glob("*.hex")} == set(MADE)


def test_what_was_pinned_is_still_read() -> None:
    assert decode_body(pinned("batch_body")) == specimens.BATCH
    assert decode_body(pinned("forgetting_body")) == specimens.CLOUD_BATCH
    assert decode_body(pinned("calls_body")) == specimens.CALLS_BATCH
    assert decode_body(pinned("ran_body")) == specimens.RAN_BATCH
    assert CODECS.decode_quarantined(pinned("quarantined")) == specimens.QUARANTINED
    assert CODECS.decode_chain_row(pinned("chain_row")) == specimens.CHAIN_ROW
    assert CODECS.decode_refusal_notice(pinned("refusal_notice")) == specimens.NOTICE
    assert CODECS.decode_conflict(pinned("conflict")) == specimens.CONFLICT
    assert CODECS.decode_heartbeat(pinned("heartbeat")) == specimens.HEARTBEAT
    assert CODECS.decode_claim(pinned("claim")) == specimens.CLAIM
    assert CODECS.decode_farewell(pinned("farewell")) == specimens.FAREWELL

    assert CODECS.decode_parked(pinned("parked_command")) == specimens.PARKED
    assert parse_document_key(pinned("document_key")) == TEA


def test_a_pinned_line_of_the_registry_still_verifies() -> None:
    assert CODECS.decode_device(pinned("device")) == specimens.DEVICE
    line = CODECS.decode_signed_line(pinned("signed_line"))
    assert line.genuine()
    assert line.certificate.genuine()
    assert line.certificate == specimens.OPERATOR.certificate
    assert CODECS.decode_device(line.body) == specimens.DEVICE


def test_a_pinned_batch_still_verifies() -> None:
    signed = BatchCodec(IDS).open(pinned("signed_batch"))
    assert (signed.device_id, signed.key_id) == ("store-1", "5f0c77aa")
    assert verify(IDENTITY.public_key, signed.signature, signed.body)
    assert decode_body(signed.body) == specimens.BATCH


def test_a_pinned_row_is_still_the_same_state() -> None:
    codec = StateCodec(COLLECTION, IDS)
    assert STOCK.encode(codec.decode(pinned("state_row"))) == STOCK.encode(stock_state())
    assert codec.decode_row(pinned("state_row"))["on_hand"] == 37


def test_the_group_headers_are_those_that_were_pinned() -> None:
    sent = [("driftlog.group", b"1234567"), ("driftlog.last", b"1")]
    assert headers(1234567, last=True) == sent
    assert parse(sent) == GroupMark(1234567, True)


def test_the_id_of_a_conflict_is_the_one_that_was_pinned() -> None:
    assert conflict_id(TEA, "price") == "7fc2f2abdfddfeb09ee272e6"


@pytest.mark.parametrize("name", avro_files.RECORDS)
def test_every_schema_stays_the_shape_that_was_pinned(name: str) -> None:
    prints = json.loads(specimens.FINGERPRINTS.read_text())
    assert specimens.fingerprint(name) == prints[name]


def test_the_schema_of_a_row_stays_the_shape_that_was_pinned() -> None:
    assert json.loads(state_schema(COLLECTION)) == json.loads((specimens.FOLDER / "state_row.avsc").read_text())
