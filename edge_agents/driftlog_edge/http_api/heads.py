"""A HEAD is answered as the GET would be, without its body: load balancers and monitors ask so.

The framework's routes know GET alone. So the request goes on as a GET; the server knows what was asked and sends no body. An answer that has no end
of its own, such as a watch, ends with its head: the caller gets no more of it, and the connection is free for the next request.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """ASGI middleware, before any that looks at the method."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] != "http.response.start":
                return
            await send(message)
            await send({"type": "http.response.body", "body": b""})  # from here on `receive` says that nobody listens

        await self._app({**scope, "method": "GET"}, receive, send_head)
