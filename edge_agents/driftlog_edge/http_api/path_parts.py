"""Names in paths that hold a slash.

A server decodes `%2F` before the routes see the path, so the id `green/50` would look like two parts. The raw path still tells them
apart: an encoded slash is carried past the routes as a character that no text may hold, and put back where a part is read.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import quote, unquote

from pydantic import AfterValidator
from starlette.types import ASGIApp, Receive, Scope, Send

_SLASH = "\ufdd0"
_ENCODED = re.compile(rb"%2[fF]")


class EncodedSlashes:
    """ASGI middleware: encoded slashes stay within their part."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path") or b""
        if scope["type"] == "http" and _ENCODED.search(raw):
            path = raw.partition(b"?")[0]
            scope = {**scope, "path": unquote(_ENCODED.sub(quote(_SLASH).encode(), path).decode("ascii", "replace"))}
        await self._app(scope, receive, send)


Part = Annotated[str, AfterValidator(lambda text: text.replace(_SLASH, "/"))]
"""A path parameter that may hold a slash."""
