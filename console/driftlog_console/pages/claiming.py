"""Looking after a conflict: by oneself or another, putting it off, and letting go of it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from driftlog_console.asking import BadForm, Decider, Sent, TheDesk, conflict_of
from driftlog_console.people import Right
from driftlog_schemas.claims import ClaimKind
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.messages import ConflictStatus

router = APIRouter()

DOES = {"claim": ClaimKind.CLAIMED, "defer": ClaimKind.DEFERRED, "release": ClaimKind.RELEASED}


@router.post("/conflicts/{conflict_id}/claim")
async def claim(desk: TheDesk, person: Decider, sent: Sent, conflict_id: str) -> Response:
    """Say who looks after it and until when. Whoever may decide still can."""
    conflict = conflict_of(desk, person, Right.DECIDE, conflict_id)
    kind = DOES.get(sent.text("do"))
    if kind is None:
        raise BadForm(f"do: one of {', '.join(DOES)}")
    if conflict.status is ConflictStatus.RESOLVED:
        raise InvalidInput("", "it is decided already")
    whose = person.name if kind is not ClaimKind.CLAIMED else sent.text("person") or person.name
    other = person if whose == person.name else desk.people.named(whose)
    if other is None or not other.may(Right.DECIDE, conflict.document.scope):
        raise InvalidInput("person", f"{whose[:40]!r} may not decide there; choose somebody who may")
    hours = 1 if kind is ClaimKind.RELEASED else sent.number("hours")
    said = desk.claims.made(conflict, kind, person, whose, hours, sent.text("note").strip())
    await run_in_threadpool(desk.claims.tell, said)
    desk.signals.tell("conflicts")
    return RedirectResponse(f"/conflicts/{conflict_id}", 303)
