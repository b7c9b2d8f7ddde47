"""A stranger who may write every topic of a cluster, and what a good cluster has in them, for whoever reads topics beside the merge.

It writes noise, whole records spoiled here and there, tombstones, and well-formed records that say what cannot be: texts of a megabyte, codes
that drive a terminal, times that no calendar has, counts below nothing, the names of others. A farewell of these is well signed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_schemas import asking, topics
from driftlog_schemas.devices import Device
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.framing import header
from driftlog_schemas.messages import ConflictStatus, Heartbeat, Quarantined
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.reading import births, plain_reader, topic_reading
from driftlog_streams.registry import device_view, enrolment
from tests.fake_kafka.broker import START_MS, Broker
from tests.fake_kafka.clients import Admin, Consumer, Producer
from tests.unit.streams.cloud import Cloud, change, command, count, device, stock

SPACE = "retail"
RECEIPTS, CONFLICTS, PARKED = (
    topics.receipts_topic(SPACE),
    topics.conflicts_topic(SPACE),
    topics.parked_topic(SPACE),
)
STATES, QUARANTINE = topics.state_topic(SPACE), topics.quarantine_topic(SPACE)
PLACES = (topics.DEVICES, topics.HEARTBEATS, RECEIPTS, CONFLICTS, PARKED, QUARANTINE, STATES)
WAITS = "store-1.1/1/waits"
DISPUTED = stock("tea")

NUMBERS = (-1, 0, -(1 << 63), (1 << 63) - 1, 1 << 48, 1_200_000_000_000_000, 7)
TEXTS = (
    "",
    "\x00",
    "\x1b[2J\x1b[31mgone",
    "store-2",
    "store-2.1",
    "store-1",
    "x" * 1_000_000,
    "a/b/c/d",
    "\u202e",
    "*",
    "[red]",
)
BYTES = (b"", b"\xff", b"\x00" * 1_000, header(4711) + b"?")
KEYS = (
    b"",
    b"\xff/\xff",
    b"\x1b[2J",
    b"Stock/s1/tea",
    b"store-1",
    b"store-2",
    b"store-1.1",
    b"store-1/key",
    WAITS.encode(),
)
NOISE = (None, b"", b"\x00", header(4711) + b"?", header(2**32 - 1), b"\x00" * 900_000)


@dataclass(frozen=True)
class Good:
    """A record as it should be: where, under which name, and the object that it is made of."""

    topic: str
    key: bytes
    said: Any
    encode: Callable[[Any], bytes]


class Cluster:
    """What is well in all topics, and can be said once more."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.cloud = Cloud()
        self.codecs: RecordCodecs = self.cloud.rules.records
        self.operator = OperatorKey.create(RootKey.create(), START_MS)
        self.stranger = OperatorKey.create(RootKey.create(), START_MS)
        self.devices: dict[str, Device] = {
            name: device(identity) for name, identity in self.cloud.identities.items() if name != "cloud"
        }
        self.goods = self._goods()
        self.states = self._merged()

    def _goods(self) -> list[Good]:
        codecs, store = self.codecs, self.cloud.identities["store-1"]
        farewell = Farewell("store-1", store.key_id, 1, "store-1.1", 3, START_MS).signed(store)
        return [
            *(Good(topics.DEVICES, name.encode(), line, self._line) for name, line in self.devices.items()),
            Good(topics.HEARTBEATS, b"store-1", heartbeat(), codecs.encode_heartbeat),
            Good(topics.HEARTBEATS, farewell.key, farewell, codecs.encode_farewell),
            Good(
                QUARANTINE,
                b"store-1",
                Quarantined("as it came", "unforeseen", 0, 5, START_MS, "store-1.1", b"?"),
                codecs.encode_quarantined,
            ),
        ]

    def enrol(self, device: Device) -> None:
        """One device more, by the operator."""
        self.broker.append(topics.DEVICES, 0, device.device_id.encode(), self._line(device))

    def _line(self, device: Device) -> bytes:
        return self.codecs.encode_signed_line(self.operator.sign(self.codecs.encode_device(device)))

    def foreign_line(self, device: Device) -> bytes:
        """Signed by the operator of another root."""
        return self.codecs.encode_signed_line(self.stranger.sign(self.codecs.encode_device(device)))

    def _merged(self) -> list[tuple[str, bytes, bytes | None, Any]]:
        """A conflict, a command that waits, and the states and rows beside them, as a worker publishes them."""
        cloud = self.cloud
        cloud.merge(command("waits", count(stock("milk"), 1, 9)))
        cloud.merge(command("a", change(DISPUTED, "price", "set", 3, 1, replica="store-2.1")), replica="store-2.1")
        cloud.merge(command("b", change(DISPUTED, "price", "set", 4, 1, replica="store-2.2")), replica="store-2.2")
        cloud.fly()
        for one in cloud.conflicts():
            self.goods.append(Good(CONFLICTS, one.id.encode(), one, self.codecs.encode_conflict))
        for name, parked in cloud.parked().items():
            self.goods.append(Good(PARKED, name, parked, self.codecs.encode_parked))
        for replica, row in cloud.rows.items():
            self.goods.append(
                Good(RECEIPTS, replica.encode(), self.codecs.decode_chain_row(row), self.codecs.encode_chain_row)
            )
        return [(r.topic, r.key, r.value, r.headers) for r in cloud.published if r.topic == STATES]

    def say_all(self) -> None:
        """Everything once more, as its owner does who saw that somebody else wrote."""
        for good in self.goods:
            self.broker.append(good.topic, 0, good.key, good.encode(good.said))
        for topic, key, value, headers in self.states:
            self.broker.append(topic, 0, key, value, list(headers))


class Topics:
    """`TopicsAdmin`: all of them are there."""

    def __init__(self, kafka: Any, timeout: float = 0.0) -> None: ...

    def require(self, wanted: Any) -> None: ...

    def partition_counts(self) -> dict[str, int]:
        return dict.fromkeys(PLACES, 1)

    def existing(self, names: Sequence[str]) -> dict[str, None]:
        return dict.fromkeys(names)

    def cluster(self) -> Any:
        return SimpleNamespace(brokers=1)


def cluster_on(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster on a broker in memory, which is what readers find."""
    for module in (device_view, plain_reader):
        monkeypatch.setattr(module, "Consumer", lambda config: Consumer(broker, config))
    for module in (topic_reading, births, enrolment):
        monkeypatch.setattr(module, "TopicsAdmin", Topics)
    monkeypatch.setattr(asking, "AdminClient", lambda config: Admin(broker, config))
    monkeypatch.setattr(device_view, "Producer", lambda config: Producer(broker, config))
    monkeypatch.setattr(device_view, "CHECK_SECONDS", 0.05)
    made = Cluster(broker)
    made.say_all()
    return made


def heartbeat(**said: Any) -> Heartbeat:
    usual = Heartbeat("store-1", "store-1.1", START_MS, "ONLINE", 0, 0, 1, 0, {"agent": "0.1.0"})
    return replace(usual, **said)


class Stranger:
    """Writes one record after the other; the same for each seed."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self._kinds: Sequence[Callable[[], tuple[bytes, bytes | None]]] = (
            self._noise,
            self._spoiled,
            self._absurd,
            self._absurd,
        )

    def write(self, records: int) -> None:
        for _ in range(records):
            key, value = self._random.choice(self._kinds)()
            topic = self._random.choice((self._topic, self._random.choice(PLACES)))
            self._cluster.broker.append(topic, 0, key, value)

    def _good(self) -> Good:
        good = self._random.choice(self._cluster.goods)
        self._topic = good.topic
        return good

    def _noise(self) -> tuple[bytes, bytes | None]:
        good = self._good()
        return self._random.choice((good.key, self._random.choice(KEYS))), self._random.choice(NOISE)

    def _spoiled(self) -> tuple[bytes, bytes | None]:
        good = self._good()
        bent = bytearray(good.encode(good.said))
        for _ in range(self._random.choice((0, 1, 2, 4))):
            at = self._random.randrange(len(bent) + 1)
            if self._random.random() < 0.3:
                del bent[at:]
            else:
                bent[at : at + 1] = self._random.randbytes(self._random.choice((1, 1, 3)))
        return self._random.choice((good.key, good.key, self._random.choice(KEYS))), bytes(bent)

    def _absurd(self) -> tuple[bytes, bytes | None]:
        good = self._good()
        encode = good.encode if good.topic != topics.DEVICES else self._cluster.foreign_line
        try:
            return self._random.choice((good.key, good.key, self._random.choice(KEYS))), encode(self._bent(good.said))
        except Exception:  # noqa: BLE001  # whatever cannot even be written
            return self._noise()

    def _bent(self, said: Any, depth: int = 0) -> Any:
        """The same with some members that say what cannot be."""
        names = [f.name for f in fields(said)] if is_dataclass(said) else list(getattr(said, "_fields", ()))
        changed = {
            name: self._other(getattr(said, name), depth) for name in self._random.sample(names, min(2, len(names)))
        }
        bent = replace(said, **changed) if is_dataclass(said) else said._replace(**changed)
        if isinstance(bent, Farewell) and self._random.random() < 0.7:
            return bent.signed(self._cluster.cloud.identities["store-1"])
        return bent

    def _other(self, value: Any, depth: int) -> Any:
        pick = self._random.choice
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return pick(NUMBERS)
        if isinstance(value, str):
            return pick(TEXTS)
        if isinstance(value, bytes):
            return pick(BYTES)
        if isinstance(value, ConflictStatus):
            return pick(list(ConflictStatus))
        if isinstance(value, dict):
            return {pick(TEXTS): self._other(one, depth) for one in value.values()}
        if depth < 2 and (is_dataclass(value) or hasattr(value, "_fields")):
            return self._bent(value, depth + 1)
        if isinstance(value, tuple) and depth < 2:
            return pick(((), value[:1], tuple(self._other(one, depth + 1) for one in value)))
        return value
