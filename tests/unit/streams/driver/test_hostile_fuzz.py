"""A stranger writes what it likes into every topic of a space, while a worker lives and while none does: each good batch still merges.

Made of whole records as the workers write them, spoiled here and there, of noise, and of what clients hand over for offsets at which nothing is
said. The driver's own harness runs it: what is met is the pump, the order gate, the mender and recovery, not only the merge.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from driftlog_schemas import groups, topics
from driftlog_schemas.framing import header
from driftlog_streams.faust_driver import mender
from tests.fake_kafka.broker import UNREADABLE, Broker, Headers
from tests.unit.streams.cloud import change, count, stock
from tests.unit.streams.driver.life import CONFLICTS, OPS, PARKED, RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import sell, send

QUARANTINE = topics.quarantine_topic("retail")
PLACES = (OPS, STATES, RECEIPTS, CONFLICTS, PARKED, QUARANTINE)
ROUNDS, AT_ONCE = 4, 25
WAITS = b"store-2.2/1/w"
KEYS = (
    None,
    b"",
    b"\xff/\xff",
    b"Stock/s1/tea",
    b"Gone/s1/tea",
    b"Stock/s1",
    b"store-1.1",
    b"cloud.forget",
    b"store-1",
    WAITS,
)
NOISE = (None, b"", b"\x00", header(4711) + b"?", b"\x00" * 900_000)
NAMES = (groups.GROUP, groups.LAST, groups.PURGED, groups.DIGEST, "", UNREADABLE)
NUMBERS = (None, b"", b"1", b"-1", b"0", b"7" * 19, b"x" * 16, b"0" * 16, "\u0665".encode())


class Stranger:
    """Writes one record after the other; the same for each seed."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self._broker = broker
        self._random = random.Random(seed)
        self._kinds: Sequence[Callable[[str], None]] = (self._noise, self._spoiled, self._spoiled, self._transaction)

    def write(self, records: int) -> None:
        for _ in range(records):
            self._random.choice(self._kinds)(self._random.choice(PLACES))

    def _noise(self, topic: str) -> None:
        pick = self._random.choice
        self._broker.append(topic, 0, pick(KEYS), pick(NOISE), self._headers())

    def _spoiled(self, topic: str) -> None:
        """A record of any topic, in this one."""
        pick = self._random.choice
        known = [record for place in PLACES for record in self._broker.read(place) if record.value]
        if known:
            one = pick(known)
            key, headers = pick((one.key, pick(KEYS))), pick((one.headers, self._headers()))
            self._broker.append(topic, 0, key, self._bent(one.value or b""), headers)

    def _bent(self, value: bytes) -> bytes:
        bent = bytearray(value)
        for _ in range(self._random.randint(0, 4)):
            at = self._random.randrange(len(bent) + 1)
            kind = self._random.randrange(4)
            if kind == 0:
                del bent[at:]
            elif kind == 1:
                bent[at:at] = self._random.randbytes(3)
            else:
                bent[at : at + 1] = self._random.randbytes(1)
        return bytes(bent)

    def _headers(self) -> Headers:
        pick = self._random.choice
        return [(pick(NAMES), pick(NUMBERS)) for _ in range(self._random.randint(0, 3))]

    def _transaction(self, topic: str) -> None:
        """It stays open while other records come, or leaves its end."""
        if self._broker.partition(topic).opened is None:
            self._broker.begin(topic, 0)
        else:
            self._broker.end(topic, 0)


async def lived(lives: Lives, stranger: Stranger, round_: int, before: Life | None) -> Life:
    """A life in which the stranger writes before and after each good batch, on the disk of the one before. One batch waits for it."""
    sell(lives, 3 * round_ + 1)
    life = lives.start()
    if before is not None:
        life.host._folder = before.host._folder
    await life.own(0)
    life.read()
    await life.quiet()
    stranger.write(AT_ONCE)
    sell(lives, 3 * round_ + 2)
    await life.quiet()
    await life.until(lambda: _looked_at(life))
    stranger.write(AT_ONCE)
    sell(lives, 3 * round_ + 3)
    await life.quiet()
    assert lives.deaths == []
    row = life.pump._mergers[0]._at.book.get("store-1.1")
    assert row is not None and row.last == 3 * (round_ + 1)
    assert WAITS in life.pump._mergers[0].parking, "nobody takes away what waits"
    return life


def _looked_at(life: Life) -> bool:
    ends = {topic: life.broker.partition(topic).end for topic in PLACES}
    return "not looked at" not in life.pump.mender.unrest(0, ends)


@pytest.mark.parametrize("seed", range(6))
async def test_a_good_batch_merges_whatever_a_stranger_has_written(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.02)
    stranger = Stranger(lives.broker, seed)
    send(lives, "a", change(stock("milk"), "price", "set", 3, 1, replica="store-2.1"), replica="store-2.1")
    send(lives, "b", change(stock("milk"), "price", "set", 4, 1, replica="store-1.2"), replica="store-1.2")
    send(lives, "w", count(stock("milk"), 1, 9, replica="store-2.2"), replica="store-2.2")
    life = None
    for round_ in range(ROUNDS):
        life = await lived(lives, stranger, round_, life)
        await life.die()
        stranger.write(AT_ONCE)
    await lived(lives, stranger, ROUNDS, None)
