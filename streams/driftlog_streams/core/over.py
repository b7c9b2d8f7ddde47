"""Lives that are over and have no chain row any more.

For each life that ever wrote a partition would keep a row for ever. So the cloud removes those to which nothing has happened since below the floor
(`Forgetting.over`), and keeps in one row, `cloud.over`, what must still be known: which life it was (a digest of its name), how and to whose
benefit it ended, and where its chain stood. The book gives that for the row, so everybody goes on judging by it: a batch under the name is refused,
its dots are forgotten in vectors, its rights are its heir's, and no chain begins anew.

Gone are its verdicts, and which of its commands came in by later lives. If any did, such a command is refused as `maybe_counted` unless its
writer had read the removal, for then nobody can have brought it before. Who asks under the old name gets a row again, without entries; it goes
like any other when its time has come.

Must never happen: a tombstone in the topic ahead of what is kept of the life.
"""

from __future__ import annotations

from driftlog_schemas.identity import CLOUD, OVER_REPLICA, device_of
from driftlog_schemas.messages import ChainRow, Over
from driftlog_streams.core.chain import parked

MAX_OVER = 10_000
"""Lives without a row: 420 KB in `cloud.over`. The rows of more than these stay."""


def may_go(row: ChainRow, floor: int) -> bool:
    """Is the life over, and is all that happened to its row below this floor? Whoever asks then was away."""
    if not row.ended or any(map(parked, row.entries)):
        return False
    decided = [at for entry in row.entries for at in (entry.offset, entry.decided_at)]
    brought = [one.offset for one in row.taken.values()]
    noticed = -1 if row.notice is None else row.notice.offset
    return max(row.ended_at, row.forgotten, noticed, *decided, *brought, -1) < floor


def rest(row: ChainRow, offset: int) -> Over:
    """What is kept when the record at this offset takes the row away."""
    since = offset if row.taken else row.taken_from
    return Over(row.last, row.head, row.offset, row.ended, row.ended_at, row.heir, since, offset)


def without_entries(replica: str, space: str, partition: int, over: Over) -> ChainRow:
    """The row of a life that has none any more."""
    after = over.last + 1
    return ChainRow(
        device_of(replica),
        replica,
        space,
        partition,
        over.last,
        over.head,
        after,
        (),
        refused_from=after,
        ended=over.ended,
        ended_at=over.ended_at,
        heir=over.heir,
        offset=over.offset,
        forgotten=over.removed,
        taken_from=over.taken_from,
    )


def nobody(space: str, partition: int) -> ChainRow:
    """The row `cloud.over` of a partition in which every life has its row."""
    return ChainRow(CLOUD, OVER_REPLICA, space, partition, 0, b"", 1, ())
