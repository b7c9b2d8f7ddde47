"""One signed request: `Driftlog-Signature: t=<epoch seconds>,v1=<hex>`, an HMAC-SHA256 with the shared secret over `<t>.<body>`.

A receiver compares it, refuses what is older than some minutes, and remembers `Driftlog-Notice`: a notice whose answer was lost comes once more, under
the same id.
"""

from __future__ import annotations

import hashlib
import hmac

import httpx

from driftlog_console.notices.memory import Notice

SECONDS = 10.0


class NotTaken(Exception):
    """The receiver did not take it; the text says why."""


def signature(secret: bytes, at_seconds: int, body: bytes) -> str:
    """The header's value."""
    digest = hmac.new(secret, b"%d." % at_seconds + body, hashlib.sha256).hexdigest()
    return f"t={at_seconds},v1={digest}"


class Webhook:
    """Where notices go. Redirects are not followed: what is signed is for whom it was meant."""

    def __init__(self, url: str, secret: bytes, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url, self._secret = url, secret
        self._client = httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, transport=transport)

    async def send(self, notice: Notice, now_ms: int) -> None:
        """Raises `NotTaken`."""
        body = notice.body.encode()
        headers = {
            "content-type": "application/json",
            "driftlog-notice": notice.id,
            "driftlog-signature": signature(self._secret, now_ms // 1000, body),
        }
        try:
            async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                if not answer.is_success:
                    raise NotTaken(f"it answered {answer.status_code} {answer.reason_phrase}".rstrip())
        except httpx.HTTPError as error:
            raise NotTaken(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    async def close(self) -> None:
        """Let connections go."""
        await self._client.aclose()
