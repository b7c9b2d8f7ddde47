"""What Kafka's client says by itself, as lines of our log: else it writes its own between them, on standard error.

While no broker answers a client says so several times a second; here each is told once a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog

log = structlog.get_logger()

AGAIN_SECONDS = 60.0
MOST = 100
"""So many things that it has said are remembered."""


class ClientLog(logging.Handler):
    """Says each thing at most once in `AGAIN_SECONDS`, whichever client it was and however long it took."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """One record of the client."""
        said = record.getMessage()
        what = said.rpartition("]: ")[2].partition(" (after ")[0]
        now = time.monotonic()
        if now - self._said.get(what, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return
        if len(self._said) >= MOST:
            self._said.clear()
        self._said[what] = now
        log.warning("the Kafka client says", said=said)


def _client_log() -> logging.Logger:
    """Of nobody's tree: what a program does with its other logs is not meant."""
    made = logging.Logger("librdkafka")
    made.addHandler(ClientLog())
    return made


ERRORS_TOLD: Mapping[str, Any] = MappingProxyType({"log_level": 3, "logger": _client_log()})
"""Settings of a client that is polled all the while: it hands over what it says when it is polled."""
