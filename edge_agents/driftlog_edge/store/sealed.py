"""Sealed batches: the links of a partition's hash chain that no verdict has answered yet.

A batch is sealed once: its number, the digest of its predecessor and its body are decided in one write, and that write is synced before the
batch is sent. What was once sent under a number can so be sent again byte for byte, whatever release runs by then, and nothing else
ever goes out under that number. The body is signed anew each time, so a device that got another key goes on with its chain.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from driftlog_edge.errors import Damaged
from driftlog_edge.ports import Family, Place, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_schemas.batch_codec import DIGEST_BYTES, decode_body
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.messages import Batch


@dataclass(frozen=True, slots=True)
class Open:
    """A sealed batch without a verdict on all of its commands."""

    space: str
    partition: int
    number: int
    digest: bytes
    lsns: tuple[int, ...]
    """Its commands that wait for a verdict."""
    speakers: tuple[tuple[int, int], ...] = ()
    """(lsn, lsn of the later one that stands for it) of those that were sent with others as one."""
    size: int = field(default=0, compare=False)
    """Bytes of its body."""

    @property
    def place(self) -> tuple[str, int, int]:
        return self.space, self.partition, self.number

    def encode(self) -> bytes:
        numbers = (self.size, len(self.lsns), *self.lsns, *chain.from_iterable(self.speakers))
        return self.digest + struct.pack(f">{len(numbers)}Q", *numbers)

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> Open:
        numbers = struct.unpack(f">{(len(value) - DIGEST_BYTES) // keys.LSN_BYTES}Q", value[DIGEST_BYTES:])
        size, end = numbers[0], 2 + numbers[1]
        speakers = tuple(zip(numbers[end::2], numbers[end + 1 :: 2], strict=True))
        return cls(*keys.parse_sealed(key), value[:DIGEST_BYTES], numbers[2:end], speakers, size)


class SealedBatches:
    """The open batches of one replica."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.commands = self.bytes = 0
        """How many commands wait for a verdict, and what the bodies take that hold them."""
        self._lowest: dict[tuple[str, int], int] = {}
        """By partition: no open batch has a lower number. What is closed would lie in the way of who looks from the beginning."""
        for batch in self.all():
            self._counted(batch, 1)
        journal.on_given_up(self._given_up)

    def _counted(self, batch: Open, sign: int) -> None:
        self.commands += sign * len(batch.lsns)
        self.bytes += sign * batch.size

    def _given_up(self, writes: Writes) -> None:
        for (family, key), value in writes.items():
            if family is Family.SEALED:
                for found, sign in ((value, -1), (self._journal.get(family, key), 1)):
                    if found is not None:
                        self._counted(Open.decode(key, found), sign)
                space, partition, number = keys.parse_sealed(key)
                if number < self._lowest.get((space, partition), 0):  # it is open again
                    self._lowest[space, partition] = number

    def all(self) -> list[Open]:
        """Every open batch, in order of number within its partition."""
        return [Open.decode(key, value) for key, value in self._journal.scan(Family.SEALED, b"")]

    def of(self, space: str, partition: int) -> Iterator[Open]:
        """Those of one partition, in order of number."""
        for key, value in self._journal.scan(Family.SEALED, keys.sealed_prefix(space, partition)):
            yield Open.decode(key, value)

    def get(self, space: str, partition: int, number: int) -> Open | None:
        """One of them; None once it is closed, or where there never was one."""
        if number < 1:
            return None
        key = keys.sealed_key(space, partition, number)
        value = self._journal.get(Family.SEALED, key)
        return None if value is None else Open.decode(key, value)

    def floor(self, space: str, partition: int, number: int) -> int:
        """The lowest open number of a partition; `number`, the next one, if none is open."""
        lowest = self._lowest.get((space, partition), 1)
        after = keys.sealed_key(space, partition, lowest - 1)
        found = self._journal.scan_keys(Family.SEALED, keys.sealed_prefix(space, partition), after)
        open_ = next((keys.parse_sealed(key)[2] for key in found), number)
        self._lowest[space, partition] = open_
        return open_

    def body(self, batch: Open) -> bytes:
        """Its bytes as they were signed."""
        body = self._journal.get(Family.BODIES, keys.sealed_key(*batch.place))
        return b"" if body is None else body

    def batch(self, batch: Open) -> Batch | None:
        """What its body says; None if a disk has damaged it."""
        try:
            return decode_body(self.body(batch))
        except (Undecodable, Damaged):
            return None

    def opening(self, batch: Open, body: bytes) -> dict[Place, bytes]:
        """The writes that keep a new batch; stage them at once."""
        key = keys.sealed_key(*batch.place)
        batch = replace(batch, size=len(body))
        self.commands += len(batch.lsns)
        self.bytes += batch.size
        return {(Family.SEALED, key): batch.encode(), (Family.BODIES, key): body}

    def settling(self, batch: Open, waiting: Sequence[int]) -> dict[Place, bytes | None]:
        """The writes after a verdict: the batch stays open for the commands that still wait, and closes when none do. Stage them at once."""
        key = keys.sealed_key(*batch.place)
        self.commands -= len(batch.lsns) - len(waiting)
        if waiting:
            still = set(waiting)
            left = replace(batch, lsns=tuple(waiting), speakers=tuple(s for s in batch.speakers if s[0] in still))
            return {(Family.SEALED, key): left.encode()}
        self.bytes -= batch.size
        return {(Family.SEALED, key): None, (Family.BODIES, key): None}
