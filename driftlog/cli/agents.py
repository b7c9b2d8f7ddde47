"""Agents of this user: where each listens, and the token that it asks for.

A running agent leaves a note in the user's cache folder: its port, and where its token file is. So the commands that talk to an agent on
this machine need no option for what its owner may read anyway; the note holds no secret, and the file's mode decides. Elsewhere the
token comes from the environment: `DRIFTLOG_EDGE_TOKEN`, or `DRIFTLOG_EDGE_TOKEN_FILE`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

SOCKET = "unix:"


class TokenAuth(httpx.Auth):
    """Adds the token of a file, read when a request is made: an agent writes it when it first starts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        with suppress(OSError):  # the agent's own answer says what is missing
            request.headers["Authorization"] = f"Bearer {self._path.read_text().strip()}"
        yield request


def connect(url: str, timeout: float | None) -> httpx.Client:
    """A client for the agent at `url`: http://HOST:PORT, or unix:PATH. Raises `httpx.InvalidURL`."""
    if url.startswith(SOCKET):
        transport = httpx.HTTPTransport(uds=url.removeprefix(SOCKET).removeprefix("//"))
        return httpx.Client(transport=transport, base_url="http://localhost", timeout=timeout)
    token = os.environ.get("DRIFTLOG_EDGE_TOKEN")
    if token:
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout)
    path = os.environ.get("DRIFTLOG_EDGE_TOKEN_FILE") or _noted(httpx.URL(url))
    return httpx.Client(base_url=url, auth=TokenAuth(Path(path)) if path else None, timeout=timeout)


@contextmanager
def noted(port: int, token_file: Path) -> Iterator[None]:
    """While this lasts, who runs a command on this machine finds the agent's token. Without a place for it, nobody does."""
    note = _notes() / str(port)
    try:
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_text(str(token_file.absolute()))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def _noted(url: httpx.URL) -> str:
    if url.host not in ("127.0.0.1", "localhost", "::1"):
        return ""
    try:
        return (_notes() / str(url.port)).read_text()
    except OSError:
        return ""


def _notes() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftlog" / "agents"
