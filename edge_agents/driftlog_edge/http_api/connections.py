"""Connections: how many there may be, and how long one may take to say what it wants.

The server itself waits for ever for the head of a request, and takes connections until the process has no file handles left for its
database. Over the bound a connection is answered at once and closed; one that has not brought a whole head in time is closed.
"""

from __future__ import annotations

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 512
HEAD_SECONDS = 10.0

_BUSY = json.dumps(
    {
        "type": "urn:driftlog:not_ready",
        "title": "Too many connections",
        "status": 503,
        "detail": f"at most {MAX_CONNECTIONS} connections are served at once",
        "code": "not_ready",
        "remedy": "keep a connection open and use it again",
    }
).encode()
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
    b"retry-after: 1\r\ncontent-length: " + str(len(_BUSY)).encode() + b"\r\n\r\n" + _BUSY
)


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol with both bounds."""

    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_ANSWER)
            transport.close()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """The clock runs while no whole head has come; a request that is being answered has all the time it needs."""
        if self.conn.their_state is not h11.IDLE:
            self._head_is_here()
        elif self._head_due is None:
            self._head_due = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_is_here(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
