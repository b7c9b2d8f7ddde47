"""Agents of this user: where each listens, and the token that it asks for.

On this machine its note says where the token is (see `driftlog.agent_notes`). Elsewhere that comes from the environment: `DRIFTLOG_EDGE_TOKEN`,
or `DRIFTLOG_EDGE_TOKEN_FILE`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from driftlog.agent_notes import notes

SOCKET = "unix:"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
FOR_REQUESTS = httpx.Limits(max_connections=100, max_keepalive_connections=20)
"""More requests than that wait their turn in the client."""
FOR_WATCHES = httpx.Limits(max_connections=None, max_keepalive_connections=0)
"""A watch holds its connection for as long as it lasts, so none may wait for another; how many there may be, the agent says."""


class TokenAuth(httpx.Auth):
    """Adds the token of a file, read when a request is made: an agent writes it when it first starts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        with suppress(OSError):  # the agent's own answer says what is missing
            request.headers["Authorization"] = f"Bearer {self._path.read_text().strip()}"
        yield request


class _Bearer(httpx.Auth):
    """Adds a token that is known."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class Place(NamedTuple):
    """Where an agent listens: a base URL, and how a client comes in there."""

    url: str
    socket: str = ""
    """Path of a unix socket; empty for none."""
    auth: httpx.Auth | None = None

    @property
    def remote(self) -> bool:
        """May there be a proxy on the way, as the environment says?"""
        return not self.socket and httpx.URL(self.url).host not in LOOPBACK

    @property
    def encrypted(self) -> bool:
        """Is there TLS to verify?"""
        return not self.url.startswith("http:")

    def verification(self) -> ssl.SSLContext | bool:
        """By what a certificate is verified. To parse the system's authorities takes 20 ms: without TLS nobody need, and clients of one place may share it."""
        return httpx.create_ssl_context(trust_env=self.remote) if self.encrypted else False

    @classmethod
    def of(cls, url: str, token_file: Path | None = None) -> Place:
        """Of http://HOST:PORT, or unix:PATH. Raises `httpx.InvalidURL`."""
        if url.startswith(SOCKET):
            return cls("http://localhost", url.removeprefix(SOCKET).removeprefix("//"))
        token = os.environ.get("DRIFTLOG_EDGE_TOKEN")
        if token and token_file is None:
            return cls(url, auth=_Bearer(token))
        path = token_file or os.environ.get("DRIFTLOG_EDGE_TOKEN_FILE") or _noted(httpx.URL(url))
        return cls(url, auth=TokenAuth(Path(path)) if path else None)

    def options(self, timeout: float | None, limits: httpx.Limits, verify: ssl.SSLContext | bool) -> dict[str, Any]:
        """How any client of httpx gets there."""
        return {
            "base_url": self.url,
            "auth": self.auth,
            "verify": verify,
            "timeout": timeout,
            "trust_env": self.remote,
            "limits": limits,
        }


def connect(url: str, timeout: float | None) -> httpx.Client:
    """A client for the agent at `url`. Raises `httpx.InvalidURL`."""
    place = Place.of(url)
    return client_of(place, place.verification(), timeout, FOR_REQUESTS)


def client_of(place: Place, verify: ssl.SSLContext | bool, timeout: float | None, limits: httpx.Limits) -> httpx.Client:
    """A client for the agent there, with the place's own verification."""
    transport = httpx.HTTPTransport(verify=verify, uds=place.socket, limits=limits) if place.socket else None
    return httpx.Client(transport=transport, **place.options(timeout, limits, verify))


def async_client_of(
    place: Place, verify: ssl.SSLContext | bool, timeout: float | None, limits: httpx.Limits
) -> httpx.AsyncClient:
    """The same, for a caller with an event loop."""
    transport = httpx.AsyncHTTPTransport(verify=verify, uds=place.socket, limits=limits) if place.socket else None
    return httpx.AsyncClient(transport=transport, **place.options(timeout, limits, verify))


def _noted(url: httpx.URL) -> str:
    if url.host not in LOOPBACK:
        return ""
    try:
        return (notes() / str(url.port)).read_text()
    except OSError:
        return ""
