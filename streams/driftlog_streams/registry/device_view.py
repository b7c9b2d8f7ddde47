"""The device registry as one worker knows it: `driftlog.devices`, read to its present end before the first record is merged.

A thread keeps reading, and another asks every few seconds where the topic ends and waits until it is read so far: what the view knows is
then complete as of that question (`known_at`). Whoever admits a batch asks `vouches` first. If the view is older than `NOTICE_MS`, a
revocation may have begun to count that is not known here; then nothing is admitted before one `catch_up`, and if the end cannot be
reached in time the worker ends with `DevicesUnknown`: both a wrong admission and a wrong refusal would be worse.

What was written over a line by somebody else is put right by whoever sees it (`mend`): the signed line is published again, as it was.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import cast

import structlog
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.device_lines import UNKNOWN_SCHEMA, DeviceLines
from driftlog_schemas.devices import NOTICE_MS, Device
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.generations import InForce
from driftlog_schemas.moves import Moved
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.errors import DevicesUnknown
from driftlog_streams.reading.offsets import watermarks
from driftlog_streams.telling.client_log import ERRORS_TOLD

log = structlog.get_logger()

CATCH_UP_SECONDS = 20.0
ASK_SECONDS = 5.0
CHECK_SECONDS = 3.0
"""How often the topic's end is asked for; a few misses are no harm."""
MEND_SECONDS = 60.0
"""How often at most a line is put back, so that a stranger who goes on writing cannot make us write without end."""
REGISTRY_SECONDS = 1.0
"""How long to wait before a registry that must be asked is asked again."""
KEPT_UNREAD = 100
"""Records of an unknown schema that are tried again while nothing else is to be read."""
DISBELIEVED_SECONDS = 60.0
"""How often at most it is said that records are not believed; anybody may write them."""
MOST_CAUSES = 1_000
"""So many causes are told at most: whoever writes records that nobody believes may give each another name."""
_PARTITION = 0


class _Disbelieved:
    """Says of records that are not believed each cause once: the reason, and the device that they name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said_at = -DISBELIEVED_SECONDS
        self._causes: set[tuple[str, str]] = set()
        self._unsaid: Counter[str] = Counter()
        self._last = "", -1

    def tell(self, why: str, device: str, offset: int) -> None:
        """One more. The next line has the causes that are new since the last one, by reason, and the newest of them as a specimen."""
        with self._lock:
            if (why, device) in self._causes or len(self._causes) == MOST_CAUSES:
                return
            self._causes.add((why, device))
            self._unsaid[why] += 1
            self._last = device, offset

    def say(self, *, sparingly: bool = False) -> None:
        """Say what was not said yet, if anything; `sparingly` where the last line is long enough ago."""
        if sparingly and time.monotonic() - self._said_at < DISBELIEVED_SECONDS:
            return
        with self._lock:
            counts, (device, offset) = dict(self._unsaid), self._last
            self._unsaid.clear()
            more = {"others": "are not told any more"} if len(self._causes) == MOST_CAUSES else {}
        if counts:
            log.warning(
                "records of the device registry are not believed", devices=counts, device=device, offset=offset, **more
            )
            self._said_at = time.monotonic()


class DeviceView:
    """device id -> its newest line. `start` it, ask `vouches` and `find`, `close` it.

    `met` is told, on the reading thread, the root that was met first where none is given.
    """

    def __init__(
        self,
        kafka: KafkaSettings | str,
        codecs: RecordCodecs,
        root: bytes | None = None,
        *,
        mend: bool = False,
        met: Callable[[bytes], None] = lambda root: None,
    ) -> None:
        settings = kafka_at(kafka)
        self.lines = DeviceLines(codecs, root)
        self._met = met
        self._position = 0
        self._moved = threading.Condition()
        self._asking = threading.Lock()
        self._closed = threading.Event()
        self._known_at = 0.0
        self._mended: dict[str, float] = {}
        self._disbelieved = _Disbelieved()
        self._unread: deque[tuple[bytes, bytes, int | None]] = deque(maxlen=KEPT_UNREAD)
        self._anew = False
        """Is the topic another one, of which nothing was read yet?"""
        config = {
            **settings.reader(),
            "group.id": "driftlog-device-view",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": True,
        }
        self._config = {**config, **ERRORS_TOLD}
        self._consumer = Consumer(self._config)
        self._asker = Consumer({**config, "log_level": 0})
        """Asking for the end would wait for ever on the handle that another thread polls."""
        self._producer = Producer({**settings.client(), "acks": "all", **ERRORS_TOLD}) if mend else None
        self._threads = [
            threading.Thread(target=self._tail, name="device-view", daemon=True),
            threading.Thread(target=self._check, name="device-view-check", daemon=True),
        ]

    def start(self, timeout: float = CATCH_UP_SECONDS) -> None:
        """Read to the present end. Raises `DevicesUnknown`."""
        self._read_from_start()
        for thread in self._threads:
            thread.start()
        self.catch_up(timeout)
        self._disbelieved.say()

    def find(self, device_id: str) -> Device | None:
        """The device as far as it is known here."""
        return self.lines.find(device_id)

    def all(self) -> list[Device]:
        """Every device, by name."""
        return self.lines.all()

    def everything(self) -> list[Device]:
        """Every line, by name: those of devices, and those of spaces."""
        return self.lines.everything()

    def generations(self, space: str) -> InForce:
        """Which generations of a space are in force."""
        return self.lines.generations(space)

    def moved(self, space: str) -> Moved | None:
        """Where a space, by its name on the wire, goes on with another number of partitions; None while it has not moved."""
        return self.lines.moved(space)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def vouches(self) -> bool:
        """Is everything known here that counts by now?"""
        return time.monotonic() - self._known_at < NOTICE_MS / 1000

    def catch_up(self, timeout: float = CATCH_UP_SECONDS) -> None:
        """Read to the topic's present end; blocks. Raises `DevicesUnknown`."""
        begin = time.monotonic()
        end = begin + timeout
        high = self._present_end(end)
        with self._moved:
            if high < self._position:
                self._begin_anew(high)
            while self._position < high:
                left = end - time.monotonic()
                if left <= 0 or self._closed.is_set():
                    raise DevicesUnknown(
                        f"read {self._position} of {high} records of {topics.DEVICES} in {timeout:.0f} s",
                        "see whether the broker answers; the worker starts again by itself",
                    )
                self._moved.wait(left)
        self._known_at = max(self._known_at, begin)

    def _begin_anew(self, high: int) -> None:
        """The topic was made anew. A client that knew the one before may get nothing of it; what is known stands, and is put back where the new one lacks it."""
        log.warning("the topic of devices was made anew; it is read again", read=self._position, end=high)
        self._position, self._anew = 0, True
        self.lines.made_anew()

    def _present_end(self, end: float) -> int:
        while True:
            try:
                with self._asking:
                    return watermarks(self._asker, topics.DEVICES, _PARTITION, ASK_SECONDS)[1]
            except KafkaException as error:
                if time.monotonic() > end or self._closed.is_set():
                    raise DevicesUnknown(
                        f"the end of {topics.DEVICES} cannot be asked for: {error}", "see whether the broker answers"
                    ) from error
            time.sleep(0.2)

    # -- the threads

    def _check(self) -> None:
        while not self._closed.wait(CHECK_SECONDS):
            try:
                self.catch_up(CHECK_SECONDS)
            except DevicesUnknown as error:  # who admits will ask again, and waits longer
                log.warning("device registry", error=str(error))
            else:
                self._mend()
            self._disbelieved.say(sparingly=True)

    def _mend(self) -> None:
        now = time.monotonic()
        for name in list(self.lines.covered):
            line = self.lines.line(name)
            if self._producer is None or line is None or now - self._mended.get(name, -MEND_SECONDS) < MEND_SECONDS:
                continue
            try:
                self._producer.produce(topics.DEVICES, line.value, name.encode(), _PARTITION)
            except BufferError:  # the rest at the next look
                break
            self._mended[name] = now
            log.warning("a device's line was written over by somebody else, or is gone; it is put back", device=name)
        if self._producer is not None:
            self._producer.poll(0)

    def _read_from_start(self) -> None:
        self._consumer.assign([TopicPartition(topics.DEVICES, _PARTITION, 0)])

    def _tail(self) -> None:
        while not self._closed.is_set():
            if self._anew:
                self._consumer.close()
                self._consumer = Consumer(self._config)
                self._read_from_start()
                self._anew = False
            message = self._consumer.poll(0.2)
            if message is None:
                self._try_unread()
                continue
            error, offset = message.error(), cast(int, message.offset())
            if error is None:
                kind, append_ms = message.timestamp()
                timed = append_ms if kind == TIMESTAMP_LOG_APPEND_TIME else None
                self._take(message.key() or b"", message.value(), timed, offset)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._reached(offset)  # compaction may have left a hole before the end
            else:
                log.warning("device registry", error=str(error))

    def _take(self, key: bytes, value: bytes | None, append_ms: int | None, offset: int) -> None:
        """One record, waiting for a registry that must be asked: to pass a line over would forget a device."""
        while not self._closed.is_set():
            before = self.lines.root
            try:
                ignored = self.lines.take(key, value, append_ms)
            except RegistryUnreachable as error:
                log.warning("device registry", offset=offset, error=str(error))
                self._closed.wait(REGISTRY_SECONDS)
                continue
            if before is None and self.lines.root is not None:
                self._met(self.lines.root)
            if ignored == UNKNOWN_SCHEMA and value is not None:
                self._unread.append((key, value, append_ms))
            if ignored:
                self._disbelieved.tell(ignored, key[:64].decode(errors="replace"), offset)
            break
        self._reached(offset + 1)

    def _try_unread(self) -> None:
        """The registry may know by now what it did not know, or was not asked."""
        for _ in range(len(self._unread)):
            record = self._unread.popleft()
            try:
                still = self.lines.again(*record)
            except RegistryUnreachable:
                still = True
            if still:
                self._unread.append(record)

    def _reached(self, position: int) -> None:
        with self._moved:
            if not self._anew:  # else it was of the topic before
                self._position = max(self._position, position)
            self._moved.notify_all()

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2.0)
        self._disbelieved.say()
        self._consumer.close()
        self._asker.close()
        if self._producer is not None:
            self._producer.flush(1.0)
