"""Request bodies: bounded in size and in time, and JSON that every part behind can hold.

A body is read whole before a route runs, so that the bound holds whatever its length header says and a caller that stops sending holds
nothing but its connection. Python's parser takes more than JSON: `NaN`, halves of surrogate pairs, numbers without end,
nesting that ends its stack. Such a body is unusual in its bytes, so only unusual ones are looked at closely.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftlog_edge.http_api import problems

MAX_BODY_BYTES = 1 << 20
BODY_SECONDS = 20.0
MAX_NESTING = 64
BODY = "driftlog.body"
"""Where a request's scope has its body, for who reads it at once."""
_METHODS = ("POST", "PUT", "PATCH")
_UNUSUAL = re.compile(rb"\\u[dD][89a-fA-F]|NaN|Infinity|[eE]\+?\d{3}|\d{129}")


class Bodies:
    """ASGI middleware: hands on bodies that can be used."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _METHODS:
            await self._app(scope, receive, send)
            return
        if encodings := _encodings(scope):
            await _encoded(encodings)(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(receive)
        except TimeoutError:
            await _closing(408, "timeout", f"the body did not come in {BODY_SECONDS:g} s")(scope, receive, send)
            return
        if body is None:
            await _closing(413, "too_large", f"a body has at most {MAX_BODY_BYTES} bytes")(scope, receive, send)
            return
        if fault := _fault(body):
            await problems.problem(422, "invalid", "The input cannot be used", fault, field="body")(
                scope, receive, send
            )
            return
        await self._app({**_as_json(scope), BODY: body}, _replayed(body, receive), send)


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when it is over the bound."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _encodings(scope: Scope) -> str:
    """How the body is encoded; empty where it is as it is."""
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"content-encoding"]
    named = [one.strip() for one in ",".join(given).split(",")]
    return ", ".join(one for one in named if one and one.lower() != "identity")


def _encoded(encodings: str) -> Response:
    detail, remedy = f"Content-Encoding is {encodings!r}", "send it as it is, without Content-Encoding"
    answer = _closing(415, "unsupported_encoding", detail, field="Content-Encoding", remedy=remedy)
    answer.headers["accept-encoding"] = "identity"
    return answer


def _as_json(scope: Scope) -> Scope:
    """All bodies are JSON here, whatever a client calls them: `curl -d` says it sends a form."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _closing(status: int, code: str, detail: str, **more: str) -> Response:
    answer = problems.problem(status, code, "The body cannot be taken", detail, **more)
    answer.headers["connection"] = "close"  # the rest of the body is not waited for
    return answer


def _fault(body: bytes) -> str:
    """Why no part behind could hold this JSON; empty when all is well, also for what is no JSON at all."""
    if body.count(b"[") + body.count(b"{") <= MAX_NESTING and not _UNUSUAL.search(body):
        return ""
    try:
        value = json.loads(body, parse_constant=_refuse)
    except RecursionError:
        return f"is nested deeper than {MAX_NESTING}"
    except json.JSONDecodeError:
        return ""  # named with its place by who parses it
    except ValueError as error:
        return str(error)
    return _unusable(value, MAX_NESTING)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _unusable(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return "" if value.isprintable() or _encodes(value) else "holds half of a surrogate pair"
    if isinstance(value, float):
        return "" if abs(value) < float("inf") else "holds a number that is not finite"
    if isinstance(value, int):
        return "" if value.bit_length() < 430 else "holds a whole number of more than 128 digits"
    if not isinstance(value, list | dict):
        return ""
    if depth == 0:
        return f"is nested deeper than {MAX_NESTING}"
    parts = value if isinstance(value, list) else [*value, *value.values()]
    return next((fault for part in parts if (fault := _unusable(part, depth - 1))), "")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
