"""Connections: how many there may be, how long one may take to say what it wants, and how much it may say before that is clear.

The server itself waits for ever for the head of a request, keeps whatever such a head holds, and takes connections until the process has no file handles
left for its database. Over the bound a connection is answered at once and closed; one that has not brought a whole head in time is closed, and so is
one that brings too much which is neither head nor body: a head without end, what follows a body, the lengths of its pieces.

The parser takes what follows a head that offers an upgrade for bytes of another protocol, whatever the server says to the offer. Some clients offer one with their
first request and send its body, so such a head is read once more without the offer.
"""

from __future__ import annotations

import asyncio
import json

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS = 512
HEAD_SECONDS = 10.0
MAX_HEAD_BYTES = 64 << 10

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


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with these bounds."""

    _head_due: asyncio.TimerHandle | None = None
    _unclear = 0
    """Bytes since the last whole head or piece of a body."""

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
        self._unset_keepalive_if_required()
        self._unclear += len(data)
        try:
            self._feed(memoryview(data))
        except httptools.HttpParserError:
            self.send_400_response("This is no HTTP request.")
        if self._unclear > MAX_HEAD_BYTES:
            self.transport.close()
        self._await_head()

    def _feed(self, data: memoryview) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                self.parser.feed_data(self._without_offer())
                data = data[offer.args[0] :]

    def _without_offer(self) -> bytes:
        """The head that was just read, without what would make the parser stop at its end."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([b"%s %s HTTP/%s" % (method, self.url, version), *lines, b"", b""])

    def on_headers_complete(self) -> None:
        self._unclear = 0
        if self._offers_upgrade():
            return
        if self.parser.get_http_version() == "1.1" and [name for name, _ in self.headers].count(b"host") != 1:
            raise ValueError("a head names one host")  # the parser hands it on as its own error
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unclear = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._offers_upgrade():
            super().on_message_complete()

    def _offers_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """The clock runs while no whole head has come; a request that is being answered has all the time it needs."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_is_here()
        elif self._head_due is None:
            self._head_due = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_is_here(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
