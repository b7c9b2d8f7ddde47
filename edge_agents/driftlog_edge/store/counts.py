"""With how many partitions of each space a folder was written, and whether the cloud was ever met with as many.

A scope's partition follows from the count, and what waits, its chains and the rows that are read lie in the store by partition. So an app that declares
another count would look for all of it elsewhere, and what it sealed would be refused. The count of a space never changes in the cloud either
(`driftlog_schemas.topics`). A folder keeps the count with which it began, and is not opened with another one.

But who has never met the cloud may have begun with a count that the cloud does not have. Nothing was sealed then (`link/count_check`), and
what waits moves to where the declared count has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple, Protocol

import structlog

from driftlog_edge.errors import UNWRITABLE, OtherPartitions
from driftlog_edge.ports import Family, Place, Store
from driftlog_edge.store import keys
from driftlog_edge.store.lives import Chain
from driftlog_edge.store.logged import logged
from driftlog_schemas.contract import AppContract, SpaceContract
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.partitioning import partition_of

log = structlog.get_logger()

AT_ONCE = 1_000
"""Commands that one write moves."""
_PLACE = (Family.META, keys.COUNTS)


class Readable(Protocol):
    """What a folder holds, or what is left of one."""

    def get(self, family: Family, key: bytes) -> bytes | None: ...


class Count(NamedTuple):
    """Of one space."""

    partitions: int
    """0 while what waits is moved from one count to another: it lies by either."""
    met: bool = False
    """Was the cloud met, and had it as many?"""


ELSEWHERE = Count(0, met=True)
"""Of a space that lies by another count under another name (`store/carrying`): no release that does not know where opens the folder."""


def counts_of(source: Readable) -> dict[str, Count]:
    """By space; none of a space that this folder was never opened with."""
    raw = source.get(*_PLACE)
    return {} if raw is None else {space: Count(*plain) for space, plain in json.loads(raw).items()}


def require_same(known: Mapping[str, Count], contract: AppContract) -> None:
    """Raise `OtherPartitions` for the first space of which the app declares another count than a folder knows."""
    for space in contract.spaces.values():
        count = known.get(space.name, Count(0))
        if count.partitions not in (0, space.partitions):
            raise _other(space, count)


def written(counts: Mapping[str, Count]) -> dict[Place, bytes | None]:
    """The write that keeps them."""
    return {_PLACE: json.dumps(counts).encode()}


def settle(store: Store, contract: AppContract) -> None:
    """Open a folder with what the app declares; nothing is changed where it raises.

    Raises:
        OtherPartitions: it was written with another count of a space, and the cloud may know what it has.
    """
    known = counts_of(store)
    changed = [
        space for space in contract.spaces.values() if known.get(space.name, Count(0)).partitions != space.partitions
    ]
    for space in changed:
        _require_movable(store, space, known.get(space.name))
    try:
        for space in changed:
            if space.name in known:
                _move(store, space, known)
            known[space.name] = Count(space.partitions)
            store.write(written(known), sync=True)
    except UNWRITABLE as error:  # the next start does it; until then nothing is sealed
        log.warning("the partition counts of this folder wait for room on the disk", reason=str(error))


def _require_movable(store: Store, space: SpaceContract, known: Count | None) -> None:
    """Raise `OtherPartitions` unless nobody but this folder can know where its scopes lie."""
    if known is None:
        _require_rows(store, space)
        return
    chains = {replace(chain, offset=-1) for chain in map(Chain.decode, _chains(store, space.name).values())}
    sent = any(chain.number for chain in chains) or _row(store, space.name) is not None
    if known.met or sent or len(chains) > 1:
        raise _other(space, known)


def _row(store: Store, space: str) -> bytes | None:
    """The key of a confirmed row, if there is any."""
    return next((key for key, _ in store.scan(Family.CONFIRMED, keys.space_prefix(space))), None)


def _chains(store: Store, space: str) -> dict[bytes, bytes]:
    found = store.scan(Family.META, keys.CHAINS)
    return {key: raw for key, raw in found if keys.parse_place(key, keys.CHAINS)[0] == space}


def _other(space: SpaceContract, known: Count) -> OtherPartitions:
    return _refused(space, f"with {known.partitions or 'another number of'} partitions of it")


def _refused(space: SpaceContract, how: str) -> OtherPartitions:
    return OtherPartitions(
        f"the app declares {space.partitions} partitions of space {space.name}, and this folder was written {how}; nothing is changed",
        "declare what the topics have (`driftlog topics plan` shows it), or begin with an empty data_dir once all that waits here is sent",
    )


def _require_rows(store: Store, space: SpaceContract) -> None:
    """Raise `OtherPartitions` where the rows of a folder, of a release that kept no count, lie by another one."""
    key = _row(store, space.name)
    if key is None:
        return
    scope, partition = parse_document_key(keys.document_of_confirmed(key)).scope, keys.parse_confirmed(key)[1]
    if partition != partition_of(scope, space.partitions):
        raise _refused(space, f"with another number: scope {scope} lies in partition {partition} there")


def _move(store: Store, space: SpaceContract, known: dict[str, Count]) -> None:
    """Put what waits where the declared count has it. Cut off anywhere, the next start goes on with whatever it declares."""
    known[space.name] = Count(0)
    store.write(written(known), sync=True)
    moved = 0
    places: set[int] = set()
    for writes in _moves(store, space, places):
        moved += len(writes) // 2
        store.write(writes, sync=False)
    chains = _chains(store, space.name)
    ended: dict[Place, bytes | None] = {(Family.META, key): None for key in chains}
    began = {(Family.META, keys.chain_key(space.name, at)): chain for at in places for chain in chains.values()}
    store.write({**ended, **began}, sync=True)
    log.info("what waits lies by another number of partitions now", space=space.name, commands=moved)


def _moves(store: Store, space: SpaceContract, places: set[int]) -> Iterator[dict[Place, bytes | None]]:
    """The writes, some commands each; `places` gathers where anything waits then."""
    after = b""
    while found := list(islice(store.scan(Family.OUTBOX, keys.space_prefix(space.name), after), AT_ONCE)):
        writes: dict[Place, bytes | None] = {}
        for key, size in found:
            _, urgency, partition, lsn = keys.parse_outbox(key)
            wanted = partition_of(logged(store, lsn).command.scope, space.partitions)
            places.add(wanted)
            if wanted != partition:
                writes[Family.OUTBOX, key] = None
                writes[Family.OUTBOX, keys.outbox_key(space.name, urgency, wanted, lsn)] = size
        yield writes
        after = found[-1][0]
