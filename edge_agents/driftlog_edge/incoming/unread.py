"""Rows that an older release kept because it could not read them: this one tries.

They lie beside the confirmed rows, under the same keys, as they came. It is done when an agent starts, before anybody asks it, from what is on the
disk alone: the network may be far. What still cannot be read stays, and readers are told so by a code of its own. To the digest of its scope such a
row counts by its version from the beginning (`tally`), so reading it changes that only where it is joined with what an older release had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import structlog

from driftlog_crdt import dominates
from driftlog_edge.incoming.pulled import UNREADABLE
from driftlog_edge.ports import Family, Place, Source
from driftlog_edge.store import keys
from driftlog_edge.store.digests import ScopeDigest, row_digest
from driftlog_edge.store.evicted import marker_of
from driftlog_edge.store.generations import serve, serving
from driftlog_schemas.digests import Versions
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.state_codec import StateCodec

log = structlog.get_logger()

AT_ONCE = 1_000


def read_again(
    source: Source, codecs: Mapping[str, StateCodec], versions: Versions
) -> Iterator[dict[Place, bytes | None]]:
    """The writes that turn what can be read now into confirmed rows, some at a time; write each before the next is asked for."""
    after = b""
    while rows := list(islice(source.scan(Family.UNREAD, b"", after), AT_ONCE)):
        after = rows[-1][0]
        writes: dict[Place, bytes | None] = {}
        for row, value in rows:
            _read(source, codecs, versions, row, value, writes)
        if writes:
            log.info(
                "rows that an older release could not read are read", upto=keys.document_of_confirmed(after).decode()
            )
            yield writes


def _read(
    source: Source,
    codecs: Mapping[str, StateCodec],
    versions: Versions,
    row: bytes,
    value: bytes,
    writes: dict[Place, bytes | None],
) -> None:
    key = keys.document_of_confirmed(row)
    document = parse_document_key(key)
    codec = codecs.get(document.collection)
    if codec is None:
        return
    try:
        state = codec.decode(value)
        raw = source.get(Family.CONFIRMED, row)
        before = None if raw is None else codec.decode(raw)
    except UNREADABLE:
        return
    marker = marker_of(source, row)
    if marker is not None and not dominates(state.vector, marker.vector):
        return  # somebody's late word on a row that is evicted: the newer one is fetched when the topic says it again
    space, partition, generation = keys.parse_confirmed(row)
    if before is not None and not dominates(state.vector, before.vector):
        counted = row_digest(versions, key, value)
        value = codec.encode(document, codec.collection.document.join(before, state))
        place = (Family.META, keys.digest_key(space, partition, generation, document.scope))
        known = ScopeDigest.decode(writes[place] if place in writes else source.get(*place))
        writes[place] = known._replace(own=known.own ^ counted ^ row_digest(versions, key, value)).encode()
    writes[Family.CONFIRMED, row] = value
    writes[Family.UNREAD, row] = None
    if marker is not None:
        writes[Family.META, keys.evicted_key(row)] = None
        scope = (Family.META, keys.digest_key(space, partition, generation, document.scope))
        known = ScopeDigest.decode(writes[scope] if scope in writes else source.get(*scope))
        writes[scope] = known.moved(-1).encode()
    if generation == serving(source, space, partition):  # what was pending under it is looked at anew (`Returns.tidy`)
        writes.update(serve(space, partition, generation))
