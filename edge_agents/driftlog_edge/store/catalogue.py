"""Which documents of a scope there are, in id order: confirmed and pending ones, merged while both are walked.

So a page costs a page, not the scope.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys
from driftlog_edge.store.generations import Generations
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key, scope_prefix


def documents_of(
    source: Source, generations: Generations, collection: str, scope: str, after: str = ""
) -> Iterator[DocumentId]:
    """Those after the id `after`; deleted ones too, those that are evicted, and those that this release cannot read."""
    prefix = scope_prefix(collection, scope)
    start = document_key(DocumentId(collection, scope, after)) if after else b""
    rows = generations.prefix(source, collection, scope)
    confirmed = _documents(source, Family.CONFIRMED, rows, prefix, start)
    unread = _documents(source, Family.UNREAD, rows, prefix, start)
    markers = keys.evicted_key(rows)
    evicted = _documents(source, Family.META, markers, prefix, start)
    pending = (keys.document_of_pending(key) for key, _ in source.scan(Family.PENDING, prefix, start))
    last = start
    for key in heapq.merge(confirmed, unread, evicted, pending):
        if key > last:
            last = key
            yield parse_document_key(key)


def _documents(source: Source, family: Family, rows: bytes, prefix: bytes, start: bytes) -> Iterator[bytes]:
    after = rows + start if start else b""
    return (key[len(rows) :] for key, _ in source.scan(family, rows + prefix, after))
