"""Documents as the console's replica has them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from driftlog_console.asking import TheDesk, Viewer, require
from driftlog_console.people import Right
from driftlog_edge.errors import Deleted
from driftlog_edge.http_api.path_parts import Part
from driftlog_schemas.identity import device_of

router = APIRouter()

PAGE = 100


@router.get("/documents")
async def choose(request: Request, desk: TheDesk, person: Viewer) -> Response:
    """Collections and scopes."""
    return desk.page(
        request,
        "documents.html",
        person,
        spaces=desk.agent.contract.spaces.values(),
        scopes=[scope for scope in desk.agent.scopes() if person.sees(scope)],
    )


@router.get("/documents/{collection}/{scope}")
async def listed(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    collection: Part,
    scope: Part,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
) -> Response:
    """A page of one collection in one scope, by id."""
    require(person, Right.VIEW, scope)
    found, more = await desk.agent.bounded_page(collection, scope, limit, after)
    return desk.page(
        request,
        "collection.html",
        person,
        collection=collection,
        scope=scope,
        readings=[reading for _, reading in found],
        following=found[-1][0] if more else "",
        columns=[column.name for column in desk.agent.contract.collection(collection).columns],
        limit=limit,
    )


@router.get("/documents/{collection}/{scope}/{id}")
async def one(request: Request, desk: TheDesk, person: Viewer, collection: Part, scope: Part, id: Part) -> Response:
    """Its present value, whose changes are in it, and its conflicts."""
    require(person, Right.VIEW, scope)
    try:
        reading = await desk.agent.read(collection, scope, id)
    except Deleted:
        reading = None
    writers: dict[str, int] = {}
    for replica, seq in (reading.version if reading else {}).items():
        device = device_of(replica)
        writers[device] = writers.get(device, 0) + seq
    return desk.page(
        request,
        "document.html",
        person,
        collection=collection,
        scope=scope,
        id=id,
        reading=reading,
        writers=sorted(writers.items()),
        conflicts=[desk.agent.conflict(known) for known in (reading.conflicts if reading else ())],
    )
