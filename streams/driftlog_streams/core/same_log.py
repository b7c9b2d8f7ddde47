"""Is an op log the one that the rows were merged from?

The offsets of an op log are the numbers of all that is made of it: groups of states, floors, what was purged. An op topic that was deleted and made again
counts from nothing, so to go on in it would take each state for a stranger's and each new op for an old one. Its id is another one then, but so
is that of a topic which came back from a backup as it was. A row tells which is which: it names the newest batch of its replica by offset and digest. A
log that begins behind all of these leads on as well, whatever was before its beginning.

A stranger may write rows of batches that there never were. So one row that tells the truth is enough, and a log is another one only if none does.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from driftlog_schemas.batch_codec import SHORT_DIGEST_BYTES, batch_digest
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.messages import ChainRow
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules

WITNESSES = 16
"""So many rows are asked at most, those of the newest batches."""


def witnesses(rows: Iterable[ChainRow]) -> dict[int, bytes]:
    """Offset -> how the digest of the batch there begins, as rows tell it."""
    newest = (row.entries[-1] for row in rows if row.entries)
    return dict(heapq.nlargest(WITNESSES, ((entry.offset, entry.digest) for entry in newest)))


def is_another(told: Mapping[int, bytes], first: int, found: Mapping[int, ChangelogRecord], rules: SpaceRules) -> bool:
    """`told` by rows; `found` in the log, which begins at `first`."""
    left = {offset: digest for offset, digest in told.items() if offset >= first}
    return bool(left) and not any(
        offset in found and _digest(found[offset], rules) == digest for offset, digest in left.items()
    )


def _digest(record: ChangelogRecord, rules: SpaceRules) -> bytes:
    """How that of the batch in it begins; empty where there is none that can be read."""
    if record.value is None:
        return b""
    try:
        return batch_digest(rules.batches.open(record.value).body)[:SHORT_DIGEST_BYTES]
    except (Undecodable, UnknownSchema, RegistryUnreachable):  # it says nothing
        return b""
