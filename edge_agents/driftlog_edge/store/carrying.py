"""What a folder has of a space that has moved, carried to where the space goes on: under its new name, and by its new partition count.

It happens at an opening, before anything is read or written there, some entries at a time. Each write takes entries from one place and puts them into the other, so
that what cuts it off loses nothing, and the next opening goes on with what still lies under the old name. The chains go last, and with them it is done.

Rows come along to be read meanwhile: where the space goes on each partition is read from its start beside them (`incoming/returning`). What a writer had read is told by
the numbers of the old log, which the new one counts on behind. Who had read all that its old partition had forgotten has nothing to fear from what other
partitions had forgotten, and is told to have read all of before (`Moved.since`).

Must never happen: a folder that is opened while it lies half here and half there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import structlog

from driftlog_edge.errors import UNWRITABLE
from driftlog_edge.link.freshness import elsewhere
from driftlog_edge.ports import Family, Place, Store
from driftlog_edge.store import generations, keys
from driftlog_edge.store.counts import ELSEWHERE, counts_of
from driftlog_edge.store.counts import written as counts_written
from driftlog_edge.store.cursors import NOTHING_READ, Cursor, moved
from driftlog_edge.store.digests import ScopeDigest
from driftlog_edge.store.evicted import ANYWHERE, Marker, Trace
from driftlog_edge.store.generations import Return
from driftlog_edge.store.lives import KEPT, Chain, Life
from driftlog_edge.store.logged import Logged, encode_logged, logged
from driftlog_edge.store.moves import Stage, move_of, present, written
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract, SpaceContract
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.moves import present as following
from driftlog_schemas.partitioning import partition_of

log = structlog.get_logger()

AT_ONCE, AT_ONCE_BYTES = 1_000, 8 << 20
"""So many entries, or so many bytes of them, are one write."""
WHY = "the space goes on with another number of partitions"
_TOPICS = (topics.state_topic, topics.receipts_topic, topics.conflicts_topic, topics.ops_topic)

_Entry = tuple[Family, bytes, bytes]


def carry(store: Store, declared: AppContract, wall_ms: int) -> AppContract:
    """The app as this folder has it, after what is packed was carried.

    Raises:
        DiskFull, StoreDamaged, StoreFailed: a space lies half here and half there. Where nothing was carried yet a store that takes no writes is opened as it is.
    """
    contract = present(store, declared)
    while (space := next(filter(lambda one: _packed(store, one.name), contract.spaces.values()), None)) is not None:
        begun = counts_of(store).get(space.name) == ELSEWHERE
        try:
            _Carrying(store, space, wall_ms).run()
        except UNWRITABLE as error:
            if begun or counts_of(store).get(space.name) == ELSEWHERE:
                raise
            log.warning("a space is followed to where it goes on when the disk takes writes", reason=str(error))
            return contract
        contract = present(store, declared)
    return contract


def _packed(store: Store, space: str) -> bool:
    move = move_of(store, space)
    return move is not None and move.stage is Stage.PACKED


class _Carrying:
    """Of one space."""

    def __init__(self, store: Store, space: SpaceContract, wall_ms: int) -> None:
        move = move_of(store, space.name)
        assert move is not None, "it is packed"
        self._store, self._old, self._wall_ms = store, space, wall_ms
        self._move, self._to = move, move.to
        self._new = following(space, lambda name: move.to if name == space.name else None)
        self._generation = max([self._served(at) for at in range(space.partitions)], default=0)
        """Of the rows that readers are shown meanwhile, in all partitions: none that a decision waits for (`pending`) is a later one."""

    def run(self) -> None:
        """All of it. Raises `DiskFull`, `StoreDamaged`, `StoreFailed`."""
        store, old = self._store, self._old.name
        chains = {key: Chain.decode(raw) for key, raw in store.scan(Family.META, keys.of_all(keys.CHAINS, old))}
        if not self._one_life(chains.values()):
            return
        store.write(counts_written({**counts_of(store), old: ELSEWHERE}), sync=True)
        carried = 0
        for writes in self._entries():
            carried += len(writes)
            store.write(writes, sync=False)
        store.write(self._ended(chains), sync=True)
        log.info(
            "a space is followed to where it goes on",
            space=self._new.name,
            partitions=self._new.partitions,
            entries=carried,
        )

    def _one_life(self, chains: Iterable[Chain]) -> bool:
        """Is all that waits under the newest life? If another one has begun since it was packed, it has to come along into that one first."""
        raw = self._store.get(Family.META, keys.LIVES)
        newest = [Life(**plain).replica for plain in json.loads(raw)][-1:] if raw else []
        if all([chain.replica] == newest and not chain.fork for chain in chains):
            return True
        self._store.write(written(self._old.name, self._move._replace(stage=Stage.CLOSED)), sync=True)
        return False

    # -- entry by entry

    def _entries(self) -> Iterator[dict[Place, bytes | None]]:
        old = self._old.name
        rows = keys.space_prefix(old)
        yield from self._each(Family.OUTBOX, rows, self._waiting)
        for kind in keys.FOR_LATER:
            yield from self._each(Family.META, kind, self._for_later, stays=True)
        for family in (Family.CONFIRMED, Family.UNREAD):
            yield from self._each(family, rows, self._row)
        for kind in (keys.EVICTED, keys.TRACES):
            yield from self._each(Family.META, kind + rows, self._row)
        yield from self._each(Family.META, keys.of_all(keys.DIGESTS, old), self._digest)
        yield from self._each(Family.META, keys.of_all(keys.UNSEEN, old), self._unseen)
        yield from self._each(Family.META, keys.GOING_UP + rows, self._note)
        for kind in (keys.RETURNS, keys.SUCCESSIONS, keys.ROWS, keys.HEALED, keys.SUPPORT, keys.FLOORS):
            yield from self._each(Family.META, keys.of_all(kind, old), _nothing)
        for topic in (named(old) for named in _TOPICS):
            yield from self._each(Family.META, keys.of_all(keys.CURSORS, topic), _nothing)

    def _each(
        self, family: Family, prefix: bytes, put: Callable[[_Entry], dict[Place, bytes | None]], *, stays: bool = False
    ) -> Iterator[dict[Place, bytes | None]]:
        """The writes that put each entry where it lies from now on, and remove it here unless it `stays`."""
        writes: dict[Place, bytes | None] = {}
        size, after = 0, b""
        while found := list(islice(self._store.scan(family, prefix, after), AT_ONCE)):
            for key, value in found:
                writes.update({} if stays else {(family, key): None})
                writes.update(put((family, key, value)))
                size += len(value)
                if size >= AT_ONCE_BYTES:
                    yield writes
                    writes, size = {}, 0
            yield writes
            writes, size, after = {}, 0, found[-1][0]

    def _waiting(self, entry: _Entry) -> dict[Place, bytes | None]:
        """A command that waits to be sealed."""
        family, key, _ = entry
        _, urgency, partition, lsn = keys.parse_outbox(key)
        found = logged(self._store, lsn)
        to = self._at(found.command.scope)
        raw = self._renumbered(found, partition, waits=True)  # other numbers, and so another size
        return {
            (family, keys.outbox_key(self._new.name, urgency, to, lsn)): keys.pack_number(len(raw)),
            (Family.OPLOG, keys.lsn_key(lsn)): raw,
        }

    def _for_later(self, entry: _Entry) -> dict[Place, bytes | None]:
        """A command that waits for a person, or is to run again: it is sent some day."""
        lsn = keys.parse_lsn(entry[1])
        if self._store.get(Family.OPLOG, keys.lsn_key(lsn)) is None:
            return {}
        found = logged(self._store, lsn)
        if not found.command.ops or found.command.ops[0].document.collection not in self._old.collections:
            return {}
        partition = partition_of(found.command.scope, self._old.partitions)
        return {(Family.OPLOG, keys.lsn_key(lsn)): self._renumbered(found, partition)}

    def _renumbered(self, found: Logged, partition: int, *, waits: bool = False) -> bytes:
        """Telling what its writer had read so that it holds where the space goes on. Done twice it is as done once.

        What `waits` was written, or taken along, when all that the old topics told was here, if they were read; what was laid anew is no more than that. When it was
        first written is told by the numbers of its old partition, which say nothing of another's.
        """
        command, read = found.command, found.read
        if waits and self._move.whole:
            read = self._to.begins - 1
        written = command.written
        if written is not None and (written >= self._to.since[partition] or not self._to.since[partition]):
            written = self._to.begins - 1
        raw = command._replace(written=written)
        replica = command.ops[0].op.replica
        return encode_logged(raw, self._new.name, replica, read, found.release, alone=found.alone)

    def _row(self, entry: _Entry) -> dict[Place, bytes | None]:
        """A confirmed row, or what stands for one or beside it; of a generation that nobody reads nothing comes along."""
        family, key, value = entry
        kind = next(
            (kind for kind in (keys.EVICTED, keys.TRACES) if family is Family.META and key.startswith(kind)), b""
        )
        row = key[len(kind) :]
        _, partition, generation = keys.parse_confirmed(row)
        if generation != self._served(partition):
            return {}
        document = keys.document_of_confirmed(row)
        to = self._at(parse_document_key(document).scope)
        there = kind + keys.confirmed_prefix(self._new.name, to, self._generation) + document
        if kind == keys.EVICTED:
            value = Marker.decode(value)._replace(offset=ANYWHERE).encode()
        elif kind == keys.TRACES:
            value = Trace.decode(value)._replace(offset=ANYWHERE).encode()
        return {(family, there): value}

    def _digest(self, entry: _Entry) -> dict[Place, bytes | None]:
        _, partition, generation, scope = keys.parse_digest(entry[1])
        if generation != self._served(partition):
            return {}
        digest = ScopeDigest.decode(entry[2])._replace(number=-1, told=None)
        return {
            (Family.META, keys.digest_key(self._new.name, self._at(scope), self._generation, scope)): digest.encode()
        }

    def _unseen(self, entry: _Entry) -> dict[Place, bytes | None]:
        _, document = keys.parse_unseen(entry[1], self._old.name)
        to = self._at(parse_document_key(document).scope)
        return {(Family.META, keys.unseen_key(self._new.name, to, document)): entry[2]}

    def _note(self, entry: _Entry) -> dict[Place, bytes | None]:
        _, _, document = keys.parse_note(entry[1])
        return {
            (Family.META, keys.note_key(self._new.name, self._at(parse_document_key(document).scope), document)): entry[
                2
            ]
        }

    # -- the last write

    def _ended(self, chains: dict[bytes, Chain]) -> dict[Place, bytes | None]:
        """What was of whole partitions: chains, which rows are read, since when they are in step; and that all is there."""
        store, old, new = self._store, self._old.name, self._new.name
        writes: dict[Place, bytes | None] = dict.fromkeys((Family.META, key) for key in chains)
        writes.update(
            dict.fromkeys((Family.META, key) for key, _ in store.scan(Family.META, keys.of_all(keys.GENERATIONS, old)))
        )
        cursor = Cursor(group=self._to.begins - 1 if self._move.whole else NOTHING_READ)
        again = Return(self._generation + 1, WHY, False, self._wall_ms, cursor)
        for place in {*self._held(self._new), *self._rows(), *self._queues()}:
            writes.update(generations.serve(new, place, self._generation))
            writes.update(generations.written(new, place, again))
            writes.update(moved(topics.state_topic(new), place, cursor))  # what is laid anew is what lies here
            if chains:
                writes[Family.META, keys.chain_key(new, place)] = _following(chains.values()).encode()
        known = store.get(Family.META, keys.FRESHNESS)
        if known is not None:
            of, now = ({(topics.state_topic(one.name), at) for at in self._held(one)} for one in (self._old, self._new))
            writes[Family.META, keys.FRESHNESS] = elsewhere(known, of, now)
        return writes | written(old, self._move._replace(stage=Stage.THERE))

    def _held(self, space: SpaceContract) -> set[int]:
        """Its partitions with scopes that are held."""
        raw = self._store.get(Family.META, keys.HOLDINGS)
        scopes = [] if raw is None else json.loads(raw)["scopes"]
        return {partition_of(scope, space.partitions) for scope in scopes}

    def _queues(self) -> Iterator[int]:
        """Partitions in which something waits under the new name; one look for each class of each."""
        after, prefix = b"", keys.space_prefix(self._new.name)
        while (key := next((k for k, _ in self._store.scan(Family.OUTBOX, prefix, after)), None)) is not None:
            _, urgency, partition, _ = keys.parse_outbox(key)
            yield partition
            after = keys.outbox_end(self._new.name, urgency, partition)

    def _rows(self) -> Iterator[int]:
        """Partitions with rows under the new name; one look for each."""
        prefix = keys.space_prefix(self._new.name)
        for family, kind in ((Family.CONFIRMED, b""), (Family.UNREAD, b""), (Family.META, keys.EVICTED)):
            after = b""
            while (key := next((k for k, _ in self._store.scan(family, kind + prefix, after)), None)) is not None:
                _, partition, generation = keys.parse_confirmed(key[len(kind) :])
                yield partition
                after = kind + keys.confirmed_end(self._new.name, partition, max(generation, self._generation))

    def _at(self, scope: str) -> int:
        return partition_of(scope, self._new.partitions)

    def _served(self, partition: int) -> int:
        return generations.serving(self._store, self._old.name, partition)


def _nothing(entry: _Entry) -> dict[Place, bytes | None]:
    """Nothing of it comes along."""
    return {}


def _following(chains: Iterable[Chain]) -> Chain:
    """The chain of a partition where the space goes on: all that wrote before have ended there, so what rights they had left are this life's."""
    over = dict.fromkeys(life for chain in chains for life in chain.over)
    (replica,) = {chain.replica for chain in chains}
    return Chain(replica, over=tuple(over)[-KEPT:])
