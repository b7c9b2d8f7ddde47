"""The digests of a partition's scopes, counted from its state topic alone: a second opinion on what workers and agents carry along.

The topic is read from its start, and up to an offset that the caller names: where an agent stands. What was compacted away below that offset because of
something behind it is missing then, so a difference counts only at the topic's end, or again at a later offset.
"""

from __future__ import annotations

from collections import deque
from typing import cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.digests import UNTOLD, Versions
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.identity import parse_document_key
from driftlog_streams.reading.offsets import watermarks
from driftlog_streams.reading.plain_reader import plain_reader
from driftlog_streams.reading.skipped import Skipped, skipping

log = structlog.get_logger()

BLOCK = 5_000
ASK_SECONDS = 15.0
QUIET_POLLS = 150
"""So many polls of a fifth of a second may bring nothing before the end."""


class StateDigests:
    """One partition. Blocking; `close` when done. Raises `BrokerUnreachable`."""

    def __init__(self, kafka: KafkaSettings | str, versions: Versions, topic: str, partition: int) -> None:
        self._versions = versions
        self._place = (topic, partition)
        self.position = 0
        """Before which offset all is counted."""
        self._ahead: deque[Message] = deque()
        """What came with the rest, and is behind the position."""
        self._documents: dict[bytes, int] = {}
        self._consumer = plain_reader(kafka, "driftlog-reader")
        self._consumer.assign([TopicPartition(topic, partition, 0)])

    def close(self) -> None:
        """Let the client go."""
        self._consumer.close()

    def end(self) -> int:
        """The offset behind the topic's last record."""
        try:
            return watermarks(self._consumer, *self._place, ASK_SECONDS)[1]
        except KafkaException as error:
            raise BrokerUnreachable(f"{self._place[0]} cannot be read: {error}", "check the broker's log") from error

    def read_to(self, offset: int) -> None:
        """Count the records before this offset, which is not before the position, nor behind the end."""
        quiet = 0
        with skipping(self._place[0]) as skipped:
            while self.position < offset:
                if not self._ahead:
                    found = self._consumer.consume(BLOCK, 0.2)
                    quiet = 0 if found else quiet + 1
                    if quiet > QUIET_POLLS:
                        raise BrokerUnreachable(
                            f"{self._place[0]} gives nothing before its end", "check the broker's log"
                        )
                    self._ahead.extend(found)
                while self._ahead and self.position < offset:
                    self._next(offset, skipped)

    def _next(self, offset: int, skipped: Skipped) -> None:
        message = self._ahead[0]
        error, at = message.error(), cast(int, message.offset())
        if error is None and at >= offset:
            self.position = offset  # holes of compaction count as read
            return
        self._ahead.popleft()
        if error is None:
            self._count(message.key() or b"", message.value(), at, skipped)
            self.position = at + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            self.position = max(self.position, min(at, offset))
        else:
            log.warning("a topic is read", error=str(error))

    def _count(self, key: bytes, value: bytes | None, at: int, skipped: Skipped) -> None:
        try:
            digest = self._versions.digest(key, value)
        except UNTOLD:
            skipped.add("of a version that cannot be told", at)
            digest = 0
        if digest:
            self._documents[key] = digest
        else:
            self._documents.pop(key, None)

    def of(self, scope: str) -> tuple[int, int]:
        """The digest of a scope, and of how many documents."""
        digest = count = 0
        for key, each in self._documents.items():
            if _scope(key) == scope:
                digest ^= each
                count += 1
        return digest, count


def _scope(key: bytes) -> str | None:
    try:
        return parse_document_key(key).scope
    except ValueError:
        return None
