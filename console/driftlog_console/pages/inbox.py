"""What waits for a decision: lists of conflicts, and deciding several at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from driftlog_console.asking import BadForm, Decider, Sent, TheDesk, Viewer, Wanted
from driftlog_console.deciding import Overtaken
from driftlog_console.desk import Desk
from driftlog_console.group_deciding import STANDING
from driftlog_console.masking import Eyes
from driftlog_console.people import Person, Right
from driftlog_console.words import by, cut, shown
from driftlog_crdt import AlgebraError
from driftlog_edge.errors import EdgeError
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.identity import device_of
from driftlog_schemas.messages import Conflict
from driftlog_streams.reading.claims import Held
from driftlog_streams.reading.conflict_lists import Line, Which, mark

router = APIRouter()

PAGE = 50
MOST_AT_ONCE = 500


Who: TypeAlias = Literal["", "me", "nobody"]


class Row(NamedTuple):
    """A line with what stands in it."""

    line: Line
    conflict: Conflict
    held: Held | None
    """Who looks after it."""


class Outcome(NamedTuple):
    """What became of one of several."""

    conflict: Conflict
    done: bool
    text: str


@router.get("/")
async def start(person: Viewer) -> Response:
    """The inbox."""
    return RedirectResponse("/inbox", 303)


@router.get("/inbox")
async def show(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    wanted: Wanted,
    which: Which = "open",
    who: Who = "",
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=MOST_AT_ONCE)] = PAGE,
) -> Response:
    """One of the lists."""
    eyes = desk.eyes(request, person)
    found = desk.inbox.page(which, wanted, person.sees, limit, after, _looked_after(desk, person, who))
    return desk.page(
        request,
        "inbox.html",
        person,
        which=which,
        rows=[_row(desk, eyes, line) for line in found.lines],
        total=found.total,
        following=found.following,
        wanted=wanted.items(),
        who=who,
        facets=desk.inbox.facets(which, person.sees),
        standing=STANDING,
        limit=limit,
    )


def _looked_after(desk: Desk, person: Person, who: Who) -> Callable[[Line], bool] | None:
    """Those that the person looks after, or nobody; one that was put off is somebody's until then."""
    if not who:
        return None

    def wanted(line: Line) -> bool:
        held = desk.claims.held(line.id)
        return held is None if who == "nobody" else held is not None and held.claim.person == person.name

    return wanted


def _row(desk: Desk, eyes: Eyes, line: Line) -> Row:
    conflict = desk.agent.conflict(line.id)
    return Row(line, eyes.conflict(conflict), desk.claims.of(conflict))


@router.post("/inbox")
async def decide(request: Request, desk: TheDesk, person: Decider, sent: Sent) -> Response:
    """Decide several: what stands is to stand, or what one device wrote. Each has its own outcome."""
    ids, choice = list(dict.fromkeys(sent.texts("id"))), sent.text("choice")
    if not ids or len(ids) > MOST_AT_ONCE:
        raise BadForm(f"choose 1 to {MOST_AT_ONCE} conflicts")
    if not choice:
        raise BadForm("choose what is to stand")
    eyes = desk.eyes(request, person)
    outcomes = [await _one(desk, eyes, person, conflict_id, choice, sent) for conflict_id in ids]
    return desk.page(request, "outcomes.html", person, outcomes=outcomes)


async def _one(desk: Desk, eyes: Eyes, person: Person, conflict_id: str, choice: str, sent: Sent) -> Outcome:
    conflict = desk.agent.conflict(conflict_id)
    shows = eyes.conflict(conflict)
    if not person.may(Right.DECIDE, conflict.document.scope):
        return Outcome(shows, done=False, text=f"{person.name} may not decide in {conflict.document.scope}")
    shown_then, times = sent.text(f"mark-{conflict_id}") or mark(conflict), len(desk.deciding.made(conflict))
    try:
        if choice == STANDING:
            await desk.deciding.keep(conflict, person, shown_then, times, sent.text("reason"))
            return Outcome(shows, done=True, text=f"{_told(shows, 0)} stands")
        place = next((n for n, v in enumerate(conflict.versions) if device_of(v.replica) == choice), None)
        if place is None:
            return Outcome(shows, done=False, text=f"{choice} wrote none of its versions")
        await desk.deciding.decide(
            conflict, conflict.versions[place].value, person, shown_then, times, sent.text("reason")
        )
        return Outcome(shows, done=True, text=f"{_told(shows, place)} stands from now on")
    except Overtaken as error:
        return Outcome(shows, done=False, text=f"{error}; look at it")
    except (InvalidInput, AlgebraError, EdgeError, Refused) as error:
        return Outcome(shows, done=False, text=eyes.about(conflict, str(error)))


def _told(conflict: Conflict, place: int) -> str:
    version = conflict.versions[place]
    return f"{cut(shown(version.value), 60)}, as {by(version)} set it,"
