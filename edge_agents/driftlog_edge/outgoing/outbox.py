"""What waits for the network: by class, then partition, then in order; whole commands only; bounded.

Order within a document always holds. A command of an urgent class takes the earlier unsent commands of its documents along
into its class, and theirs in turn, so that within a class the order of lsns is an order that every document agrees with.

A batch is sealed under the next number of its partition with the list of its commands, and that list is kept until a receipt
answers it. After a crash the same numbers hold the same commands; sending one again is harmless, since dots are counted once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from driftlog_edge.errors import OutboxFull
from driftlog_edge.ports import Family, Place, Sealed
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import logged
from driftlog_edge.store.journal import Journal
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, MAX_BATCH_OPS, BatchCodec, encode_body
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Batch, Command
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import Identity

DEFAULT_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Open:
    """A sealed batch without a receipt yet."""

    space: str
    partition: int
    number: int
    lsns: tuple[int, ...]


class Outbox:
    """The queue of commands that the cloud has not taken."""

    def __init__(
        self, contract: AppContract, identity: Identity, codec: BatchCodec, journal: Journal, limit: int = DEFAULT_LIMIT
    ) -> None:
        self._spaces = sorted(contract.spaces)
        self._partitions = {name: space.partitions for name, space in contract.spaces.items()}
        self._identity = identity
        self._codec = codec
        self._journal = journal
        self._limit = limit
        self._waiting: list[int] = []
        """How many commands wait in each class."""
        self._count()
        journal.on_rollback(self._count)

    def _count(self) -> None:
        self._waiting = [0] * len(keys.CLASSES)
        for key, _ in self._journal.scan(Family.OUTBOX, b""):
            self._waiting[keys.urgency_of(key)] += 1

    @property
    def waiting(self) -> int:
        """Commands not yet sealed into a batch."""
        return sum(self._waiting)

    def require_room(self) -> None:
        """Raise `OutboxFull` if no further command may wait."""
        if self.waiting >= self._limit:
            raise OutboxFull(
                f"{self.waiting} commands wait for the network, at most {self._limit} may",
                "connect the device, or raise outbox_limit",
            )

    def entry(
        self, space: str, scope: str, priority: str, lsn: int, documents: Sequence[bytes]
    ) -> Mapping[Place, bytes | None]:
        """The writes that put a new command into the outbox, earlier ones of its documents moved along."""
        index = self._spaces.index(space)
        partition = partition_of(scope, self._partitions[space])
        urgency = keys.CLASSES.index(priority)
        writes: dict[Place, bytes | None] = {}
        if any(self._waiting[urgency + 1 :]):
            self._take_along(writes, index, partition, urgency, documents)
        writes[Family.OUTBOX, keys.outbox_key(index, urgency, partition, lsn)] = b""
        self._waiting[urgency] += 1
        return writes

    def _take_along(
        self,
        writes: dict[Place, bytes | None],
        space: int,
        partition: int,
        urgency: int,
        documents: Sequence[bytes],
    ) -> None:
        todo, met = list(documents), set(documents)
        while todo:
            for key, _ in self._journal.scan(Family.PENDING, keys.pending_prefix(todo.pop())):
                lsn = keys.parse_lsn(key)
                for lower in range(urgency + 1, len(keys.CLASSES)):
                    place = (Family.OUTBOX, keys.outbox_key(space, lower, partition, lsn))
                    if place in writes or self._journal.get(*place) is None:
                        continue
                    writes[place] = None
                    writes[Family.OUTBOX, keys.outbox_key(space, urgency, partition, lsn)] = b""
                    self._waiting[lower] -= 1
                    self._waiting[urgency] += 1
                    for other, _ in logged(self._journal, lsn)[0].ops:
                        name = document_key(other)
                        if name not in met:
                            met.add(name)
                            todo.append(name)

    def seal(self, app_version: str = "") -> tuple[Sealed, dict[Place, bytes | None]] | None:
        """The next batch and the writes that seal it; None when nothing waits. The most urgent class goes first."""
        first = self._first()
        if first is None:
            return None
        space, _, partition, _ = keys.parse_outbox(first)
        commands: list[Command] = []
        lsns: list[int] = []
        taken: list[bytes] = []
        size = ops = 0
        for key in self._of_partition(space, partition):
            lsn = keys.parse_lsn(key)
            command, length = logged(self._journal, lsn)
            if commands and (ops + len(command.ops) > MAX_BATCH_OPS or size + length > MAX_BATCH_BYTES):
                break
            commands.append(command)
            lsns.append(lsn)
            size += length
            ops += len(command.ops)
            taken.append(key)
        name = self._spaces[space]
        writes: dict[Place, bytes | None] = {(Family.OUTBOX, key): None for key in taken}
        counter = keys.batch_counter(name, partition)
        number = keys.unpack_number(self._journal.get(Family.META, counter)) + 1
        writes[Family.META, counter] = keys.pack_number(number)
        writes[Family.META, keys.sealed_key(name, partition, number)] = json.dumps(lsns).encode()
        sealed = self._sealed(name, partition, number, lsns, commands, app_version)  # may need the registry, and fail
        for key in taken:
            self._waiting[keys.urgency_of(key)] -= 1
        return sealed, writes

    def _first(self) -> bytes | None:
        best: bytes | None = None
        for space in range(len(self._spaces)):
            key = next((k for k, _ in self._journal.scan(Family.OUTBOX, bytes((space,)))), None)
            if key is not None and (best is None or key[1] < best[1]):
                best = key
        return best

    def _of_partition(self, space: int, partition: int) -> Iterator[bytes]:
        for urgency, waiting in enumerate(self._waiting):
            if not waiting:
                continue
            prefix = keys.outbox_key(space, urgency, partition, 0)[: -keys.LSN_BYTES]
            yield from [k for k, _ in islice(self._journal.scan(Family.OUTBOX, prefix), MAX_BATCH_OPS)]

    def open_batches(self) -> list[Open]:
        """Every sealed batch without a receipt, in order of number within its partition."""
        result = []
        for space in self._spaces:
            for key, value in self._journal.scan(Family.META, keys.sealed_prefix(space)):
                result.append(Open(space, *keys.parse_sealed(key), tuple(json.loads(value))))
        return result

    def reseal(self, batch: Open, app_version: str = "") -> Sealed:
        """The same batch again, same number and same commands."""
        commands = [logged(self._journal, lsn)[0] for lsn in batch.lsns if self._has(lsn)]
        return self._sealed(batch.space, batch.partition, batch.number, batch.lsns, commands, app_version)

    def lsns(self, space: str, partition: int, number: int) -> tuple[int, ...]:
        """The commands of a sealed batch; empty once a receipt has closed it."""
        if number < 1:
            return ()  # the receipt of a batch whose number could not be read: a forger's, or noise
        raw = self._journal.get(Family.META, keys.sealed_key(space, partition, number))
        return () if raw is None else tuple(json.loads(raw))

    def closing(self, space: str, partition: int, number: int) -> dict[Place, bytes | None]:
        """The writes that close a batch: a receipt has answered it."""
        return {(Family.META, keys.sealed_key(space, partition, number)): None}

    def holds(self, lsn: int, place: tuple[str, int]) -> bool:
        """Does this command still wait to be sealed? `place` is its (space, partition)."""
        space = self._spaces.index(place[0])
        return any(
            self._journal.get(Family.OUTBOX, keys.outbox_key(space, urgency, place[1], lsn)) is not None
            for urgency in range(len(keys.CLASSES))
        )

    def _has(self, lsn: int) -> bool:
        return self._journal.get(Family.OPLOG, keys.lsn_key(lsn)) is not None

    def _sealed(
        self,
        space: str,
        partition: int,
        number: int,
        lsns: Sequence[int],
        commands: Sequence[Command],
        app_version: str,
    ) -> Sealed:
        body = encode_body(Batch(space, partition, self._identity.replica, number, tuple(commands), app_version))
        value = self._codec.seal(body, self._identity)
        return Sealed(topics.ops_topic(space), partition, number, self._identity.device_id.encode(), value, tuple(lsns))
