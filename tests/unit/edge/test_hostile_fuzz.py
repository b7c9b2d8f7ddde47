"""A stranger writes what it likes into every topic that an agent reads, while it is online, offline and not there: it goes on all the same.

Made of whole records as the cloud and the operator write them, spoiled here and there, put under other keys and into other topics and
partitions, and of noise. After each go the agent takes a command that the cloud merges, and shows the cloud's next word.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import NotFound
from driftlog_edge.link import clients, signal, sync
from driftlog_edge.outgoing import pump
from driftlog_schemas import groups, topics
from driftlog_schemas.devices import DeviceKey, DeviceStatus, enrolled, with_terms
from driftlog_schemas.framing import header
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.sparing import MOST
from tests.few import few
from tests.unit.edge.cloud import Cloud, CloudRoute, partition_of_space
from tests.unit.edge.replica import EPOCH_MS
from tests.unit.edge.shop import PARTITIONS, app
from tests.unit.edge.test_puller import dispute
from tests.unit.edge.waiting import until

ROOT = RootKey.create()
OPERATOR = OperatorKey.create(ROOT, EPOCH_MS)
STRANGER = OperatorKey.create(RootKey.create(), EPOCH_MS)
S1 = partition_of_space("retail", "s1")
Found = tuple[bytes, bytes | None, groups.Headers]
KINDS = (topics.state_topic, topics.receipts_topic, topics.conflicts_topic)
PLACES = (
    *((kind("retail"), partition) for kind in KINDS for partition in range(PARTITIONS)),
    *((kind("audit"), 0) for kind in KINDS),
    (topics.DEVICES, 0),
)
ROUNDS, AT_ONCE = 4, 40
MOST_LINES = 4 * MOST
"""Of one kind: each of the topics has readers of its own."""
MOST_CONNECTIONS = 4
KEYS = (
    b"",
    b"\xff/\xff",
    b"Stock/s1/tea",
    b"Gone/s1/tea",
    b"Stock/s1",
    b"Stock/s1/\x00",
    b"store-1",
    b"store-1.x",
    b"store-2.1",
)
NOISE = (None, b"", b"\x00", header(4711) + b"?", header(2**32 - 1), b"\x00" * 900_000)
NAMES = (groups.GROUP, groups.LAST, groups.PURGED, groups.DIGEST, "")
NUMBERS = (None, b"", b"1", b"-1", b"0", b"7" * 19, b"x" * 16, b"0" * 16, "\u0665".encode())


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens now and then happens at once."""
    monkeypatch.setattr(sync, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(signal, "PROBE_SOON_SECONDS", 0.01)
    monkeypatch.setattr(signal, "PROBE_SECONDS", 0.05)
    for place in (clients, signal, pump):
        monkeypatch.setattr(place, "backoff", lambda *args: 0.01)


@pytest.fixture
def identity() -> Identity:
    return Identity.create("store-1", ROOT.public)


class Stranger:
    """Writes one record after the other; much the same for each seed."""

    def __init__(self, cloud: Cloud, device: Identity, seed: int) -> None:
        self._cloud = cloud
        self._random = random.Random(seed)
        self._lines: list[Found] = []
        """Of the registry: the operator's of both devices, and a stranger's that erases ours."""
        records, other = RecordCodecs(FixedIds()), Identity.create("store-2")
        ours = enrolled(device.device_id, DeviceKey(device.key_id, device.public_key, EPOCH_MS))
        theirs = enrolled("store-2", DeviceKey(other.key_id, other.public_key, EPOCH_MS))
        erased = with_terms(ours, ours.latest._replace(status=DeviceStatus.WIPE, from_ms=EPOCH_MS + 1))
        for line, operator in ((ours, OPERATOR), (theirs, OPERATOR), (erased, STRANGER)):
            value = records.encode_signed_line(operator.sign(records.encode_device(line)))
            self._lines.append((line.device_id.encode(), value, ()))
        heartbeat = Heartbeat("store-2", "store-2.1", EPOCH_MS, "ONLINE", 0, 0, 0, 0, {})
        self._lines.append((b"store-1", records.encode_heartbeat(heartbeat), ()))

    def write(self, records: int) -> None:
        known = [(r.key, r.value, r.headers) for log in self._cloud.topics.values() for r in log[-20:] if r.value]
        for _ in range(records):
            topic, partition = self._random.choice(PLACES)
            key, value, headers = self._random.choice((self._noise, self._spoiled, self._spoiled))(
                [*known, *self._lines]
            )
            self._cloud.publish(topic, partition, key, value, headers)

    def _noise(self, known: Sequence[Found]) -> Found:
        pick = self._random.choice
        return pick(KEYS), pick(NOISE), self._headers()

    def _spoiled(self, known: Sequence[Found]) -> Found:
        """A record of any topic."""
        pick = self._random.choice
        key, value, headers = pick(known)
        return pick((key, key, pick(KEYS))), self._bent(value or b""), pick((headers, self._headers()))

    def _bent(self, value: bytes) -> bytes:
        bent = bytearray(value)
        for _ in range(self._random.choice((0, 1, 1, 2, 4))):
            at = self._random.randrange(len(bent) + 1)
            kind = self._random.randrange(5)
            if kind == 0:
                del bent[at:]
            elif kind == 1:
                bent[at:at] = self._random.randbytes(3)
            elif kind == 2:
                bent[at : at + 1] = self._random.randbytes(1)
            elif at < len(bent):
                bent[at] ^= 1 << self._random.randrange(8)
        return bytes(bent)

    def _headers(self) -> groups.Headers:
        pick = self._random.choice
        return [(pick(NAMES), pick(NUMBERS)) for _ in range(self._random.randint(0, 3))]


class World:
    """An agent over its lives, beside a cloud that merges and answers."""

    def __init__(self, config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> None:
        self.config, self.route, self.ids = config, route, ids
        self._sold = 0

    def start(self) -> EdgeAgent:
        return EdgeAgent(app, self.config, route=self.route, ids=self.ids)

    def answer(self) -> None:
        """The workers have seen that somebody else wrote, and say again what they know."""
        cloud = self.route.cloud
        for document in cloud.states:
            cloud.say_again(document)
        for row in [*cloud.rows.values()]:
            cloud.publish_row(row)

    async def goes_on(self, agent: EdgeAgent) -> None:
        """A command is taken, shipped and merged, and what the cloud says next is seen."""
        self.answer()
        self._sold += 1
        fresh = f"good-{self._sold}"
        await agent.run("receive", store="s1", sku=fresh, qty=3, wait="merged", seconds=60)
        for scope, on_hand in (("s1", 7), ("s2", 4)):
            self.route.cloud.write(DocumentId("Stock", scope, fresh), "on_hand", "increment", 4)
            await until(lambda scope=scope, on_hand=on_hand: shows(agent, scope, fresh, on_hand))


async def shows(agent: EdgeAgent, scope: str, sku: str, on_hand: int) -> bool:
    try:
        return bool((await agent.read("Stock", scope, sku)).value["on_hand"] == on_hand)
    except NotFound:
        return False


@pytest.mark.parametrize("seed", few(range(6), 2))
async def test_an_agent_goes_on_whatever_a_stranger_has_written(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, identity: Identity, seed: int
) -> None:
    cloud, world = route.cloud, World(config, route, ids)
    stranger = Stranger(cloud, identity, seed)
    cloud.write(DocumentId("Stock", "s1", "tea"), "price", "set", 3)
    cloud.publish_conflict(dispute(DocumentId("Stock", "s1", "tea")))
    for _ in range(ROUNDS):
        with capture_logs() as said:
            async with world.start() as agent:
                await world.goes_on(agent)
                stranger.write(AT_ONCE)
                await world.goes_on(agent)
                route.cut()
                stranger.write(AT_ONCE)
                await agent.run("receive", store="s1", sku="offline", qty=1)
                route.mend()
                await world.goes_on(agent)
                assert agent.status()["unreadable_records"] > 0
        assert max(Counter(line["event"] for line in said).values()) <= MOST_LINES
        stranger.write(AT_ONCE)
    assert route.connections <= ROUNDS * MOST_CONNECTIONS, "the link does not begin anew for a stranger's record"
