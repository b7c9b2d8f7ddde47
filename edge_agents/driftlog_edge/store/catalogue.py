"""Which documents of a scope there are, in id order: confirmed and pending ones, merged while both are walked.

So a page costs a page, not the scope.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key, scope_prefix


def documents_of(source: Source, collection: str, scope: str, after: str = "") -> Iterator[DocumentId]:
    """Those after the id `after`, deleted ones too."""
    prefix = scope_prefix(collection, scope)
    start = document_key(DocumentId(collection, scope, after)) if after else b""
    confirmed = (key for key, _ in source.scan(Family.CONFIRMED, prefix, start))
    pending = (keys.document_of_pending(key) for key, _ in source.scan(Family.PENDING, prefix, start))
    last = start
    for key in heapq.merge(confirmed, pending):
        if key > last:
            last = key
            yield parse_document_key(key)
