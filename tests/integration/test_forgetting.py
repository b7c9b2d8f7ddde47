"""What was deleted is forgotten once everybody has seen it, on a real broker with a retention of seconds; nobody who slept through it brings it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from driftlog_crdt import DELETE, DOCUMENT, Op, epoch_of
from driftlog_schemas import groups, topics
from driftlog_schemas.batch_codec import BatchCodec, batch_digest, encode_body
from driftlog_schemas.devices import DeviceKey, enrolled
from driftlog_schemas.identity import CLOUD, DocumentId, document_key
from driftlog_schemas.messages import Batch, ChainRow, Command, DocumentOp
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.signing import Identity
from driftlog_schemas.state_codec import StateCodec
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rights import FORGET
from tests.integration.conftest import LoadRun
from tests.load.app import COLLECTION, COUNTER
from tests.load.checker import latest_by_key
from tests.load.fleet import identity, registered, replica_of
from tests.load.ground import enrol
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "guarded"
LOST, OTHER = DocumentId(COLLECTION, PLACE, "lost"), DocumentId(COLLECTION, PLACE, "other")
RETENTION_MS = 4_000


class Sender:
    """A device that has read the partition up to now, unless it says otherwise."""

    def __init__(self, run: LoadRun, device: Identity) -> None:
        self._run, self._device, self.replica = run, device, replica_of(device)
        self.partition = partition_of(PLACE, run.space.partitions)
        self._producer = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
        self._consumer = Consumer({"bootstrap.servers": run.bootstrap, "group.id": "nobody", "log_level": 0})
        self._number, self._prev = 0, b""

    def send(self, document: DocumentId, seq: int, read: int | None = None, *, delete: bool = False) -> None:
        """An increment by one, or a delete."""
        self._number += 1
        stamp = (time.time_ns() // 1_000_000) << 16
        op = Op(self.replica, seq, stamp, COUNTER, "increment", 1)
        if delete:
            op = Op(self.replica, seq, stamp, DOCUMENT, DELETE, None, {})
        command = Command(f"{self.replica}-{self._number}", "", PLACE, stamp, (DocumentOp(document, op),))
        topic = topics.ops_topic(self._run.space.name)
        _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, self.partition), timeout=15)
        body = encode_body(
            Batch(
                self._run.space.name,
                self.partition,
                self.replica,
                self._number,
                (command,),
                prev=self._prev,
                floor=1,
                read=end - 1 if read is None else read,
            )
        )
        self._prev = batch_digest(body)
        value = BatchCodec(self._run.ids).seal(body, self._device)
        self._producer.produce(topic, value, self._device.device_id.encode(), self.partition)
        assert self._producer.flush(30) == 0

    def row(self) -> ChainRow | None:
        """What the cloud says of it."""
        found = latest_by_key(self._run.history().receipts).get(self.replica.encode())
        if found is None or found.value is None:
            return None
        return RecordCodecs(self._run.ids).decode_chain_row(found.value)


@pytest.fixture
def run(on_broker: Callable[..., LoadRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadRun]:
    """A run whose partitions remember for seconds, with one worker that has the cloud's identity."""
    made = on_broker()
    admin = TopicsAdmin(made.bootstrap)
    wanted = topics.space_topics(made.space.name, made.space.partitions, RETENTION_MS)
    admin.apply(topics.plan(wanted, admin.existing([topic.name for topic in wanted])))
    clouds = Identity.create(CLOUD)
    line = enrolled(CLOUD, DeviceKey(clouds.key_id, clouds.public_key, 1), (), (FORGET,))
    enrol(made.bootstrap, [line], made.ids)
    clouds.save(tmp_path / "cloud.json")
    monkeypatch.setenv("DRIFTLOG_CLOUD_IDENTITY", str(tmp_path / "cloud.json"))
    with made.worker("only"):
        yield made


def test_a_deleted_document_is_forgotten_and_begins_anew(run: LoadRun) -> None:
    fleet = [identity(f"{run.space.name}-past", number, seed=13) for number in range(4)]
    enrol(run.bootstrap, map(registered, fleet), run.ids)
    maker, busy, later, sleeper = (Sender(run, device) for device in fleet)
    maker.send(LOST, 1)
    maker.send(LOST, 2, delete=True)
    clock = iter(range(1, 1000))

    def gone() -> bool:
        busy.send(OTHER, next(clock))
        time.sleep(0.5)
        found = latest_by_key(run.history().state).get(document_key(LOST))
        return found is not None and found.value is None

    until(gone, "the tombstone is forgotten", 90)
    (null,) = [r for r in run.history().state if r.key == document_key(LOST) and r.value is None]
    purged = groups.parse(null.headers).purged
    assert purged > 1

    later.send(LOST, 1)
    until(lambda: "lost" in run.rows(PLACE), "it is there again", 30)
    assert run.row(PLACE, "lost")[COUNTER] == 1
    value = latest_by_key(run.history().state)[document_key(LOST)].value
    state = StateCodec(run.space.collections[COLLECTION], run.ids).decode(value or b"")
    assert epoch_of(state.vector) >= purged

    sleeper.send(LOST, 1, read=0)
    until(lambda: (row := sleeper.row()) is not None and row.notice is not None, "the sleeper is answered", 30)
    row = sleeper.row()
    assert row is not None
    assert row.notice is not None
    assert row.notice.code == "away"
    assert run.row(PLACE, "lost")[COUNTER] == 1
    until(lambda: (found := maker.row()) is not None and found.ended == "retired", "a silent life is retired", 30)
