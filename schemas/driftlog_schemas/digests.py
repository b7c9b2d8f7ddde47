"""The digest of a scope: one number that tells whether two holders of it have the same documents at the same versions.

Each document adds by XOR a hash of what names it and of its version vector, so the order in which states came does not matter, and a change costs
what the document costs. A document that is deleted adds nothing: when its tombstone is purged, nothing changes, whoever has met the purge. One of
a collection that only goes up adds nothing either, for no device holds those of others: its schema says so.

What a record adds can be told without the declaration of its collection (`Versions`): its row names the version in a place that every release
writes alike. So a release counts also what it cannot read otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from driftlog_crdt import AlgebraError, version_of
from driftlog_schemas.declarations import TERMS
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.framing import HEADER_BYTES, decode_plain, schema_id_of
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.state_codec import META
from driftlog_schemas.writer_schema import NoSchema, writer_schema

DIGEST_BYTES = 8


def document_digest(key: bytes, version: bytes) -> int:
    """What a document that is not deleted adds (by XOR) to the digest of its scope. `version`: its vector, as the encoding of its state has it
    anyway (`version_of`), for to write it down a second time would cost as much as half the state."""
    return int.from_bytes(hashlib.blake2b(key + b"\x00" + version, digest_size=DIGEST_BYTES).digest(), "big")


def text_of(digest: int) -> str:
    """As people and headers read it."""
    return f"{digest:016x}"


class Versions:
    """Reads of state records which version they are, whatever release wrote them."""

    def __init__(self, ids: SchemaIds) -> None:
        self._ids = ids

    def digest(self, key: bytes, value: bytes | None) -> int:
        """What a record adds to its scope's digest; nothing where there is none.

        Raises `Undecodable`, `UnknownSchema` for what is no row of ours, `RegistryUnreachable`.
        """
        if value is None or self.goes_up(value):
            return 0
        meta = self._meta(value)
        try:
            version, deleted = version_of(meta["merge"]), meta["deleted"]
        except (AlgebraError, LookupError, TypeError) as error:
            raise Undecodable(f"a row whose version cannot be read: {error}") from error
        return 0 if deleted else document_digest(key, version)

    def goes_up(self, value: bytes) -> bool:
        """Is it a row of a collection that only goes up, as its writer has declared it? Raises like `digest`."""
        return _goes_up(self._ids.schema_of(schema_id_of(value)))

    def _meta(self, value: bytes) -> Mapping[str, Any]:
        row = decode_plain(_schema(self._ids.schema_of(schema_id_of(value))), value, HEADER_BYTES)
        meta = row.get(META)
        if not isinstance(meta, dict):
            raise Undecodable(f"a row without {META}")
        return meta


UNTOLD = (Undecodable, UnknownSchema)
"""What `Versions` raises of a record whose version nobody can tell."""


@lru_cache(maxsize=1000)
def _goes_up(text: str) -> bool:
    _schema(text)  # of a text that is no schema nothing is told
    found = json.loads(text)
    terms = found.get(TERMS) if isinstance(found, dict) else None
    return isinstance(terms, dict) and terms.get("direction") == "up"


@lru_cache(maxsize=1000)
def _schema(text: str) -> Any:
    try:
        return writer_schema(text)[1]
    except NoSchema as error:
        raise Undecodable(f"not a record's schema in Avro: {error}") from error
