"""The tables of a batch, as a sender may write them who does not use our encoder: what no op uses, and what stands there twice, decides nothing."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest

from driftlog_schemas import avro_files
from driftlog_schemas.columns_codec import pack
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import DocumentOp, SignedBatch
from driftlog_streams.core.admission import Admitted, Refusal
from tests.unit.streams.cloud import Cloud, command, count, stock

BODY = avro_files.parsed("batch_body")


def rewritten(cloud: Cloud, *ops: DocumentOp, **changed: Any) -> bytes:
    """A record of one command whose body says this instead."""
    body = cloud.rules.batches.open(cloud.batch(command("c", *ops))).body
    found = fastavro.schemaless_reader(io.BytesIO(body), BODY, None)
    assert isinstance(found, dict)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, BODY, found | changed)
    identity = cloud.identities["store-1"]
    signature = identity.sign(stream.getvalue())
    return cloud.envelope(SignedBatch(identity.device_id, identity.key_id, signature, stream.getvalue()))


TWICE = {
    "document_id": ["tea", "tea"],
    "document_collection": pack([0, 0]),
    "document_scope": pack([0, 0]),
    "op_document": pack([0, 1]),
}
"""One document in two entries, and an op on each."""


@pytest.mark.parametrize(
    ("changed", "untouched"),
    [
        (
            {
                "document_id": ["tea", "oat"],
                "document_collection": pack([0, 0]),
                "document_scope": pack([0, 1]),
                "scopes": ["s1", "s2"],
            },
            DocumentId("Stock", "s2", "oat"),
        ),
        (
            {"names": ["Stock", "on_hand", "increment", "", "Ghost"], "changes": 1},
            stock("oat"),
        ),
    ],
)
def test_what_no_op_uses_is_nothing(cloud: Cloud, changed: dict[str, Any], untouched: DocumentId) -> None:
    cloud.merge_value(rewritten(cloud, count(stock(), 5, 1), **changed))
    assert cloud.verdicts() == {"c": "accepted"}
    assert list(cloud.store) == [b"Stock/s1/tea"]
    assert not cloud.state(untouched).vector


def test_a_change_that_no_op_uses_need_not_be_declared(cloud: Cloud) -> None:
    ops = count(stock(), 5, 1), count(stock(), 2, 2)
    names = ["Stock", "on_hand", "increment", "", "nowhere"]
    changes = {"names": names, "changes": 2, "change_field": pack([1, 4]), "change_kind": pack([2, 2])}
    cloud.merge_value(rewritten(cloud, *ops, **changes))
    assert cloud.verdicts() == {"c": "accepted"}
    assert cloud.value(stock(), "on_hand") == 7


def test_one_dot_in_two_entries_of_one_document_is_still_one_dot(cloud: Cloud) -> None:
    ops = count(stock(), 5, 1), count(stock(), 5, 2)
    found = cloud.admit(rewritten(cloud, *ops, **TWICE, op_seq=pack([1, 1])))
    assert isinstance(found, Refusal) and found.code == "malformed"


def test_two_entries_of_one_document_are_one_document(cloud: Cloud) -> None:
    value = rewritten(cloud, count(stock(), 5, 1), count(stock(), 2, 2), **TWICE)
    assert isinstance(cloud.admit(value), Admitted)
    cloud.merge_value(value)
    assert cloud.verdicts() == {"c": "accepted"}
    assert cloud.value(stock(), "on_hand") == 7
    assert cloud.state(stock()).vector == {"store-1.1": 2}


def test_a_gap_between_two_entries_of_one_document_is_a_gap(cloud: Cloud) -> None:
    cloud.merge_value(rewritten(cloud, count(stock(), 5, 1), count(stock(), 2, 3), **TWICE))
    assert cloud.verdicts() == {"c": "parked gap"}
    assert not cloud.store


def test_an_entry_of_another_scope_that_an_op_uses_refuses_the_batch(cloud: Cloud) -> None:
    changed = {
        "document_id": ["tea", "tea"],
        "document_collection": pack([0, 0]),
        "document_scope": pack([0, 1]),
        "scopes": ["s1", "s2"],
        "op_document": pack([0, 1]),
    }
    found = cloud.admit(rewritten(cloud, count(stock(), 5, 1), count(stock(), 2, 2), **changed))
    assert isinstance(found, Refusal) and found.code == "malformed"
