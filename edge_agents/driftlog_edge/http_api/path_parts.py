"""Names in paths, queries and headers: the text that the caller wrote, or none.

A server decodes a path before the routes see it, and two things are lost: `%2F`, so that the id `green/50` would look like two parts, and
bytes that are no UTF-8, which all become one sign, so that two ids would be one document. The raw path still has both. What is no UTF-8 is refused;
an encoded slash is carried past the routes as half of a surrogate pair, which no UTF-8 holds, and put back where a part is read.

A header's bytes come as Latin-1. Programs write UTF-8 into it, and no Latin-1 text of a name or an id is by chance UTF-8 beyond ASCII.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import unquote_to_bytes

from pydantic import BeforeValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from driftlog_edge.http_api import problems

_SLASH = "\ud800"
_ENCODED = re.compile(rb"%2[fF]")


class ExactNames:
    """ASGI middleware: the path as it was written, its encoded slashes within their parts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            part = "path"
            try:
                path = _SLASH.join(unquote_to_bytes(piece).decode() for piece in _ENCODED.split(scope["raw_path"]))
                part = "query"
                unquote_to_bytes(scope["query_string"]).decode()
            except UnicodeDecodeError:
                answer = problems.problem(422, "invalid", "The input cannot be used", "is not UTF-8", field=part)
                await answer(scope, receive, send)
                return
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


Part = Annotated[str, BeforeValidator(lambda text: text.replace(_SLASH, "/"))]
"""A path parameter that may hold a slash."""


def _as_written(text: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


HeaderText = Annotated[str, BeforeValidator(_as_written)]
"""A header that a person's name or an id may stand in."""
