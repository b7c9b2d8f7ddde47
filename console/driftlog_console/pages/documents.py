"""Documents as the console's replica has them, and how they came to be so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from driftlog_console.asking import TheDesk, Viewer, require
from driftlog_console.desk import Desk
from driftlog_console.history.drawing import Picture, Row, picture_of, rows_of
from driftlog_console.history.kept import Moment, Past, Reached
from driftlog_console.masking import Eyes
from driftlog_console.people import Right
from driftlog_console.words import address
from driftlog_edge.errors import Deleted, NotFound
from driftlog_edge.http_api.path_parts import Part
from driftlog_schemas.contract import Json
from driftlog_schemas.identity import DocumentId, device_of
from driftlog_streams.replaying.history import why

router = APIRouter()

PAGE = 100
MOMENTS = 30
"""Of a document's history on one page."""
DEVICES = 50
"""So many are named: of those that wrote a document, and of those whose changes a writer had not seen."""
Offset = Annotated[int | None, Query(ge=0, lt=1 << 63)]


@dataclass(frozen=True, slots=True)
class Then:
    """A document's past, as a page shows it."""

    past: Past
    rows: list[Row]
    picture: Picture
    at: Moment | None
    """The moment that is looked at, with all its values; None for now."""
    nth: int
    """Its number among those on the page, from 1."""
    before: int | None
    reached: Reached | None
    behind: int | None
    problem: str
    most: int


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
    eyes = desk.eyes(request, person)
    found, more, _ = await desk.agent.bounded_page(collection, scope, limit, after)
    return desk.page(
        request,
        "collection.html",
        person,
        collection=collection,
        scope=scope,
        readings=[eyes.reading(DocumentId(collection, scope, reading.id), reading) for _, reading in found],
        following=found[-1][0] if more else "",
        columns=[column.name for column in desk.agent.contract.collection(collection).columns],
        limit=limit,
    )


@router.get("/documents/{collection}/{scope}/{id}")
async def one(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    collection: Part,
    scope: Part,
    id: Part,
    at: Offset = None,
    before: Offset = None,
    nth: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> Response:
    """Its value, now or at the moment `at` (an offset of the op log), and what led to it, a page at a time (`before` an offset).

    `nth` names a moment by its number on the page, as a slider does: that is answered with the moment's own address.
    """
    require(person, Right.VIEW, scope)
    document = DocumentId(collection, scope, id)
    eyes = desk.eyes(request, person)
    then = await run_in_threadpool(_then, desk, eyes, document, at, before)
    if nth is not None and then is not None and then.past.moments:
        chosen = then.past.moments[min(nth, len(then.past.moments)) - 1].offset
        page = "" if before is None else f"before={before}&"
        return RedirectResponse(f"{address('documents', *document)}?{page}at={chosen}#value", 303)
    deleted = False
    try:
        reading = await desk.agent.read(collection, scope, id)
    except Deleted:
        reading, deleted = None, True
    except NotFound:
        if then is None or not then.past.moments:
            raise
        reading = None
    writers: dict[str, int] = {}
    for replica, seq in (reading.version if reading else {}).items():
        device = device_of(replica)
        writers[device] = writers.get(device, 0) + seq
    declared = desk.agent.contract.collection(collection)
    steps = [row.step for row in then.rows] if then else []
    changed = frozenset[str]()
    if then is not None and then.at is not None:
        changed = _changed(then.at.value, reading.value if reading else None)
        then = replace(then, at=eyes.moment(document, then.at))
    return desk.page(
        request,
        "document.html",
        person,
        collection=collection,
        scope=scope,
        id=id,
        reading=eyes.reading(document, reading) if reading else None,
        deleted=deleted,
        why=why(declared, steps) if before is None else {},
        then=then,
        changed=changed,
        writers=sorted(writers.items(), key=lambda one: (-one[1], one[0]))[:DEVICES],
        writers_total=len(writers),
        most=DEVICES,
        conflicts=[eyes.conflict(desk.agent.conflict(known)) for known in (reading.conflicts if reading else ())],
    )


def _then(desk: Desk, eyes: Eyes, document: DocumentId, at: int | None, before: int | None) -> Then | None:
    """None where no history is kept."""
    view = desk.history
    if view is None:
        return None
    space = desk.agent.present.collection(document.collection).space
    past = eyes.past(document, view.page(space, document, MOMENTS, before))
    place, progress = view.place(space, document.scope), view.progress
    looked = None if at is None else view.kept.at(space, document, at)
    if at is not None and looked is None:
        raise NotFound("that moment of the document is not known here; its history may begin later, or be kept no more")
    numbers = [moment.offset for moment in past.moments]
    nth = numbers.index(looked.offset) + 1 if looked and looked.offset in numbers else len(numbers)
    rows = rows_of(past.moments)
    return Then(
        past=past,
        rows=rows,
        picture=picture_of(rows),
        at=looked,
        nth=nth,
        before=before,
        reached=progress.reached.get(place),
        behind=progress.behind(place),
        problem=progress.problem,
        most=view.per_document,
    )


def _changed(then: Mapping[str, Json] | None, present: Mapping[str, Any] | None) -> frozenset[str]:
    """The fields that are not now what they were then."""
    then, present = then or {}, present or {}
    return frozenset(name for name in then.keys() | present.keys() if then.get(name) != present.get(name))
