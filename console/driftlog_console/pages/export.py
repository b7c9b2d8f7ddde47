"""What a list shows, for other programs: the same conflicts, as CSV or a JSON document a line, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from driftlog_console.asking import TheDesk, Viewer, Wanted
from driftlog_console.desk import Desk
from driftlog_console.masking import Eyes
from driftlog_console.people import Person
from driftlog_edge.errors import NotFound
from driftlog_streams.reading.conflict_export import MEDIA, Format, head, line
from driftlog_streams.reading.conflict_lists import Line, Which

router = APIRouter()

AT_ONCE = 100
"""Between so many lines others have their turn."""


@router.get("/inbox/export")
async def export(
    request: Request, desk: TheDesk, person: Viewer, wanted: Wanted, which: Which = "decided", format: Format = "csv"
) -> Response:
    """All that the filter takes of one list, in its order."""
    lines = desk.inbox.matching(which, wanted, person.sees)
    headers = {"content-disposition": f'attachment; filename="conflicts-{which}.{format}"'}
    return StreamingResponse(_texts(request, desk, person, lines, format), media_type=MEDIA[format], headers=headers)


async def _texts(
    request: Request, desk: Desk, person: Person, lines: Sequence[Line], kind: Format
) -> AsyncIterator[str]:
    eyes = desk.eyes(request, person)
    try:
        yield head(kind)
        for start in range(0, len(lines), AT_ONCE):
            yield "".join(_text(desk, eyes, one, kind) for one in lines[start : start + AT_ONCE])
            await asyncio.sleep(0)
    finally:
        desk.note_revealed(request)


def _text(desk: Desk, eyes: Eyes, one: Line, kind: Format) -> str:
    try:
        return line(eyes.conflict(desk.agent.conflict(one.id)), kind)
    except NotFound:  # it is forgotten since the list was made
        return ""
