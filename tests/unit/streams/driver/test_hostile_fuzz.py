"""A stranger writes what it likes into every topic of a space, while a worker lives and while none does: each good batch still merges, and what is true
of everybody else's documents, lives and conflicts is the last word again, byte for byte.

Made of whole records as the workers write them, spoiled here and there, of noise, of conflicts that there are not, and of what clients hand over for
offsets at which nothing is said. The driver's own harness runs it: what is met is the pump, the order gate, the mender and recovery, not only the merge.
Lies that are plausible are left out, except of conflicts that name writes which nobody has made: nobody can tell them from the truth (see
`docs/architecture.md`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from driftlog_crdt import AlgebraError
from driftlog_schemas import groups, topics
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.framing import header
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core.conflict_answers import said
from driftlog_streams.faust_driver import mender
from tests.fake_kafka.broker import UNREADABLE, Broker, Headers, Stored
from tests.few import few
from tests.unit.streams.cloud import change, count, key, stock
from tests.unit.streams.driver.life import CONFLICTS, OPS, PARKED, RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import sell, send

QUARANTINE = topics.quarantine_topic("retail")
PLACES = (OPS, STATES, RECEIPTS, CONFLICTS, PARKED, QUARANTINE)
ROUNDS, AT_ONCE = 4, 25
WAITS = b"store-2.2/1/w"
TRUE = {
    STATES: (key(stock("milk")), key(stock("rye"))),
    RECEIPTS: (b"store-2.1", b"store-1.2", b"store-2.2"),
    PARKED: (WAITS,),
}
"""What the stranger's words must not outlast; of the conflicts all."""
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

    def __init__(self, lives: Lives, seed: int) -> None:
        self._broker: Broker = lives.broker
        self._rules = lives.cloud.rules
        self._random = random.Random(seed)
        self._kinds: Sequence[Callable[[str], None]] = (
            self._noise,
            self._spoiled,
            self._spoiled,
            self._transaction,
            self._invented,
        )

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
            value, bent = one.value or b"", self._bent(one.value or b"")
            self._broker.append(topic, 0, key, value if self._plausible(topic, key or b"", bent) else bent, headers)

    def _plausible(self, topic: str, key: bytes, value: bytes) -> bool:
        """Could its owner have written this?"""
        if topic == CONFLICTS:
            return said(self._rules, key, value) is not None
        with suppress(Undecodable, UnknownSchema, AlgebraError, ValueError):
            if topic == STATES:
                self._rules.collections["Stock"].codec.decode(value)
                return True
            if topic in (RECEIPTS, PARKED):
                decode = (
                    self._rules.records.decode_chain_row if topic == RECEIPTS else self._rules.records.decode_parked
                )
                decode(value)
                return True
        return False

    def _invented(self, topic: str) -> None:
        """A conflict that there is not, or another word on one that there is or was; its lies name writes that nobody has made."""
        pick = self._random.choice
        told = [found for record in self._broker.read(CONFLICTS) if (found := self._said(record)) is not None]
        if not told:
            return
        found = pick(told)
        if pick((True, False)):
            document = stock(pick(("tea", "oat", "never-written")))
            found = replace(found, document=document, id=conflict_id(document, found.field))
        lie = replace(found.versions[0], replica=pick(("nobody.1", "store-1.1", "store-2.1")), seq=99)
        if pick((True, False)):
            found = replace(found, versions=(lie, *found.versions[1:]))
        else:
            found = replace(found, decided_by=lie)
        found = replace(found, status=pick([*ConflictStatus]))
        self._broker.append(CONFLICTS, 0, found.id.encode(), self._rules.records.encode_conflict(found))

    def _said(self, record: Stored) -> Conflict | None:
        return said(self._rules, record.key or b"", record.value)

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


class Truth:
    """What the last words on everybody else's things are."""

    def __init__(self, lives: Lives) -> None:
        self._lives = lives
        self._were = self._now()
        assert len(self._were) == 2 + sum(map(len, TRUE.values()))

    async def comes_back(self, life: Life) -> None:
        """Whatever was written over it."""
        try:
            await life.until(lambda: self._now() == self._were)
        except AssertionError as never:
            now = self._now()
            changed = {place for place in {**now, **self._were} if now.get(place) != self._were.get(place)}
            found = [said(self._lives.cloud.rules, name, now.get((topic, name))) for topic, name in changed]
            raise AssertionError(f"a stranger has the last word on {changed}: {found}") from never

    def _now(self) -> dict[tuple[str, bytes], bytes | None]:
        broker, rules = self._lives.broker, self._lives.cloud.rules
        last = {(topic, r.key or b""): r.value for topic in (*TRUE, CONFLICTS) for r in broker.read(topic)}
        found = {(topic, name): last.get((topic, name)) for topic, names in TRUE.items() for name in names}
        for (topic, name), value in last.items():
            if topic == CONFLICTS and said(rules, name, value) is not None:
                found[topic, name] = value
        return found


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


async def fought_over(lives: Lives) -> Truth:
    """A conflict that is open, one that was decided, and a command that waits."""
    for sku in ("milk", "rye"):
        for price, replica in ((3, "store-2.1"), (4, "store-1.2")):
            send(
                lives, f"{sku} {price}", change(stock(sku), "price", "set", price, 1, replica=replica), replica=replica
            )
    send(lives, "w", count(stock("milk"), 1, 9, replica="store-2.2"), replica="store-2.2")
    seen = {"store-2.1": 1, "store-1.2": 1}
    op = change(stock("rye"), "price", "set", 5, 2, replica="store-1.2", context=seen)
    send(lives, "decided", op, replica="store-1.2")
    life = lives.start("first")
    await life.own(0)
    life.read()
    await life.quiet()
    await life.die()
    return Truth(lives)


def _looked_at(life: Life) -> bool:
    ends = {topic: life.broker.partition(topic).end for topic in PLACES}
    return "not looked at" not in life.pump.mender.unrest(0, ends)


@pytest.mark.parametrize("seed", few(range(6), 2))
async def test_a_good_batch_merges_whatever_a_stranger_has_written(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.02)
    stranger, truth = Stranger(lives, seed), await fought_over(lives)
    life = None
    for round_ in range(ROUNDS):
        life = await lived(lives, stranger, round_, life)
        await truth.comes_back(life)
        await life.die()
        stranger.write(AT_ONCE)
    await truth.comes_back(await lived(lives, stranger, ROUNDS, None))
