"""Counting digests from the rows themselves: a digest that is only carried along would not notice a row that the disk or a defect has changed.

A partition's rows are walked a few at a time, beside everything else. A scope whose digest changed meanwhile says nothing this time. What is wrong is
told as a difference: put over the digest by XOR it makes it right, whatever is applied in between.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from itertools import islice

from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys
from driftlog_edge.store.digests import ScopeDigest, row_digest
from driftlog_edge.store.evicted import Marker
from driftlog_schemas.digests import Versions
from driftlog_schemas.identity import parse_document_key

AT_ONCE = 100


def recount(
    source: Source, versions: Versions, space: str, partition: int, generation: int, scopes: Collection[str]
) -> Generator[None, None, dict[str, int]]:
    """By what the digests of held scopes are wrong; it stops after every few rows. Raises `RegistryUnreachable`."""
    before = _entries(source, space, partition, generation)
    sums: dict[str, int] = {}
    prefix = keys.confirmed_prefix(space, partition, generation)
    for family in (Family.UNREAD, Family.CONFIRMED):
        after = b""
        while rows := list(islice(source.scan(family, prefix, after), AT_ONCE)):
            after = rows[-1][0]
            for row, value in rows:
                if family is Family.CONFIRMED and source.get(Family.UNREAD, row) is not None:
                    continue  # what could not be read is newer
                key = keys.document_of_confirmed(row)
                scope = parse_document_key(key).scope
                sums[scope] = sums.get(scope, 0) ^ row_digest(versions, key, value)
            yield
    for number, (key, marker) in enumerate(_evicted(source, prefix), 1):
        if number % AT_ONCE == 0:
            yield  # who is evicted or comes back meanwhile moves the scope's digest
        scope = parse_document_key(key).scope
        sums[scope] = sums.get(scope, 0) ^ marker.digest
    now = _entries(source, space, partition, generation)
    still = [scope for scope in {*sums, *before} if scope in scopes and before.get(scope) == now.get(scope)]
    wrong = {scope: sums.get(scope, 0) ^ ScopeDigest.decode(now.get(scope)).own for scope in still}
    return {scope: difference for scope, difference in wrong.items() if difference}


def _evicted(source: Source, rows: bytes) -> Iterator[tuple[bytes, Marker]]:
    """Those in whose place no row counts."""
    prefix, after = keys.evicted_key(rows), b""
    while some := list(islice(source.scan(Family.META, prefix, after), AT_ONCE)):
        after = some[-1][0]
        for key, value in some:
            row = key[len(keys.EVICTED) :]
            if source.get(Family.UNREAD, row) is None:
                yield keys.document_of_confirmed(row), Marker.decode(value)


def _entries(source: Source, space: str, partition: int, generation: int) -> dict[str, bytes]:
    found = source.scan(Family.META, keys.digest_prefix(space, partition, generation))
    return {keys.parse_digest(key)[3]: value for key, value in found}
