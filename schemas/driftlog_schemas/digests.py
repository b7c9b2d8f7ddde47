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
from collections.abc import Sequence
from typing import Any, NamedTuple

from driftlog_crdt import AlgebraError, version_of
from driftlog_schemas.avro_steps import Step, behind, number, steps_of
from driftlog_schemas.declarations import TERMS
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.framing import HEADER_BYTES, decode_plain, schema_id_of
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.state_codec import META
from driftlog_schemas.writer_schema import NoSchema, writer_schema

DIGEST_BYTES = 8
MOST_WRITERS = 1000


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
        self._writers: dict[bytes, _Writer] = {}
        """By the bytes that name a schema: a recovery asks for each record, and there are a few."""

    def digest(self, key: bytes, value: bytes | None) -> int:
        """What a record adds to its scope's digest; nothing where there is none.

        Raises `Undecodable`, `UnknownSchema` for what is no row of ours, `RegistryUnreachable`.
        """
        if value is None:
            return 0
        writer = self._writers.get(value[:HEADER_BYTES]) or self._writer(value)
        if writer.goes_up:
            return 0
        try:
            version, deleted = _stepped_to(value, writer) or _read(value, writer)
        except (AlgebraError, LookupError, TypeError) as error:
            raise Undecodable(f"a row whose version cannot be read: {error}") from error
        return 0 if deleted else document_digest(key, version)

    def goes_up(self, value: bytes) -> bool:
        """Is it a row of a collection that only goes up, as its writer has declared it? Raises like `digest`."""
        return self._writer(value).goes_up

    def _writer(self, value: bytes) -> _Writer:
        name = value[:HEADER_BYTES]
        found = self._writers.get(name)
        if found is None:
            found = _writer(self._ids.schema_of(schema_id_of(value)))
            if len(self._writers) < MOST_WRITERS:  # anybody may write ids
                self._writers[name] = found
        return found


UNTOLD = (Undecodable, UnknownSchema)
"""What `Versions` raises of a record whose version nobody can tell."""


class _Writer(NamedTuple):
    """What a schema says of the rows that are written by it."""

    schema: Any
    goes_up: bool
    columns: Sequence[Step] | None
    """How to step over what stands before the merge's own memory; None where the row has to be read for it."""


def _writer(text: str) -> _Writer:
    try:
        schema = writer_schema(text)[1]
    except NoSchema as error:
        raise Undecodable(f"not a record's schema in Avro: {error}") from error
    found = json.loads(text)
    terms = found.get(TERMS) if isinstance(found, dict) else None
    return _Writer(schema, isinstance(terms, dict) and terms.get("direction") == "up", _columns(schema))


_MEMORY = [("deleted", "boolean"), ("merge", "bytes")]
"""What stands in the last column of a row, as every release writes it."""


def _columns(schema: Any) -> Sequence[Step] | None:
    *columns, last = schema["fields"] or [{"name": "", "type": ""}]
    kind = last["type"]
    if last["name"] != META or not isinstance(kind, dict) or kind["type"] != "record":
        return None
    if [(field["name"], field["type"]) for field in kind["fields"]] != _MEMORY:
        return None
    return steps_of([column["type"] for column in columns])


def _stepped_to(value: bytes, writer: _Writer) -> tuple[bytes, bool] | None:
    """The version in a row and whether its document is deleted, without reading the columns; None where the row is not quite so, and has to be read."""
    if writer.columns is None:
        return None
    try:
        place = behind(value, HEADER_BYTES, writer.columns)
        size, at = number(value, place + 1)
        deleted = value[place]
    except (IndexError, ValueError):
        return None
    return (version_of(value[at:]), deleted == 1) if deleted <= 1 and at + size == len(value) else None


def _read(value: bytes, writer: _Writer) -> tuple[bytes, bool]:
    """The same, whatever the row is. Raises `Undecodable`, AlgebraError, LookupError, TypeError."""
    meta = decode_plain(writer.schema, value, HEADER_BYTES).get(META)
    if not isinstance(meta, dict):
        raise Undecodable(f"a row without {META}")
    return version_of(meta["merge"]), meta["deleted"]
