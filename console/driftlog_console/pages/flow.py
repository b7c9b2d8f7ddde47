"""How the writes flow: how far the workers are behind and whether that grows, what was decided when, and what was refused why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from driftlog_console.asking import TheDesk, Viewer
from driftlog_console.chart import chart_of
from driftlog_console.desk import Desk, now_ms
from driftlog_console.flow import by_minute, trend
from driftlog_console.history.following import MINUTE_MS, REFUSED
from driftlog_console.history.kept import MINUTES
from driftlog_console.history.view import Place
from driftlog_console.lag_memory import Sample
from driftlog_console.people import EVERYTHING, Person
from driftlog_edge.errors import NotFound

router = APIRouter()

PIECES = 12
"""Rows of a table over time, and bars of its chart."""
STRETCHES = (1, 6, 24)
"""Hours that a page can show."""


def _known(hours: int) -> int:
    if hours not in STRETCHES:
        raise ValueError(f"one of {', '.join(map(str, STRETCHES))}")
    return hours


Hours = Annotated[int, AfterValidator(_known)]
Until = Annotated[int | None, Query(ge=0, lt=1 << 53)]


@dataclass(frozen=True, slots=True)
class Behind:
    """One partition."""

    place: Place
    last: Sample | None
    """What was found last; None where it was never looked at."""
    trend: str
    own_records: int | None
    """What the console itself has not read yet; None where that is not known."""
    own_seconds: float | None

    @property
    def order(self) -> tuple[bool, float]:
        """What needs a person first: the longest lag; what is not known before what is."""
        seconds = None if self.last is None else self.last.seconds
        return seconds is not None, -(seconds or 0.0)


@dataclass(frozen=True, slots=True)
class Piece:
    """What was decided in a stretch of time; None where nothing is known of it."""

    from_ms: int
    counts: Mapping[str, int] | None

    def number(self, *names: str) -> int | None:
        """How many of these."""
        return None if self.counts is None else sum(self.counts.get(name, 0) for name in names)

    @property
    def decided(self) -> int | None:
        """All commands."""
        return None if self.counts is None else sum(n for name, n in self.counts.items() if name != REFUSED)


@router.get("/flow")
async def show(request: Request, desk: TheDesk, person: Viewer, hours: Hours = 1, until: Until = None) -> Response:
    """Every partition of the scopes that somebody sees, and what was decided there up to now or a moment."""
    places = places_of(desk, person)
    return await _page(request, desk, person, places, None, hours, until)


@router.get("/flow/{space}/{partition}")
async def one(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    space: str,
    partition: int,
    hours: Hours = 1,
    until: Until = None,
) -> Response:
    """One partition."""
    place = Place(space, partition)
    if place not in places_of(desk, person):
        raise NotFound(
            f"no scope that you see lies in partition {partition} of {space!r}, as far as this console knows"
        )
    return await _page(request, desk, person, [place], place, hours, until)


async def _page(
    request: Request, desk: Desk, person: Person, places: Sequence[Place], one: Place | None, hours: Hours, until: Until
) -> Response:
    behind = sorted((_behind(desk, place) for place in places), key=lambda found: found.order)
    minutes = by_minute(desk.flow.samples(one)) if one is not None else []
    end_ms = now_ms() if until is None else until
    pieces = await run_in_threadpool(_pieces, desk, places, hours, end_ms)
    codes: Counter[str] = Counter()
    for piece in pieces:
        codes.update({name: n for name, n in (piece.counts or {}).items() if _is_refusal(name)})
    ordered = [name for name, _ in codes.most_common()]
    seen = desk.fleet.seen
    return desk.page(
        request,
        "flow.html",
        person,
        behind=behind,
        one=one,
        pieces=pieces,
        codes=ordered,
        rates=chart_of([piece.decided for piece in pieces]),
        refusals={name: chart_of([piece.number(name) for piece in pieces]) for name in ordered},
        minutes=minutes,
        lags=chart_of([None if sample is None else sample.seconds for sample in minutes]),
        hours=hours,
        stretches=STRETCHES,
        end_ms=end_ms,
        until=until,
        following=desk.history is not None,
        history_problem=desk.history.progress.problem if desk.history else "",
        flow_problem=desk.flow.problem,
        set_aside=_set_aside(seen.set_aside, person, one),
        set_aside_age=seen.age("set aside"),
        whole=EVERYTHING in person.scopes,
        refused=REFUSED,
        telling=desk.telling,
        minute_ms=MINUTE_MS,
    )


def places_of(desk: Desk, person: Person) -> list[Place]:
    return sorted(
        {
            desk.place(space, scope)
            for space in desk.agent.present.spaces
            for scope in desk.agent.scopes()
            if person.sees(scope)
        }
    )


def _behind(desk: Desk, place: Place) -> Behind:
    samples = desk.flow.samples(place)
    progress = desk.history.progress if desk.history is not None else None
    records = None if progress is None else progress.behind(place)
    seconds = None
    if progress is not None and records is not None:
        at_ms = progress.reached[place].at_ms
        seconds = 0.0 if records == 0 else max(0.0, (now_ms() - at_ms) / 1000) if at_ms else None
    last = samples[-1] if samples else None
    return Behind(place, last, trend(samples), records, seconds)


def _pieces(desk: Desk, places: Sequence[Place], hours: int, end_ms: int) -> list[Piece]:
    """The stretch up to `end_ms` in equal pieces. Nothing is known where one of the places is not, or of what is longer ago than counts are kept."""
    minutes = hours * 60 // PIECES
    last = end_ms // MINUTE_MS
    first = last - minutes * PIECES + 1
    found: list[dict[str, int]] = [{} for _ in range(PIECES)]
    view, floor = desk.history, 0
    if view is None:
        return [Piece((first + number * minutes) * MINUTE_MS, None) for number in range(PIECES)]
    for place in places:
        reached = view.progress.reached.get(place)
        known = reached is not None and not reached.cut
        floor = max(floor, reached.at_ms // MINUTE_MS - MINUTES if reached is not None and known else last + 1)
        for minute, counts in view.kept.minutes(*place, first).items():
            if minute <= last:
                piece = found[(minute - first) // minutes]
                for name, count in counts.items():  # a day of many partitions is many minutes
                    piece[name] = piece.get(name, 0) + count
    return [
        Piece((first + number * minutes) * MINUTE_MS, counts if first + number * minutes >= floor else None)
        for number, counts in enumerate(found)
    ]


def _is_refusal(name: str) -> bool:
    return name == REFUSED or name.startswith(("rejected", "deferred"))


def _set_aside(found: Sequence[object] | None, person: Person, one: Place | None) -> int | None:
    """How many things are set aside; None where that is not known, or not for this person."""
    if found is None or EVERYTHING not in person.scopes:
        return None
    return sum(
        1 for thing in found if one is None or (getattr(thing, "space", ""), getattr(thing, "partition", -1)) == one
    )
