"""What a list shows, for other programs: the same conflicts and commands, as CSV or a JSON document a line, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from driftlog_console.asking import TheDesk, Viewer, Wanted
from driftlog_console.at_devices import KindShown, One, part_of
from driftlog_console.desk import Desk
from driftlog_console.masking import Eyes
from driftlog_console.pages.inbox import Chosen, Who, at_device, chosen_by
from driftlog_edge.errors import NotFound
from driftlog_streams.reading.conflict_export import MEDIA, Format, command_line, head, line, unnamed_line
from driftlog_streams.reading.conflict_lists import Which
from driftlog_streams.reading.waiting_commands import Entry

router = APIRouter()

AT_ONCE = 100
"""Between so many lines others have their turn."""


@router.get("/inbox/export")
async def export(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    wanted: Wanted,
    which: Which = "decided",
    who: Who = "",
    kind: KindShown = "",
    format: Format = "csv",
) -> Response:
    """All that the filter takes of one list, in its order; at the end how much devices have not named."""
    chosen = chosen_by(desk, person, which, wanted, who, kind)
    headers = {"content-disposition": f'attachment; filename="{kind or "inbox"}-{which}.{format}"'}
    return StreamingResponse(
        _texts(request, desk, desk.eyes(request, person), chosen, format), media_type=MEDIA[format], headers=headers
    )


async def _texts(request: Request, desk: Desk, eyes: Eyes, chosen: Chosen, kind: Format) -> AsyncIterator[str]:
    ones = part_of(chosen.lines, chosen.entries, len(chosen.lines) + len(chosen.entries), "").shown
    try:
        yield head(kind)
        for start in range(0, len(ones), AT_ONCE):
            yield "".join(_text(desk, eyes, one, kind) for one in ones[start : start + AT_ONCE])
            await asyncio.sleep(0)
        yield "".join(unnamed_line(one, kind) for one in chosen.unnamed)
    finally:
        desk.note_revealed(request)


def _text(desk: Desk, eyes: Eyes, one: One, kind: Format) -> str:
    if isinstance(one, Entry):
        return command_line(one, at_device(eyes, one).reason, kind)
    try:
        return line(eyes.conflict(desk.agent.conflict(one.id)), kind)
    except NotFound:  # it is forgotten since the list was made
        return ""
