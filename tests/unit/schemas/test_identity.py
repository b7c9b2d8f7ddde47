"""Names of devices and replicas, and the keys of documents: no two documents share one, whatever their names hold."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftlog_schemas.identity import (
    DocumentId,
    device_id,
    device_of,
    document_key,
    is_replica_of,
    parse_document_key,
    replica_id,
    scope_prefix,
)

parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("%/2F5", max_size=8)
documents = st.builds(DocumentId, parts, parts, parts)


@given(documents)
@example(DocumentId("a/b", "%2F", "%252F"))
@example(DocumentId("", "", ""))
def test_a_key_gives_back_its_document(document: DocumentId) -> None:
    assert parse_document_key(document_key(document)) == document


@given(documents, documents)
@example(DocumentId("a", "b/c", "d"), DocumentId("a", "b", "c/d"))
@example(DocumentId("a", "/", ""), DocumentId("a", "%2F", ""))
def test_two_documents_never_share_a_key(one: DocumentId, other: DocumentId) -> None:
    assert (document_key(one) == document_key(other)) == (one == other)


@given(documents, parts, parts)
def test_the_prefix_of_a_scope_finds_its_documents_and_no_others(
    document: DocumentId, collection: str, scope: str
) -> None:
    found = document_key(document).startswith(scope_prefix(collection, scope))
    assert found == ((document.collection, document.scope) == (collection, scope))


@pytest.mark.parametrize("key", [b"", b"Stock", b"Stock/s1", b"Stock/s1/tea/more", b"\xff/\xff/\xff"])
def test_a_foreign_key_is_a_value_error(key: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_document_key(key)


@pytest.mark.parametrize("name", ["a", "store-1", "STORE_9", "7", "a" * 63])
def test_names_of_devices(name: str) -> None:
    assert device_id(name) == name


@pytest.mark.parametrize("name", ["", "a.b", "a b", "-a", "_a", "büro", "a/b", "a\n", "a" * 64])
def test_what_cannot_name_a_device(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a device"):
        device_id(name)


def test_a_replica_is_a_life_of_its_device() -> None:
    replica = replica_id("store-1", "k3f7q2w7")
    assert replica == "store-1.k3f7q2w7"
    assert device_of(replica) == "store-1"
    assert is_replica_of(replica, "store-1")


@pytest.mark.parametrize(
    "replica",
    [
        "store-1",
        "store-1.",
        "store-2.k3f7q2w7",
        "store-1.K3F7Q2W7",
        "store-1.k3f7q2w7a",
        "store-1.bü",
        "store-1.a\n",
        "a.b.c",
    ],
)
def test_what_is_no_life_of_the_device(replica: str) -> None:
    assert not is_replica_of(replica, "store-1")
