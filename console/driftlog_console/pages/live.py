"""The stream that tells open pages what has changed: names only, never what stands on a page. One for each tab."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import PlainTextResponse, Response

from driftlog_console.asking import TheDesk, Viewer

router = APIRouter()

MOST_STREAMS = 500


@router.get("/live")
async def live(desk: TheDesk, person: Viewer, since: str = "") -> Response:
    """What has changed since a page was made (`since`, its mark), then what does: events `conflicts`, `devices`, `fleet`, `flow`, `groups`, `waiting`, `documents`; `beat` says only that the stream is there."""
    if desk.signals.listening >= MOST_STREAMS:
        return PlainTextResponse("too many pages are open; this one is read again by hand\n", 503)
    changes = desk.signals.changes(since)

    async def events() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(event="beat", data="")
        async for names in changes:
            for name in sorted(names) or ["beat"]:
                yield ServerSentEvent(event=name, data="")

    return EventSourceResponse(events(), ping=3600)
