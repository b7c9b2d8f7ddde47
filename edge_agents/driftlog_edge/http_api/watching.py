"""Changes as server-sent events, for as long as somebody listens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated

from fastapi import FastAPI, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.watch import RECENT, Change, Passed
from driftlog_edge.http_api import openapi
from driftlog_edge.http_api.durations import seconds

DEAF_SECONDS = 60.0
"""A watcher that reads nothing for so long is let go; it comes back with its last id."""


def install(api: FastAPI, agent: EdgeAgent) -> None:
    """The route."""

    @api.get(
        "/v1/watch",
        response_class=EventSourceResponse,
        responses={200: {"content": {"text/event-stream": {"schema": openapi.EVENT}}}, **openapi.LIST},
    )
    async def watch(
        collection: str = "",
        scope: str = "",
        timeout: Annotated[  # noqa: ASYNC109  # the promised name of the query parameter
            str, Query(description="The answer ends by itself after so long; without it, it does not end.")
        ] = "",
        last_event_id: Annotated[
            str, Header(description="The last id that was seen. What was missed since comes first.")
        ] = "",
    ) -> EventSourceResponse:
        """One event per changed document; `resync` means: read everything again.

        An id comes at once, before any change, and now and then one without data: who comes back with the last one misses nothing, also when the agent
        was restarted meanwhile. The last 10,000 changes are known; who comes back for more is told `resync`, and so is one that reads too slowly.
        """
        since = last_event_id or agent.watchers.now
        found = agent.watch_events(collection, scope, since, seconds(timeout, "timeout") if timeout else None)

        async def events() -> AsyncIterator[bytes]:
            if not last_event_id:
                yield ServerSentEvent(id=since).encode()
            async for (
                some
            ) in found:  # sent as one: what each of them would cost by itself, many watchers could not be given
                yield b"".join(map(_told, some))

        return EventSourceResponse(events(), send_timeout=DEAF_SECONDS)


@lru_cache(maxsize=RECENT)  # all who watch are told the same, at about the same time
def _told(event: Change | Passed) -> bytes:
    if isinstance(event, Passed):
        return ServerSentEvent(id=event.id).encode()
    if event.document is None:
        return ServerSentEvent(data="{}", event="resync", id=event.id).encode()
    collection, scope, id = event.document
    text = json.dumps({"collection": collection, "scope": scope, "id": id})
    return ServerSentEvent(data=text, event="change", id=event.id).encode()
