"""What a partition should forget next: decided here from what is known, written into the op log, and done only when it is read from there.

The floor is given: an op offset that lies the retention back. What is below it:

- documents of which nothing is there, with their newest group not above it: they were deleted, or nothing but refused changes was ever
  made on them, and whoever has read up to the floor has seen that;
- lives of which no batch has come since, and no heartbeat for as long: they are over, and their device inherits their rights, or each
  counter's holder where the device may no longer write. Who was heard of is known to the worker that writes, and what it wrote is in the log;
- chain rows of lives that were over, with all that ever happened to them: they go as soon as they are a sixteenth of those that are gone
  already, for what is kept of all of them is one record.

Nothing is written where nothing would change, so an idle partition does not grow by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from itertools import islice
from operator import ge
from typing import TypeVar

from driftlog_crdt import AlgebraError
from driftlog_schemas.errors import ContractError
from driftlog_schemas.forgetting_codec import MAX_OVER as MAX_OVER_AT_ONCE
from driftlog_schemas.forgetting_codec import MAX_PURGE, MAX_RETIRED, digest_of
from driftlog_schemas.identity import CLOUD_REPLICA, OVER_REPLICA, REACTION_REPLICA, device_of, parse_document_key
from driftlog_schemas.messages import Batch, ChainRow, Forgetting
from driftlog_streams.core.memory import MAX_FORGOT, NOTHING
from driftlog_streams.core.over import MAX_OVER, may_go
from driftlog_streams.core.rules import SpaceRules

T = TypeVar("T")
_OURS = (CLOUD_REPLICA, REACTION_REPLICA)
PURGE_BYTES, RETIRED_BYTES = 450 << 10, 300 << 10
"""So much of a record, at most, is of documents and of lives: with the longest names a batch has no room for as many as may be in one."""
LONGEST_KEY, BESIDES = 4096, 8
MANY = 16
"""Of so many lives without a row one more row may wait for others to go with it: the record that tells of them is written anew each time."""


def plan(
    known: ChainRow | None,
    floor: int,
    dead: Iterable[tuple[bytes, bytes]],
    rows: Iterable[ChainRow],
    active: Callable[[str], bool],
    alive: Container[str] = (),
) -> Forgetting | None:
    """What to forget, or None where nothing would change.

    `known` is the row of the cloud's replica; `dead` are documents that were gone up to the floor, with the digest of their vector;
    `active` says whether a device may still write; `alive` are lives that were heard of since.
    """
    forgot = () if known is None else known.forgot
    last = forgot[-1] if forgot else NOTHING
    if floor < max(last.floor, 0) or len(forgot) >= MAX_FORGOT:
        return None
    lives, ended, known_over = [], [], 0
    for row in rows:
        if row.replica == OVER_REPLICA:
            known_over = len(row.over)
        elif may_go(row, floor):
            ended.append(row.replica)
        elif row.head and not row.ended and row.offset < floor and row.replica not in _OURS:
            lives.append(row.replica)
    silent = (replica for replica in lives if replica not in alive)
    retired = {
        r: device_of(r) if active(device_of(r)) else "" for r in _fitting(silent, MAX_RETIRED, RETIRED_BYTES, _of_life)
    }
    purge = dict(_fitting(dead, MAX_PURGE, PURGE_BYTES, _of_document))
    over = _leaving(ended, known_over)
    if not (purge or retired or over or floor > last.offset):
        return None
    return Forgetting(floor, retired, purge, over=over)


def is_full(forgetting: Forgetting) -> bool:
    """Is it as much as one record holds, so that there may be more?"""
    most = MAX_PURGE, MAX_RETIRED, MAX_OVER_AT_ONCE
    count = len(forgetting.purge), len(forgetting.retired), len(forgetting.over)
    room = PURGE_BYTES - sum(map(_of_document, forgetting.purge.items()))
    return any(map(ge, count, most)) or room < LONGEST_KEY


def _fitting(found: Iterable[T], most: int, room: int, size: Callable[[T], int]) -> Iterator[T]:
    """The first of these, so many at most, and so many bytes."""
    for one in islice(found, most):
        room -= size(one)
        if room < 0:
            return
        yield one


def _of_life(replica: str) -> int:
    return len(replica) + len(device_of(replica)) + BESIDES


def _of_document(document: tuple[bytes, bytes]) -> int:
    key, seen = document
    return len(key) + len(seen) + BESIDES


def _leaving(ended: Collection[str], known: int) -> tuple[str, ...]:
    """Whose rows go now, of lives that are over, where so many are gone."""
    room = min(MAX_OVER - known, MAX_OVER_AT_ONCE)
    return tuple(sorted(ended)[: max(room, 0)]) if len(ended) > known // MANY else ()


def next_batch(known: ChainRow | None, space: str, partition: int, forgetting: Forgetting) -> Batch:
    """The cloud's next batch. Of two workers that write one, the chain takes the first."""
    number = 1 if known is None else known.last + 1
    prev = b"" if known is None else known.head
    return Batch(space, partition, CLOUD_REPLICA, number, (), prev=prev, floor=number, forget=forgetting)


def readable(rules: SpaceRules, values: Iterable[bytes]) -> Iterable[ChainRow]:
    """The chain rows among these that this release can read; of the others nobody is retired."""
    for value in values:
        try:
            yield rules.records.decode_chain_row(value)
        except (ContractError, ValueError):
            continue


def tombstones(rules: SpaceRules, found: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    """Of documents with their state those of which nothing is there, with the digest of their vector."""
    for key, value in found:
        try:
            collection = rules.collections[parse_document_key(key).collection]
            state = collection.codec.decode(value)
        except (ValueError, KeyError, ContractError, AlgebraError):
            continue  # this release cannot read it, so it stays
        if not collection.type.exists(state):
            yield key, digest_of(state.vector)
