"""What else waits for a person: rejected and reviewed commands, and what the cloud has set aside.

The review list of a device lies on that device: here is which devices have one, and how it is looked at. Of the console's own commands the lists are
whole.
"""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from driftlog_console.asking import BadForm, NotAllowed, Operator, Sent, TheDesk, Viewer
from driftlog_console.desk import Desk, now_ms
from driftlog_console.masking import Eyes
from driftlog_console.people import EVERYTHING
from driftlog_console.seeing import seen_members
from driftlog_edge.errors import NotFound
from driftlog_edge.http_api.path_parts import Part
from driftlog_schemas.identity import CLOUD
from driftlog_streams.core.net import ONE_COMMAND
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.reading.set_aside import QUARANTINED, SetAside, drop, send_again
from driftlog_streams.registry.sending_again import ended_key

router = APIRouter()

PAGE = 200
RETRY, DROP = "retry", "drop"


@router.get("/waiting")
async def show(request: Request, desk: TheDesk, person: Viewer, problem: str = "") -> Response:
    """All of it, the oldest first."""
    return await _page(request, desk, person, problem)


@router.get("/waiting/{space}/{id}")
async def thing(request: Request, desk: TheDesk, person: Viewer, space: Part, id: Part) -> Response:
    """One of what the cloud has set aside."""
    if EVERYTHING not in person.scopes:
        raise NotAllowed("what is set aside is of no one scope: that takes a person of all scopes")
    seen = desk.fleet.seen
    one = next((s for s in seen.set_aside or () if (s.space, s.id) == (space, id)), None)
    if one is None:
        raise NotFound(f"{id!r} is not set aside in {space!r}, or not any more, as far as this console knows")
    return desk.page(
        request,
        "set_aside.html",
        person,
        one=_seen(desk.eyes(request, person), one),
        set_aside_age=seen.age("set aside"),
        quarantined=QUARANTINED,
        one_command=ONE_COMMAND,
    )


@router.post("/waiting")
async def settle(request: Request, desk: TheDesk, person: Operator, sent: Sent) -> Response:
    """Give a quarantined record to the workers again, or take it off the list."""
    if EVERYTHING not in person.scopes:
        return await _page(
            request, desk, person, "what is set aside is of no one scope: that takes a person of all scopes", 403
        )
    one = next(
        (s for s in desk.fleet.seen.set_aside or () if (s.space, s.id) == (sent.text("space"), sent.text("id"))), None
    )
    if one is None:
        return await _page(request, desk, person, "that is not set aside any more", 409)
    what = sent.text("do")
    if what not in (RETRY, DROP):
        raise BadForm(f"do: one of {RETRY}, {DROP}")
    why = _hindered(one, what)
    if not why and what == RETRY:
        why = await run_in_threadpool(_ended, desk, one)
    if why:
        return await _page(request, desk, person, why, 409)
    try:
        await run_in_threadpool(send_again if what == RETRY else drop, desk.kafka, one)
    except DeliveryFailed as error:
        return await _page(request, desk, person, f"nothing was changed: {error}", 503)
    desk.fleet.look_again()
    return RedirectResponse("/waiting", 303)


def _hindered(one: SetAside, what: str) -> str:
    """Why this cannot be done with it; empty if it can."""
    if one.what != QUARANTINED:
        return (
            "it waits for an earlier change and is merged by itself when that comes; `driftlog parked drop` gives it up"
        )
    if what == RETRY and one.code == ONE_COMMAND:
        return "its batch was taken, so the same record again changes nothing: its device sends the command again by itself"
    return ""


def _ended(desk: Desk, one: SetAside) -> str:
    """Why workers would refuse it for the key that has signed it; empty if they would not. May need the schema registry."""
    key = ended_key(one.record, desk.batches, desk.fleet.seen, now_ms())
    if not key:
        return ""
    if one.device_id == CLOUD:
        return f"the workers' key {key!r}, which has signed it, has ended: `driftlog parked retry {one.id} --cloud-identity FILE` signs it anew"
    return f"key {key!r} of {one.device_id!r} has ended: the device keeps what it has written, and sends it again under its new key"


def _seen(eyes: Eyes, one: SetAside) -> SetAside:
    """As the person may see it: why it was set aside may repeat a value."""
    return replace(one, reason=eyes.of_anything(one.reason))


async def _page(request: Request, desk: TheDesk, person: Viewer, problem: str = "", status: int = 200) -> Response:
    seen = desk.fleet.seen
    whole, eyes = EVERYTHING in person.scopes, desk.eyes(request, person)
    review, more = await desk.agent.review_page(PAGE)
    rejected = [line for line in (await desk.agent.log.last(PAGE)).lines if line.entry.status.value == "rejected"]
    return desk.page(
        request,
        "waiting.html",
        person,
        status,
        problem=problem,
        whole=whole,
        set_aside=[_seen(eyes, one) for one in list(seen.set_aside or ())[:PAGE]] if whole else [],
        set_aside_total=None if seen.set_aside is None else len(seen.set_aside),
        set_aside_age=seen.age("set aside"),
        devices=[m for m in seen_members(seen.members or (), person) if m.heard is not None and m.heard.word.review],
        review=[
            (one, eyes.of_command(one.command, one.entry.reason)) for one in review if person.sees(one.command.scope)
        ],
        review_more=more,
        rejected=[
            (line, eyes.of_command(line.command, line.entry.reason))
            for line in reversed(rejected)
            if person.sees(line.command.scope)
        ],
        quarantined=QUARANTINED,
        one_command=ONE_COMMAND,
        fleet_problem=seen.problem,
    )
