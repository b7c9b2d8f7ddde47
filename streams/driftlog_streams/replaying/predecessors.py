"""The lives that wrote in a closed space, as its successor must know them: all of them are over.

Of a life that is over the successor needs to know whose its rights are, which of its commands came in by later lives, and that nothing under its name counts
any more. What its batches were answered stands in the old receipts, and is final there.

A life may have written in several partitions of before, and where its scopes lie now only they tell. So each partition of the successor knows all lives, with what
any partition knew of them. What was numbered there stays as it was numbered, for the successor counts on behind all of it (`driftlog_schemas.moves`).

Who wrote something without having read what a partition had forgotten by then may have written on what is gone. In one row and one number of the successor that is
told for all partitions together, so it is kept apart for each of them, too (`since`): an agent that had read so far when it wrote has nothing to fear from the
numbers of other partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from driftlog_schemas.identity import (
    CLOSING_REPLICA,
    CLOUD,
    CLOUD_REPLICA,
    OVER_REPLICA,
    REACTION_REPLICA,
    device_of,
)
from driftlog_schemas.messages import ChainRow, Forgot, Over, Taken
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import over
from driftlog_streams.core.chain import Fit
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.taken import MAX_TAKEN
from driftlog_streams.errors import SetupProblem
from driftlog_streams.faust_driver.partition_store import PartitionStore

_NO_LIVES = frozenset({CLOUD_REPLICA, OVER_REPLICA, REACTION_REPLICA, CLOSING_REPLICA})


class Closed(NamedTuple):
    """A partition of before."""

    store: PartitionStore
    ended_at: int
    """Offset of the record that has closed its log."""


class Life(NamedTuple):
    """What all partitions together know of one."""

    ended_at: int
    taken: Mapping[bytes, Taken]
    taken_from: int

    def joined(self, other: Life) -> Life:
        """With what another partition knows."""
        taken_from = max(self.taken_from, other.taken_from)
        return Life(max(self.ended_at, other.ended_at), {**self.taken, **other.taken}, taken_from)


@dataclass(frozen=True)
class Predecessors:
    """Of one space."""

    lives: Mapping[str, Life]
    gone: Mapping[bytes, Over]
    """Those whose rows were removed, by the short digest of their names."""
    purged: int
    """The highest number by which anything was purged."""
    since: tuple[int, ...]
    """Of each partition of before, from which number on its readers had read all that it has forgotten."""

    def rows(
        self, space: str, partition: int, begins: int, active: Callable[[str], bool], *, documents: bool = True
    ) -> Iterator[tuple[str, ChainRow]]:
        """Replica -> its row, in a partition of the successor that begins with this number. Does it have `documents`?

        Where a device may still write (`active`) it inherits what its lives had, else it goes to each counter's holder.
        """
        last = begins - 1
        for replica, life in self.lives.items():
            yield replica, _over(replica, life, space, partition, begins, active=active(device_of(replica)))
        nobody = over.nobody(space, partition)
        if self.gone:
            yield OVER_REPLICA, replace(nobody, over=self.gone)
        # Who has not read what lies here from the beginning on is away. Where nothing does, nobody can tell that he has read it.
        forgot = (Forgot(last, last if documents else -1, self.purged),)
        yield CLOUD_REPLICA, ChainRow(CLOUD, CLOUD_REPLICA, space, partition, 0, b"", 1, (), forgot=forgot)


def gathered(rules: SpaceRules, partitions: Sequence[Closed]) -> Predecessors:
    """What the stores of a space's partitions know, in their order.

    Raises:
        SetupProblem: of more lives than fit into one row the names are gone.
        Undecodable, UnknownSchema: a row is of a release that this one cannot read.
    """
    lives: dict[str, Life] = {}
    gone: dict[bytes, Over] = {}
    since = []
    purged = 0
    for store, ended_at in partitions:
        forgotten = taken_from = 0
        for row in map(rules.records.decode_chain_row, store.rows()):
            if row.replica == CLOUD_REPLICA:
                forgotten = max([forgot.purged for forgot in row.forgot], default=0)
            for name, rest in row.over.items():
                gone[name] = _joined(gone[name], rest) if name in gone else _without_chain(rest)
                taken_from = max(taken_from, rest.taken_from)
            if row.replica not in _NO_LIVES:
                life = Life(row.ended_at if row.ended else ended_at, row.taken, row.taken_from)
                lives[row.replica] = lives[row.replica].joined(life) if row.replica in lives else life
                taken_from = max(taken_from, row.taken_from)
        since.append(max(forgotten, taken_from))
        purged = max(purged, forgotten)
    for replica in lives:
        if (name := short_name(replica)) in gone:
            rest = gone.pop(name)
            lives[replica] = lives[replica].joined(Life(rest.ended_at, {}, rest.taken_from))
    if len(gone) > over.MAX_OVER:
        raise SetupProblem(
            f"of {len(gone):,} lives that are over {rules.name} has no row any more, and one partition keeps at most {over.MAX_OVER:,}",
            "another partition count takes a space with another name",
        )
    return Predecessors(lives, gone, purged, tuple(since))


def _over(replica: str, life: Life, space: str, partition: int, begins: int, *, active: bool) -> ChainRow:
    """The row of a life whose chain was another log's."""
    taken, taken_from = life.taken, life.taken_from
    if len(taken) > MAX_TAKEN:  # as if its row had been removed: nobody had read that when he wrote
        taken, taken_from = {}, begins
    return ChainRow(
        device_of(replica),
        replica,
        space,
        partition,
        0,
        b"",
        1,
        (),
        refused_from=1,
        ended=(Fit.ENDED if active else Fit.RETIRED).value,
        ended_at=life.ended_at,
        taken=taken,
        taken_from=taken_from,
    )


def _without_chain(rest: Over) -> Over:
    return rest._replace(last=0, head=b"", offset=-1)


def _joined(one: Over, other: Over) -> Over:
    """What two partitions keep of a life: whose its rights are says the one that has kept it for shorter."""
    latest = max(one, other, key=lambda rest: rest.removed)
    ended_at, taken_from = max(one.ended_at, other.ended_at), max(one.taken_from, other.taken_from)
    return _without_chain(latest)._replace(ended_at=ended_at, taken_from=taken_from)
