"""The fleet: every device, those first that need a person."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from driftlog_console.asking import TheDesk, Viewer
from driftlog_console.desk import Desk, now_ms
from driftlog_console.flow import trend
from driftlog_console.history.view import Place
from driftlog_console.pages.flow import places_of
from driftlog_console.people import Person
from driftlog_console.seeing import seen_members
from driftlog_streams.reading.backlog import outlook
from driftlog_streams.reading.fleet import Member
from driftlog_streams.reading.workers import Worker, unowned

router = APIRouter()


class Merging(NamedTuple):
    """A worker, as the page shows it."""

    space: str
    worker: Worker
    behind: float | None
    """Seconds, of the partition that is furthest behind; None where that is not known."""
    grows: bool


class Unowned(NamedTuple):
    """Partitions of a space that no worker owns: nothing of them is merged."""

    space: str
    partitions: Sequence[int]


PAGE = 100
NAMED = 20
"""Partitions that are named one by one."""


@router.get("/fleet")
async def show(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    needs: bool = False,
    connection: str = "",
    name: str = "",
    start: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
) -> Response:
    """A page of the list."""
    seen = desk.fleet.seen
    members = seen_members(seen.members or (), person)
    rows = sorted((row_of(desk, member) for member in members), key=lambda r: (not r["needs"], r["device"]))
    shown = [
        row
        for row in rows
        if (not needs or row["needs"])
        and (not connection or row["connection"] == connection)
        and (not name or name.lower() in row["device"].lower())
    ]
    return desk.page(
        request,
        "fleet.html",
        person,
        rows=shown[start : start + limit],
        total=len(shown),
        all=None if seen.members is None else len(rows),
        waiting_for=sum(1 for row in rows if row["needs"]),
        start=start,
        limit=limit,
        age=seen.age("members"),
        fleet_problem=seen.problem,
        wanted={"needs": needs, "connection": connection, "name": name},
        workers=_workers(desk, person),
        unowned=_unowned(desk),
        not_asked=sorted(desk.agent.present.spaces.keys() - desk.flow.workers.keys()),
        workers_problem=desk.flow.workers_problem,
        named=NAMED,
        connections=sorted({row["connection"] for row in rows if row["connection"]}),
    )


def _workers(desk: Desk, person: Person) -> list[Merging]:
    """Those first that are the furthest behind, by the partitions of which the person sees a scope."""
    places = frozenset(places_of(desk, person))
    found = [
        _merging(desk, space, worker, places) for space, workers in desk.flow.workers.items() for worker in workers
    ]
    return sorted(found, key=lambda one: (-(one.behind or 0.0), one.space, one.worker.name))


def _merging(desk: Desk, space: str, worker: Worker, places: Container[Place]) -> Merging:
    owned = [Place(space, partition) for partition in worker.partitions]
    samples = [found for place in owned if place in places and (found := desk.flow.samples(place))]
    known = [one[-1].seconds for one in samples if one[-1].seconds is not None]
    return Merging(space, worker, max(known, default=None), any(trend(one) == "grows" for one in samples))


def _unowned(desk: Desk) -> list[Unowned]:
    spaces = desk.agent.present.spaces
    found = [Unowned(space, unowned(workers, spaces[space].partitions)) for space, workers in desk.flow.workers.items()]
    return [one for one in found if one.partitions]


def row_of(desk: Desk, member: Member) -> dict[str, Any]:
    """What the list says of a device. What is not known is None, which is neither healthy nor 0."""
    word = member.heard.word if member.heard else None
    silent = member.silent_ms(now_ms())
    oldest = word is not None and word.pending and word.oldest_pending_ms
    return {
        "device": member.device.device_id,
        "status": member.device.latest.status.value,
        "connection": word.connection if word else None,
        "heard": silent / 1000 if silent is not None else None,
        "ever": member.heard is not None,
        "pending": word.pending if word else None,
        "oldest": max(0.0, (word.sent_ms - word.oldest_pending_ms) / 1000) if word is not None and oldest else None,
        "outlook": None if word is None else outlook(member.before, word),
        "review": word.review if word else None,
        "skew_ms": word.clock_skew_ms if word else None,
        "differing": list(word.differing) if word else None,
        "needs": list(member.needs(now_ms(), int(desk.silent_seconds * 1000))),
    }
