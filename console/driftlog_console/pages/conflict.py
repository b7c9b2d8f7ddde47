"""One conflict: its versions side by side, the decision, and its undoing while nobody saw it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from driftlog_console import words
from driftlog_console.asking import BadForm, Decider, NotAllowed, Sent, TheDesk, Viewer, conflict_of
from driftlog_console.deciding import Overtaken, chosen
from driftlog_console.desk import Desk, now_ms
from driftlog_console.errors import TooMany
from driftlog_console.held_memory import End, HeldProblem
from driftlog_console.people import Person, Right
from driftlog_console.spread import Spread, spread_of
from driftlog_crdt import AlgebraError
from driftlog_edge.errors import EdgeError
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.reading.conflict_lists import mark

router = APIRouter()

WRITE = "write"
UNDO = "undo"
MOST_DEVICES = 50
"""That are named one by one."""


@router.get("/conflicts/{conflict_id}")
async def show(request: Request, desk: TheDesk, person: Viewer, conflict_id: str) -> Response:
    """All there is to know before a decision, and what became of it after."""
    conflict = conflict_of(desk, person, Right.VIEW, conflict_id)
    return _page(request, desk, person, conflict)


@router.post("/conflicts/{conflict_id}")
async def decide(request: Request, desk: TheDesk, person: Decider, sent: Sent, conflict_id: str) -> Response:
    """One of the versions, or a value that a person has typed."""
    conflict = conflict_of(desk, person, Right.DECIDE, conflict_id)
    choice, shown, times, reason = sent.text("choice"), sent.text("mark"), sent.number("times"), sent.text("reason")
    try:
        if choice == WRITE:
            if desk.eyes(request, person).blind(conflict):
                raise NotAllowed(
                    f"{person.name} may not see this field, so they may not write another value: choose a version"
                )
            value = words.typed(sent.text("value"), conflict.winner.value)
        else:
            version = chosen(conflict, choice)
            if version is conflict.winner:
                await desk.holding.keep(conflict, person, shown, times, reason)
                return _seen(conflict_id)
            value = version.value
        await desk.holding.decide(conflict, value, person, shown, times, reason)
    except Overtaken as error:
        return _page(request, desk, person, conflict, 409, overtaken=str(error), typed=sent.text("value"))
    except (InvalidInput, AlgebraError, Refused) as error:
        problem = desk.eyes(request, person).about(conflict, str(error))
        return _page(request, desk, person, conflict, 422, problem=problem, typed=sent.text("value"))
    except (EdgeError, TooMany, HeldProblem) as error:
        problem = desk.eyes(request, person).about(conflict, f"{error}; {error.remedy}")
        return _page(request, desk, person, conflict, 503, problem=problem, typed=sent.text("value"))
    return _seen(conflict_id)


@router.post("/conflicts/{conflict_id}/undo")
async def undo(request: Request, desk: TheDesk, person: Decider, sent: Sent, conflict_id: str) -> Response:
    """Let the decision that is held not be made; nobody has seen it."""
    conflict = conflict_of(desk, person, Right.DECIDE, conflict_id)
    if sent.text("do") != UNDO:
        raise BadForm(f"do: {UNDO}")
    asked = desk.holding.of(conflict)
    if asked is not None and not person.may_undo(asked.person):
        raise NotAllowed(f"only {asked.person}, or who may decide in all scopes, can undo this")
    try:
        desk.holding.undo(conflict_id, sent.text("asked"), person)
    except Overtaken as error:
        return _page(request, desk, person, conflict, 409, overtaken=str(error))
    return _seen(conflict_id)


def _seen(conflict_id: str) -> Response:
    """Back to the page, which shows what became of it."""
    return RedirectResponse(f"/conflicts/{conflict_id}", 303)


def _spread(desk: Desk, conflict: Conflict) -> Spread | None:
    """Who has seen the decision; None where nobody can tell yet."""
    landing, members = desk.landings.of(conflict), desk.fleet.seen.members
    if landing is None or members is None:
        return None
    return spread_of(landing, conflict.document.scope, members, now_ms())


def _page(
    request: Request,
    desk: Desk,
    person: Person,
    conflict: Conflict,
    status: int = 200,
    *,
    overtaken: str = "",
    problem: str = "",
    typed: str = "",
) -> Response:
    eyes = desk.eyes(request, person)
    shows, made = eyes.conflict(conflict), eyes.made(conflict, desk.deciding.made(conflict))
    held, asked = desk.claims.of(conflict), desk.holding.of(conflict)
    more: dict[str, Any] = {
        "conflict": shows,
        "cards": words.cards(shows, like=conflict),
        "blind": eyes.blind(conflict),
        "mark": mark(conflict),
        "made": made,
        "asked": None if asked is None else eyes.asked(conflict, asked),
        "seconds_left": 0.0 if asked is None else desk.holding.seconds_left(asked),
        "may_undo": asked is not None and person.may_undo(asked.person),
        "unsent": desk.holding.unsent(conflict),
        "End": End,
        "may_decide": person.may(Right.DECIDE, conflict.document.scope)
        and conflict.status is not ConflictStatus.RESOLVED,
        "spread": _spread(desk, conflict),
        "fleet_age": desk.fleet.seen.age("members"),
        "most": MOST_DEVICES,
        "held": held,
        "note": "" if held is None else eyes.about(conflict, held.claim.note),
        "no_desk": desk.fleet.claims_problem,
        "others": [
            one.name for one in desk.people.all() if one != person and one.may(Right.DECIDE, conflict.document.scope)
        ],
        "following": desk.inbox.next_after(conflict.id, person.sees),
        "overtaken": overtaken,
        "problem": problem,
        "typed": typed,
        "write": WRITE,
    }
    return desk.page(request, "conflict.html", person, status, **more)
