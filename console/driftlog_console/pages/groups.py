"""Many conflicts by their cause, and the decision about a whole group of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from driftlog_console.asking import BadForm, Decider, NotAllowed, Sent, TheDesk, Viewer, Wanted
from driftlog_console.deciding import Overtaken
from driftlog_console.desk import Desk
from driftlog_console.errors import TooMany
from driftlog_console.group_deciding import STANDING, WRITTEN
from driftlog_console.group_memory import GroupDecision, GroupsProblem, Item, State, Tally
from driftlog_console.groups import CAUSES, Cause, devices_in, groups_of
from driftlog_console.masking import Eyes
from driftlog_console.people import EVERYTHING, Person, Right
from driftlog_console.words import by, cut, dotted, shown
from driftlog_edge.errors import NotFound
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.messages import Conflict
from driftlog_streams.reading.conflict_lists import NEVER_MS, Filter, Line, Which, iso, mark_of_all

router = APIRouter()

PAGE = 50
EXAMPLES = 5
DEVICES = 20
LAST = 50
UNDO = "undo"


class Row(NamedTuple):
    """One conflict of a group decision, as far as it is known."""

    item: Item
    conflict: Conflict | None
    text: str


@router.get("/inbox/groups")
async def show(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    wanted: Wanted,
    which: Which = "open",
    by: Cause = "device",
    start: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
) -> Response:
    """The groups of one cause, the largest first."""
    lines = desk.inbox.matching(which, wanted, person.sees)
    found = groups_of(lines, by, wanted)
    return desk.page(
        request,
        "groups.html",
        person,
        which=which,
        by=by,
        causes=CAUSES,
        wanted=wanted.items(),
        groups=found[start : start + limit],
        groups_total=len(found),
        total=len(lines),
        start=start,
        limit=limit,
    )


@router.get("/inbox/group")
async def one(request: Request, desk: TheDesk, person: Viewer, wanted: Wanted, which: Which = "open") -> Response:
    """All that a filter takes: how many exactly, some of them, and the decision."""
    return _group(request, desk, person, which, wanted)


@router.post("/inbox/group")
async def decide(request: Request, desk: TheDesk, person: Decider, sent: Sent) -> Response:
    """Decide them all: those that the page had shown, or none."""
    which = _which(sent.text("which"))
    wanted, shown_then, count = Filter.of(sent.all()), sent.text("set"), sent.number("count")
    lines = desk.inbox.matching(which, wanted, person.sees)
    try:
        name = desk.groups.ask(person, which, wanted, lines, shown_then, sent.text("choice"), sent.text("reason"))
    except Overtaken as error:
        changed = f"{error}: they were {count} when the page was made, and are {len(lines)} now"
        return _group(request, desk, person, which, wanted, 409, changed=changed)
    except InvalidInput as error:
        return _group(request, desk, person, which, wanted, 422, problem=error.message)
    except (TooMany, GroupsProblem) as error:
        return _group(request, desk, person, which, wanted, 503, problem=f"{error}; {error.remedy}")
    return RedirectResponse(f"/inbox/groups/decided/{name}", 303)


@router.get("/inbox/groups/decided")
async def decided(request: Request, desk: TheDesk, person: Viewer) -> Response:
    """The last decisions about groups, of conflicts in the scopes that the person sees."""
    found = [(one, desk.groups.memory.tally(one.id, _scopes(person))) for one in desk.groups.memory.last(LAST)]
    eyes = desk.eyes(request, person)
    decisions = [(one, tally, _reason(eyes, one)) for one, tally in found if tally.all]
    return desk.page(request, "group_decisions.html", person, decisions=decisions)


@router.get("/inbox/groups/decided/{id}")
async def outcome(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    id: str,
    refused: bool = False,
    start: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
) -> Response:
    """What became of each of them."""
    return _outcome(request, desk, person, id, refused=refused, start=start, limit=limit)


@router.post("/inbox/groups/decided/{id}")
async def undo(request: Request, desk: TheDesk, person: Decider, sent: Sent, id: str) -> Response:
    """Let nothing of it be decided."""
    if sent.text("do") != UNDO:
        raise BadForm(f"do: {UNDO}")
    decision, _ = _known(desk, person, id)
    if not person.may_undo(decision.person):
        raise NotAllowed(f"only {decision.person}, or who may decide in all scopes, can undo this")
    try:
        desk.groups.undo(id)
    except Overtaken as error:
        return _outcome(request, desk, person, id, status=409, problem=str(error))
    return RedirectResponse(f"/inbox/groups/decided/{id}", 303)


def _which(text: str) -> Which:
    for which in get_args(Which):
        if which == text:
            found: Which = which
            return found
    raise BadForm(f"which: one of {', '.join(get_args(Which))}")


def _group(
    request: Request,
    desk: Desk,
    person: Person,
    which: Which,
    wanted: Filter,
    status: int = 200,
    *,
    changed: str = "",
    problem: str = "",
) -> Response:
    lines = desk.inbox.matching(which, wanted, person.sees)
    eyes, times = desk.eyes(request, person), [line.at_ms for line in lines]
    deadlines = [line.order_ms for line in lines if which == "open" and line.order_ms < NEVER_MS]
    more: dict[str, Any] = {
        "which": which,
        "wanted": wanted.items(),
        "total": len(lines),
        "set": mark_of_all(lines),
        "examples": [eyes.conflict(desk.agent.conflict(line.id)) for line in lines[:EXAMPLES]],
        "devices": devices_in(lines)[:DEVICES],
        "first_ms": min(times, default=0),
        "last_ms": max(times, default=0),
        "deadline_ms": min(deadlines, default=0),
        "up_to": _up_to(wanted, lines),
        "may_decide": person.may(Right.DECIDE) and which != "decided",
        "standing": STANDING,
        "written": WRITTEN,
        "changed": changed,
        "problem": problem,
    }
    return desk.page(request, "group.html", person, status, **more)


def _up_to(wanted: Filter, lines: Sequence[Line]) -> dict[str, str]:
    """The same filter for those that are there now, so that what comes does not change the group under somebody's hands."""
    newest = max((line.at_ms for line in lines), default=0)
    return wanted.items() | {"until": iso((newest // 1000 + 1) * 1000)}


def _known(desk: Desk, person: Person, id: str) -> tuple[GroupDecision, Tally]:
    """Raises `NotFound`, also where it is about nothing that the person sees."""
    decision = desk.groups.memory.get(id)
    tally = None if decision is None else desk.groups.memory.tally(id, _scopes(person))
    if decision is None or tally is None or not tally.all:
        raise NotFound(f"no group decision {id!r} is known here")
    return decision, tally


def _scopes(person: Person) -> Sequence[str] | None:
    return None if EVERYTHING in person.scopes else person.scopes


def _outcome(
    request: Request,
    desk: Desk,
    person: Person,
    id: str,
    *,
    refused: bool = False,
    start: int = 0,
    limit: int = PAGE,
    status: int = 200,
    problem: str = "",
) -> Response:
    decision, tally = _known(desk, person, id)
    eyes = desk.eyes(request, person)
    items = desk.groups.memory.page(id, _scopes(person), refused=refused, start=start, limit=limit)
    total = tally.refused if refused else tally.all
    return desk.page(
        request,
        "group_decision.html",
        person,
        status,
        decision=decision,
        said=_said(decision.choice),
        wanted=decision.wanted.items(),
        tally=tally,
        rows=[_row(desk, eyes, item) for item in items],
        reason=_reason(eyes, decision),
        refused=refused,
        total=total,
        start=start,
        limit=limit,
        State=State,
        seconds_left=desk.groups.seconds_left(decision),
        may_undo=decision.state is State.WAITING and person.may_undo(decision.person),
        problem=problem,
    )


def _reason(eyes: Eyes, decision: GroupDecision) -> str:
    """Why it was decided, in the words of who did: those may be about any of its conflicts."""
    return decision.reason if decision.person == eyes.person.name else eyes.of_anything(decision.reason)


def _row(desk: Desk, eyes: Eyes, item: Item) -> Row:
    try:
        conflict = desk.agent.conflict(item.conflict)
    except NotFound:
        return Row(item, None, eyes.of_anything(item.text))
    shows = eyes.conflict(conflict)
    if not item.done:
        return Row(item, shows, eyes.about(conflict, item.text))
    version = dotted(shows, item.text)
    return Row(item, shows, f"{cut(shown(version.value), 60)}, as {by(version)} set it" if version else "")


def _said(choice: str) -> str:
    return "of each, what stood" if choice == STANDING else f"what {choice.removeprefix(WRITTEN)} wrote"
