"""What the webhook was told, and what it did not take and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from driftlog_console.asking import NotAllowed, Operator, TheDesk
from driftlog_console.people import EVERYTHING

router = APIRouter()

PAGE = 50


@router.get("/notices")
async def show(
    request: Request, desk: TheDesk, person: Operator, limit: Annotated[int, Query(ge=1, le=200)] = PAGE
) -> Response:
    """The newest first. They name documents of every scope."""
    if EVERYTHING not in person.scopes:
        raise NotAllowed("notices are of all scopes: that takes a person of all scopes")
    telling = desk.telling
    notices = [] if telling is None else telling.memory.last(limit)
    return desk.page(request, "notices.html", person, telling=telling, notices=notices)
