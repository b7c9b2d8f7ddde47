"""Who may speak to the agent: nobody who cannot read its folder, and no web page.

A port on loopback is open to every user of the machine and to every page in their browsers. So each request carries the token that stands
in the data folder (mode 0600). `Host` must be a name of this agent, or a page could rebind its own name to loopback; `Origin`, which
browsers add, must be the agent itself. Over a unix socket its mode says who may come, and no token is asked for.
"""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from driftlog_edge.errors import StoreFailed
from driftlog_edge.http_api import problems
from driftlog_schemas.errors import BadSetting
from driftlog_schemas.private_file import sync_folder

TOKEN_FILE = "token"
TOKEN_BYTES = 32
MIN_TOKEN = 16
ROOT = 0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What a supervisor asks; they tell nothing about the data."""
TOLD_PATHS = OPEN_PATHS | {"/metrics"}


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked of a request."""

    token: str = ""
    """Empty: none is asked for."""
    hosts: frozenset[str] | None = None
    """The agent's names; None: any."""


def token_of(folder: Path) -> str:
    """The token in a data folder, made if there is none: a power cut leaves callers the one they know. Raises `StoreFailed`."""
    path = folder / TOKEN_FILE
    try:
        if path.exists():
            path.chmod(0o600)
            token = path.read_text().strip()
            if token:
                return token
        token = secrets.token_urlsafe(TOKEN_BYTES)
        fresh = path.with_name(f"{TOKEN_FILE}.new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise StoreFailed(
            f"the token file {path} cannot be used: {error.strerror}", "check the folder's owner and space"
        ) from error
    return token


def token_in(path: Path) -> str:
    """The token of a file that somebody else has made. Raises `BadSetting`."""
    try:
        loose = open_to_others(path.stat())
        token = path.read_text().strip()
    except OSError as error:
        raise BadSetting(f"setting http_token_file: {path} cannot be read: {error.strerror}") from error
    if loose or len(token) < MIN_TOKEN:
        fault = "can be read by others" if loose else f"holds less than {MIN_TOKEN} characters"
        remedy = "give it mode 0600, or 0640 where it is root's, and a long random line"
        raise BadSetting(f"setting http_token_file: {path} {fault}", remedy)
    return token


def open_to_others(file: os.stat_result) -> bool:
    """May others read a file with a token, or write it? The group of one that is root's may read it, as PostgreSQL lets it: so whoever runs containers hands
    secrets to a user that is not root (Kubernetes with `fsGroup`)."""
    return bool(file.st_mode & (0o027 if file.st_uid == ROOT else 0o077))


class Doorkeeper:
    """ASGI middleware: lets in whom `Access` lets in, before anything of the request is read."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        hosts = self._access.hosts
        if hosts is not None and name_of(host) not in hosts:
            return problems.problem(
                403, "forbidden_origin", "Not this agent's name", f"Host is {host!r}", remedy="name it in http_hosts"
            )
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return problems.problem(403, "forbidden_origin", "Not from here", f"Origin is {origin!r}")
        if self._access.token and scope["path"] not in OPEN_PATHS and not self._carries_token(headers):
            answer = problems.problem(
                401,
                "unauthorized",
                "No token",
                "this request does not carry the agent's token",
                remedy=f"send 'Authorization: Bearer ' and what stands in the file {TOKEN_FILE!r} of the data folder",
            )
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        return None

    def _carries_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1", "replace"), self._access.token.encode()
        )


class OnlyTold:
    """ASGI middleware: of an API only how the agent is, for a collector on another machine. It asks for no token, so of the
    data it tells the names of scopes and no more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not (scope["path"] in TOLD_PATHS and scope["method"] == "GET"):
            refusal = problems.problem(404, "not_found", "Not here", f"here are only {', '.join(sorted(TOLD_PATHS))}")
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def name_of(host: str) -> str:
    """The name in a `Host` header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
