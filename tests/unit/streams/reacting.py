"""A cloud of two partitions with reactions, which can crash between any two deliveries."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from driftlog import App, Counter, Document, Emit, Refused, Register, Transaction
from driftlog_crdt import Op
from driftlog_schemas.batch_codec import batch_digest, encode_body
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.identity import CLOUD, REACTION_REPLICA, DocumentId, document_key
from driftlog_schemas.messages import Batch, ChainRow, Command, DocumentOp, Quarantined
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import Identity
from driftlog_streams.core.admission import Admitted, admit
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.rights import FORGET
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.scope_digests import ScopeDigests
from driftlog_streams.core.state_cache import StateCache
from driftlog_streams.core.work import OutRecord
from tests.unit.streams.cloud import IDS, NOW_MS, Devices, device

PARTITIONS = 2
TILL = "store-1.1"

app = App("depot")
depot = app.space("retail", partitions=PARTITIONS)
broken: set[str] = set()
"""What of the app has a defect now."""
leaving: set[str] = set()
"""What of it ends the program."""


@depot.collection(scope="store", id="sku")
class Stock(Document):
    store: str
    sku: str
    on_hand: Counter
    arrivals: Counter


@depot.collection(scope="store", id="number")
class Transfer(Document):
    store: str
    number: str
    to: Register[str] = ""
    qty: Register[int] = 0


@depot.command
def arrive(tx: Transaction, store: str, sku: str, qty: int) -> None:
    stock = tx.edit(Stock, store, sku)
    if "arrive" in leaving:
        sys.exit(3)
    if "arrive" in broken:
        raise Refused("closed", "the gate is closed")
    stock.on_hand.increment(qty)
    stock.arrivals.increment(1)


@depot.command
def send(tx: Transaction, store: str, number: str, to: str, qty: int) -> None:
    transfer = tx.edit(Transfer, store, number)
    transfer.to.set(to)
    transfer.qty.set(qty)


@depot.guard(Stock)
def not_too_much(before: Stock, after: Stock) -> None:
    if after.on_hand.value > 1_000_000:
        raise Refused("full", "there is no room")


@depot.on_change(Transfer)
def goods_arrive(before: Transfer | None, after: Transfer | None) -> Iterator[Emit]:
    if "goods_arrive" in leaving:
        sys.exit(3)
    if "goods_arrive" in broken:
        raise ZeroDivisionError("a defect of the app")
    if before is None and after is not None:
        yield Emit(arrive, store=after.to.value, sku="tea", qty=after.qty.value)


@depot.on_change(Transfer)
def ping_pong(before: Transfer | None, after: Transfer | None) -> Iterator[Emit]:
    if after is not None and after.number.startswith("loop"):
        yield Emit(send, store=after.to.value, number=after.number, to=after.store, qty=after.qty.value + 1)


SPACE = app.contract.spaces["retail"]
HERE = next(name for name in map("s{}".format, range(20)) if partition_of(name, PARTITIONS) == 0)
THERE = next(name for name in map("s{}".format, range(20)) if partition_of(name, PARTITIONS) == 1)


class Crashed(Exception):
    """The worker has died in the middle of a flight."""


@dataclass
class Partition:
    """What Kafka and the store of its owner have."""

    log: list[bytes | None] = field(default_factory=list)
    states: dict[bytes, bytes | None] = field(default_factory=dict)
    rows: dict[str, bytes | None] = field(default_factory=dict)
    committed: int = 0
    stored: dict[bytes, bytes | None] = field(default_factory=dict)
    stored_rows: dict[str, bytes | None] = field(default_factory=dict)


class World:
    """Everything in one process, which dies after `crash_after` deliveries."""

    def __init__(self, *, cloud: bool = True, space: SpaceContract = SPACE, before: World | None = None) -> None:
        """With the devices of the world `before`, where it goes on from that."""
        self.identities = before.identities if before else {name: Identity.create(name) for name in ("store-1", CLOUD)}
        self.rules = SpaceRules(space, IDS, self.identities[CLOUD] if cloud else None)
        self.devices = Devices({i.device_id: device(i) for i in self.identities.values()})
        self.devices.lines[CLOUD] = device(self.identities[CLOUD], scopes=(), permissions=(FORGET,))
        if before is not None:
            self.devices = before.devices
        self.partitions = [Partition() for _ in range(space.partitions)]
        self.quarantined: list[Quarantined] = []
        self.dropped: list[tuple[int, str]] = []
        """What of that a person has taken off the list: its partition, and how it is called there."""
        self.number = [0] * space.partitions
        self.head = [b""] * space.partitions
        self.crash_after = 0
        self.till = TILL if before is None else f"store-1.{int(before.till.partition('.')[2]) + 1}"
        """The life of the device that sells."""
        self.read = -1
        """Up to which op it has read."""
        self.start()

    # -- devices

    def transfer(self, number: str, qty: int, to: str = THERE, store: str = HERE, seq: int = 1) -> None:
        """A till sends goods."""
        self._send(store, self._transfer(number, qty, to, store, seq))

    def transfers(self, sent: Mapping[str, int]) -> None:
        """Goods by number, in one batch."""
        self._send(HERE, *(self._transfer(number, qty, THERE, HERE, 1) for number, qty in sent.items()))

    def _transfer(self, number: str, qty: int, to: str, store: str, seq: int) -> Command:
        document = DocumentId("Transfer", store, number)
        ops = [("to", to, seq), ("qty", qty, seq + 1)]
        made = [
            DocumentOp(document, Op(self.till, at, NOW_MS << 16, name, "set", value, {})) for name, value, at in ops
        ]
        return Command(f"send-{number}-{seq}", "send", store, NOW_MS << 16, tuple(made))

    def _send(self, store: str, *commands: Command) -> None:
        place = partition_of(store, self.rules.partitions)
        number = self.number[place] = self.number[place] + 1
        batch = Batch(self.rules.name, place, self.till, number, commands, prev=self.head[place], floor=1)
        body = encode_body(replace(batch, read=self.read))
        self.head[place] = batch_digest(body)
        self.partitions[place].log.append(self.rules.batches.seal(body, self.identities["store-1"]))

    # -- the worker

    def fail(self, what: str, sent: Mapping[str, int]) -> None:
        """A till sends these, by number, while `what` does not work; everything has come to rest before it does again."""
        broken.add(what)
        for number, qty in sent.items():
            self.transfer(number, qty)
        self.settle()
        broken.clear()

    def start(self) -> None:
        """A new life, which knows what is stored and in the topics."""
        self.mergers, self.next, self.under_way = [], [], [0] * self.rules.partitions
        for number, partition in enumerate(self.partitions):
            partition.stored, partition.stored_rows = dict(partition.states), dict(partition.rows)
            cache = StateCache(partition.stored.get)
            book = ChainBook(partition.stored_rows.get, self.rules.records)
            keys = lambda beginning, at=partition: iter([k for k in at.stored if k.startswith(beginning)])  # noqa: E731
            merger = PartitionMerger(self.rules, number, cache, book, digests=ScopeDigests(lambda scope: 0, keys))
            merger.resume(partition.committed)
            self.mergers.append(merger)
            self.next.append(partition.committed)

    def step(self, number: int, records: int = 1) -> None:
        """Merge some records of a partition."""
        partition = self.partitions[number]
        for _ in range(records):
            offset = self.next[number]
            if offset < len(partition.log):
                admission = admit(partition.log[offset], NOW_MS, number, self.rules, self.devices)
                self.mergers[number].merge(admission, offset, NOW_MS, offset)
                self.next[number] += 1

    def react(self, number: int) -> None:
        """What the reactor does."""
        merger, partition = self.mergers[number], self.partitions[number]
        if self.under_way[number] > merger.calls.last:
            return
        merger.calls.forget_listed()
        for offset in merger.calls.missing():
            admission = admit(partition.log[offset], NOW_MS, number, self.rules, self.devices)
            assert isinstance(admission, Admitted)
            assert admission.batch.react is not None
            merger.calls.restore(offset, admission.batch.react.calls, NOW_MS)
        batch = merger.calls.due(NOW_MS)
        if batch is not None:
            self.under_way[number] = batch.number
            partition.log.append(self.rules.batches.seal(encode_body(batch), self.identities[CLOUD]))

    def fly(self, number: int) -> None:
        """One flight, all the way. Raises `Crashed`."""
        if self.mergers[number].work.empty:
            return
        part, partition = self.mergers[number].seal(), self.partitions[number]
        for record in (*part.outcomes, *part.states):
            if self.crash_after:
                self.crash_after -= 1
                if not self.crash_after:
                    raise Crashed
            self.delivered(record)
        partition.stored.update(part.writes)
        partition.stored_rows.update(part.rows)
        part.work.stored()
        partition.committed = self.mergers[number].committed = max(
            [partition.committed, *(s + 1 for s in part.sources)]
        )

    def delivered(self, record: OutRecord) -> None:
        partition = self.partitions[record.partition]
        if record.topic == self.rules.topics.ops:
            assert record.value is not None
            partition.log.append(record.value)
        elif record.topic == self.rules.topics.state:
            partition.states[record.key] = record.value
        elif record.topic == self.rules.topics.receipts:
            partition.rows[record.key.decode()] = record.value
        elif record.topic == self.rules.topics.quarantine and record.value is not None:
            self.quarantined.append(self.rules.records.decode_quarantined(record.value))

    def settle(self, limit: int = 2000) -> None:
        """Until nothing is left to do."""
        for _ in range(limit):
            for number in range(self.rules.partitions):
                self.step(number, 5)
                self.react(number)
                self.fly(number)
            if self.rests:
                return
        raise AssertionError("the world does not come to rest")

    @property
    def rests(self) -> bool:
        read = all(at == len(p.log) for at, p in zip(self.next, self.partitions, strict=True))
        return read and not any(m.calls.waits or not m.work.empty for m in self.mergers)

    def live(self, chance: random.Random, crashes: int) -> int:
        """Until nothing is left to do, dying so often on the way, between any two deliveries; how often it did."""
        died = 0
        for _ in range(5000):
            number = chance.randrange(self.rules.partitions)
            self.step(number, chance.randint(0, 4))
            if chance.random() < 0.7:
                self.react(number)
            if died < crashes and not self.crash_after and chance.random() < 0.3:
                self.crash_after = chance.randint(1, 6)
            try:
                if chance.random() < 0.6:
                    self.fly(number)
            except Crashed:
                died += 1
                self.start()
            if self.rests and died == crashes:
                break
        self.crash_after = 0
        self.settle()
        return died

    def again(self, index: int = -1) -> None:
        """A person sends what was set aside once more, as it came."""
        one = self.quarantined[index]
        self.partitions[one.partition].log.append(one.record)

    # -- what is there

    def stock(self, store: str = THERE, sku: str = "tea") -> tuple[int, int]:
        """How much, and how often something arrived."""
        number = partition_of(store, self.rules.partitions)
        raw = self.partitions[number].states.get(document_key(DocumentId("Stock", store, sku)))
        if raw is None:
            return 0, 0
        collection = self.rules.collections["Stock"]
        shown = SPACE.collections["Stock"].present(store, sku, collection.codec.decode(raw))
        return int(str(shown["on_hand"])), int(str(shown["arrivals"]))

    def row(self, number: int) -> ChainRow:
        """Of reactions."""
        value = self.partitions[number].rows[REACTION_REPLICA]
        assert value is not None
        return self.rules.records.decode_chain_row(value)


def with_a_failure_unmerged() -> World:
    """A transfer has left; `arrive` was called for, and has failed, in a batch of the worker's that waits in the log and is merged by nobody yet."""
    world = World()
    world.transfer("1", 5)
    for number in (0, 1):
        world.step(number)
        world.fly(number)
    broken.add("arrive")
    world.react(1)
    broken.clear()
    return world
