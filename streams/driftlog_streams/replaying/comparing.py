"""Two read models of a partition side by side: which documents differ, and in what.

Equal bytes are equal. Where they are not, the rows are read: another release may have written the same document with other columns, which is no
difference; all else is listed by field, and where no field shows it, as a difference in the merge's own memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from driftlog_crdt import AlgebraError
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.state_codec import META
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import PartitionStore

UNREADABLE, MEMORY = "not readable", "merge memory"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one document. `fields` has what runs and what was rebuilt of each that differs."""

    document: DocumentId
    what: str
    """`missing` in the running model, `surplus` there, `differs`, or `unreadable` with these rules"""
    fields: Mapping[str, tuple[Any, Any]]


def differences(rules: SpaceRules, running: PartitionStore, rebuilt: PartitionStore) -> Iterator[Difference]:
    """In order of the documents' keys."""
    for key, before, after in _side_by_side(running, rebuilt):
        if before != after:
            found = _difference(rules, key, before, after)
            if found is not None:
                yield found


def _side_by_side(one: PartitionStore, other: PartitionStore) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    left, right = one.documents(), other.documents()
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield a[0], a[1], None
            a = next(left, None)
        elif a is None or b[0] < a[0]:
            yield b[0], None, b[1]
            b = next(right, None)
        else:
            yield a[0], a[1], b[1]
            a, b = next(left, None), next(right, None)


def _difference(rules: SpaceRules, key: bytes, before: bytes | None, after: bytes | None) -> Difference | None:
    try:
        document = parse_document_key(key)
    except ValueError:
        return Difference(DocumentId("", "", key.decode(errors="replace")), "unreadable", {})
    old, new = _row(rules, document, before), _row(rules, document, after)
    if UNREADABLE in (old, new):
        return Difference(document, "unreadable", {})
    if before is None or after is None:
        what = "missing" if before is None else "surplus"
        return Difference(document, what, _fields(old, new))
    fields = _fields(old, new)
    memory = old[META]["merge"] != new[META]["merge"]  # type: ignore[index]  # both are rows
    if memory and not fields:
        fields = {MEMORY: (_version(rules, document, before), _version(rules, document, after))}
    return Difference(document, "differs", fields) if fields else None


def _row(rules: SpaceRules, document: DocumentId, value: bytes | None) -> Mapping[str, Any] | str:
    if value is None:
        return {META: {"deleted": True, "merge": b""}}
    collection = rules.collections.get(document.collection)
    if collection is None:
        return UNREADABLE
    try:
        return collection.codec.decode_row(value)
    except (ContractError, AlgebraError, ValueError):
        return UNREADABLE


def _fields(old: Mapping[str, Any] | str, new: Mapping[str, Any] | str) -> dict[str, tuple[Any, Any]]:
    """Columns that differ; whether it is there at all stands under `deleted`."""
    assert not isinstance(old, str) and not isinstance(new, str)
    names = [name for name in (*old, *(name for name in new if name not in old)) if name != META]
    found = {n: (old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)}
    gone = old[META]["deleted"], new[META]["deleted"]
    return found if gone[0] == gone[1] else found | {"deleted": gone}


def _version(rules: SpaceRules, document: DocumentId, value: bytes) -> dict[str, int]:
    return dict(rules.collections[document.collection].codec.decode(value).vector)
