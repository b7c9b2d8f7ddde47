"""Producing a workload at a steady rate, from a thread, with every delivery confirmed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Self

from confluent_kafka import Producer

from tests.load.workload import LoadRecord

FLUSH_SECONDS = 120.0
QUEUED = 50_000


class Feeder:
    """Feeds records to a topic until they end; leave the block to wait for all deliveries."""

    def __init__(self, bootstrap: str, topic: str, records: Iterable[LoadRecord], *, per_second: float = 0) -> None:
        self._topic = topic
        self._records = iter(records)
        self._pause = 1 / per_second if per_second else 0.0
        self._said: deque[object] = deque(maxlen=5)
        """The client's own last words, for messages."""
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                # A leader that is only just made may refuse the first batch and take the second: both would be reported as delivered.
                "max.in.flight": 1,
                "linger.ms": 5,
                "message.timeout.ms": 300_000,
                "queue.buffering.max.messages": 2 * QUEUED,
                "log_level": 0,
                "error_cb": self._said.append,
            }
        )
        self._thread = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._aborted = threading.Event()
        self.error: BaseException | None = None
        self.sent = 0
        self.delivered = 0
        self.ops = 0

    def start(self) -> Self:
        self._thread.start()
        return self

    @property
    def feeding(self) -> bool:
        """Is there more to come?"""
        return self._thread.is_alive()

    def abort(self) -> None:
        """Feed nothing more, whatever is left. To end a load that is judged, stop its workload."""
        self._aborted.set()

    def finish(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until all is fed and delivered. Raises what went wrong."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the feeder did not come to its end"
        if self.error is not None:
            raise self.error
        left = self._producer.flush(seconds)
        lacks = self.sent - self.delivered
        assert left == lacks == 0, f"{lacks} records were not delivered; the client says {[str(s) for s in self._said]}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abort()
        else:
            self.finish()

    def _feed(self) -> None:
        due = time.monotonic()
        try:
            for record in self._records:
                if self._aborted.is_set():
                    break
                while self.sent - self.delivered > QUEUED:
                    self._producer.poll(0.05)
                self._producer.produce(
                    self._topic, record.value, record.key, record.partition, on_delivery=self._on_delivery
                )
                self.sent += 1
                self.ops += record.ops
                self._producer.poll(0)
                due += self._pause
                if (ahead := due - time.monotonic()) > 0:
                    self._aborted.wait(ahead)
        except BaseException as error:  # noqa: BLE001  # told by `finish`, in the caller's thread
            self.error = error

    def _on_delivery(self, error: Any, _message: Any) -> None:
        if error is not None:
            self.error = RuntimeError(f"a record was not delivered: {error}")
        else:
            self.delivered += 1
