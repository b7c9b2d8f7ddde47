"""A device: all that it says of itself, what became of its last commands, and what the cloud has taken of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from driftlog_console.asking import TheDesk, Viewer
from driftlog_console.history.by_device import PER_DEVICE, Line
from driftlog_console.history.kept import Reached
from driftlog_console.history.receipts import Receipts
from driftlog_console.history.view import HistoryView, Place
from driftlog_console.masking import Eyes
from driftlog_console.pages.fleet import PAGE, row_of
from driftlog_console.pages.flow import places_of
from driftlog_console.people import EVERYTHING
from driftlog_console.seeing import narrowed, sees
from driftlog_edge.errors import NotFound
from driftlog_schemas.messages import ChainRow, Verdict
from driftlog_streams.reading.conflict_lists import LISTS

router = APIRouter()

NO_REFUSAL = frozenset({"accepted", "no_effect", "not_known", Verdict.PARKED.value})
"""What became of a command, where it was not refused."""


class Told(NamedTuple):
    """A line and the text about it, as the person may read it."""

    line: Line
    reason: str


class Taken(NamedTuple):
    """A receipt."""

    row: ChainRow
    waits: int
    """How many commands of it wait."""
    reason: str
    """Why its newest batch that was not taken was not, as the person may read it."""


class Refusal(NamedTuple):
    """What the cloud has last not taken of a device, a command or a whole batch."""

    at_ms: int
    """When the log took it."""
    what: str
    code: str
    reason: str
    """As the person may read it."""


@dataclass(frozen=True, slots=True)
class Lately:
    """What the console's history knows of a device, as a page shows it."""

    commands: Sequence[Told]
    hidden: int
    """How many of its last commands are in scopes that the person does not see."""
    gone_ms: int
    receipts: Sequence[Taken]
    known: Receipts
    receipts_hidden: int
    """How many are of partitions of which the person sees no scope."""
    places: Collection[Place]
    """The partitions that are followed and of which the person sees a scope."""
    begun: bool
    """Was any log looked at yet?"""
    since: Mapping[Place, int]
    """Partitions of which devices' commands are kept from a later record on than the first, and when what came before it was appended."""
    cut: Mapping[Place, Reached]
    """Partitions whose beginning is gone."""
    behind: int
    """Records that are still to be read, as far as that is known."""
    age: float | None
    problem: str
    most: int = PER_DEVICE

    @property
    def last_refusal(self) -> Refusal | None:
        """The newest of what is listed; None where nothing is."""
        commands = [
            Refusal(line.batch.logged_ms, line.sent.name or "a write", line.sent.code or line.sent.outcome, reason)
            for line, reason in self.commands
            if line.sent.outcome not in NO_REFUSAL
        ]
        batches = [
            Refusal(row.append_ms, f"batch {row.notice.number} of {row.replica}", row.notice.code, reason)
            for row, _, reason in self.receipts
            if row.notice
        ]
        return max((*commands, *batches), default=None)


@router.get("/fleet/{device_id}")
async def show(request: Request, desk: TheDesk, person: Viewer, device_id: str) -> Response:
    """One device."""
    seen = desk.fleet.seen
    member = seen.member(device_id)
    if member is None or not sees(person, member):
        raise NotFound(f"no device {device_id!r} is enrolled, as far as this console knows")
    member, scopes = narrowed(member, person), member.device.latest.scopes
    shown = [scope for scope in scopes if scope == EVERYTHING or person.sees(scope)]
    eyes = desk.eyes(request, person)
    lately = None
    if desk.history is not None:
        lately = await run_in_threadpool(_lately, desk.history, eyes, device_id, frozenset(places_of(desk, person)))
    lines = [line for line in desk.inbox if device_id in line.devices and person.sees(line.document.scope)]
    return desk.page(
        request,
        "device.html",
        person,
        row=row_of(desk, member),
        member=member,
        scopes=shown,
        scopes_hidden=len(scopes) - len(shown),
        word=member.heard.word if member.heard else None,
        conflicts=sorted(lines, key=lambda line: (line.status not in LISTS["open"], line))[:PAGE],
        conflicts_total=len(lines),
        age=seen.age("members"),
        fleet_problem=seen.problem,
        lately=lately,
    )


def _lately(view: HistoryView, eyes: Eyes, device: str, visible: Collection[Place]) -> Lately:
    """`visible` are the partitions of which the person sees a scope."""
    progress = view.progress  # before the rest: it is at least as new as this says
    found, known = view.sent_by(device), view.receipts_of(device)
    seen = [line for line in found.lines if eyes.person.sees(line.sent.scope)]
    rows = [row for row in known.rows if Place(row.space, row.partition) in visible]
    places = {place: reached for place, reached in progress.reached.items() if place in visible}
    begun = {place: view.kept.devices.since(*place) for place, reached in places.items() if not reached.cut}
    return Lately(
        commands=[Told(line, _reason(eyes, line)) for line in seen],
        hidden=len(found.lines) - len(seen),
        gone_ms=found.gone_ms,
        receipts=[_taken(eyes, row) for row in rows],
        known=known,
        receipts_hidden=len(known.rows) - len(rows),
        places=places,
        begun=bool(progress.reached),
        since={place: since.at_ms for place, since in begun.items() if since is not None and since.offset},
        cut={place: reached for place, reached in places.items() if reached.cut},
        behind=sum(progress.behind(place) or 0 for place in places),
        age=max(0.0, time.time() - progress.looked_at) if progress.looked_at else None,
        problem=progress.problem,
    )


def _taken(eyes: Eyes, row: ChainRow) -> Taken:
    waits = sum(outcome.verdict is Verdict.PARKED for entry in row.entries for outcome in entry.outcomes)
    return Taken(row, waits, eyes.of_anything(row.notice.reason) if row.notice else "")


def _reason(eyes: Eyes, line: Line) -> str:
    """Where not all documents of the command are named, it counts as if all were masked that can be."""
    sent = line.sent
    if sent.more:
        return eyes.at_device(sent.written[0], sent.reason, alone=False)
    return eyes.of_documents(sent.written, sent.reason)
