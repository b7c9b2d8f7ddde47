"""What stands below a worker's device view in a world: Kafka's client that reads the registry's topic and asks where it ends.

The view is production's, with its threads (`thread`). A client may get nothing for a while though the broker answers others (a *stall*): then
the view must notice by itself that it does not know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftlog_schemas.topics import DEVICES
from tests.fake_kafka.broker import Stored
from tests.fake_kafka.clients import Message
from tests.simulation.life import Life
from tests.simulation.log import LogRecord
from tests.simulation.operator import PARTITION
from tests.simulation.thread import Condition, Event, Lock, Threads

if TYPE_CHECKING:
    from tests.simulation.worker_node import WorkerProcess

IDLE_SECONDS = 60.0
"""Whoever reads is woken when there is something to read; so he need not look five times a second."""
FETCHED = 50


class RegistryClient:
    """`confluent_kafka.Consumer` of one thread of a device view."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self._world = process.world
        self._grown = Condition(self._world.threads)
        self._at = 0
        self._told = -1
        """The end that was told last."""
        self._fetched: deque[LogRecord] = deque()

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        (place,) = partitions
        self._at = place.offset
        self._process.on_registry.append(self._grown.notify_all)

    def poll(self, timeout: float) -> Message | None:
        log = self._world.log
        if not self._fetched:
            if self._told == log.end(DEVICES, PARTITION):
                self._grown.wait(IDLE_SECONDS)
                return None
            self._world.threads.sleep(self._arrival_ms() / 1000)
            self._fetched.extend(log.read(DEVICES, PARTITION, self._at, FETCHED))
        if not self._fetched:
            self._told = self._at
            return Message(DEVICES, PARTITION, None, KafkaError(KafkaError._PARTITION_EOF), self._at)
        record = self._fetched.popleft()
        self._at = record.offset + 1
        stored = Stored(record.offset, record.key, record.value, record.headers, record.timestamp_ms)
        return Message(DEVICES, PARTITION, stored, None, record.offset)

    def _arrival_ms(self) -> int:
        now = self._world.scheduler.now
        return max(self._world.network.arrival(self._process.name), self._process.registry_stalls_until) - now

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        end = self._world.log.end(DEVICES, PARTITION)
        wait_ms = self._world.network.arrival(self._process.name) - self._world.scheduler.now
        self._world.threads.sleep(min(wait_ms / 1000, timeout))
        if wait_ms > timeout * 1000:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return 0, end

    def close(self) -> None: ...


class _Started:
    """`threading.Thread`."""

    def __init__(self, threads: Threads, *, target: Any, name: str, daemon: bool) -> None:
        self._threads = threads
        self._target = target
        self._name = name

    def start(self) -> None:
        assert Life.current is not None
        self._threads.begin(Life.current, self._name, self._target)


def threading_of(threads: Threads) -> SimpleNamespace:
    """What stands in the place of `threading` for a module."""
    return SimpleNamespace(
        Thread=partial(_Started, threads),
        Condition=partial(Condition, threads),
        Event=partial(Event, threads),
        Lock=partial(Lock, threads),
    )
