"""What waits for a decision: lists of conflicts, and deciding the chosen ones together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from driftlog_console.asking import BadForm, Decider, Sent, TheDesk, Viewer, Wanted, conflict_of
from driftlog_console.at_devices import KindShown, One, part_of, unknown
from driftlog_console.desk import Desk, now_ms
from driftlog_console.group_deciding import STANDING, WRITTEN
from driftlog_console.masking import Eyes
from driftlog_console.people import EVERYTHING, Person, Right
from driftlog_console.seeing import sees
from driftlog_edge.http_api.path_parts import Part
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.core.changelog_record import UNTIMED
from driftlog_streams.reading.claims import Held
from driftlog_streams.reading.conflict_lists import Filter, Line, Which, line_of, mark, mark_of_all
from driftlog_streams.reading.waiting_commands import KINDS, Entry, Unnamed, taken

router = APIRouter()

PAGE = 50
MOST_AT_ONCE = 500
MOST_CHOICES = 200
"""That a filter lists; where there are more, one is typed."""


Who: TypeAlias = Literal["", "me", "nobody"]


class Row(NamedTuple):
    """A line with what stands in it."""

    line: Line
    conflict: Conflict
    mark: str
    """Of its versions."""
    held: Held | None
    """Who looks after it."""
    decided: str
    """What was decided here about it, of which the cloud has not told yet; empty for nothing."""


class Chosen(NamedTuple):
    """What a filter takes of a list."""

    lines: Sequence[Line]
    entries: Sequence[Entry]
    unnamed: Sequence[Unnamed]
    """What devices have not named."""
    counts: Mapping[str, int]
    """Kind -> how many there are, also of those that are not shown."""


class AtDevice(NamedTuple):
    """A command that waits at its device."""

    entry: Entry
    reason: str
    heard: float | None
    """Seconds since the device said so; None where nobody can tell."""
    conflict: None = None


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
    kind: KindShown = "",
) -> Response:
    """One of the lists; in the open one also what waits at devices."""
    eyes = desk.eyes(request, person)
    chosen = chosen_by(desk, person, which, wanted, who, kind)
    facets = desk.inbox.facets(which, person.sees)
    found = part_of(chosen.lines, chosen.entries, limit, after)
    return desk.page(
        request,
        "inbox.html",
        person,
        which=which,
        kind=kind,
        counts=chosen.counts,
        rows=[_row(desk, eyes, one) for one in found.shown],
        unnamed=[] if found.following else chosen.unnamed,
        devices_known=desk.at_devices.known,
        fleet_problem=desk.fleet.seen.problem,
        total=found.total,
        following=found.following,
        wanted=wanted.items(),
        who=who,
        facets=facets | _at_devices(desk, which, person, facets),
        writers=sorted({device for one in found.shown if isinstance(one, Line) for device in one.devices}),
        most_choices=MOST_CHOICES,
        standing=STANDING,
        written=WRITTEN,
        limit=limit,
    )


def chosen_by(desk: Desk, person: Person, which: Which, wanted: Filter, who: Who, kind: KindShown) -> Chosen:
    """All that a person sees of a list with this filter; in the open one also what waits at devices."""
    lines = desk.inbox.matching(which, wanted, person.sees, _looked_after(desk, person, who))
    entries = taken(desk.at_devices.seen_by(person.sees), wanted) if which == "open" and who != "me" else []
    return Chosen(
        lines if which != "open" or kind in ("", "conflict") else [],
        [entry for entry in entries if kind in ("", entry.command.kind)],
        _unnamed(desk, person, wanted, kind) if which == "open" and not who else [],
        {"conflict": len(lines)} | {k: sum(e.command.kind == k for e in entries) for k in KINDS},
    )


def _looked_after(desk: Desk, person: Person, who: Who) -> Callable[[Line], bool] | None:
    """Those that the person looks after, or nobody; one that was put off is somebody's until then."""
    if not who:
        return None

    def wanted(line: Line) -> bool:
        held = desk.claims.held(line.id)
        return held is None if who == "nobody" else held is not None and held.claim.person == person.name

    return wanted


def _row(desk: Desk, eyes: Eyes, one: One) -> Row | AtDevice:
    if isinstance(one, Entry):
        return at_device(eyes, one)
    conflict = desk.agent.conflict(one.id)
    decided = "" if conflict.status is ConflictStatus.RESOLVED else _decided(desk, conflict)
    return Row(one, eyes.conflict(conflict), mark(conflict), desk.claims.of(conflict), decided)


def _decided(desk: Desk, conflict: Conflict) -> str:
    """Who has decided it already, so that nobody does it twice."""
    asked = desk.holding.of(conflict)
    if asked is not None:
        return f"{asked.person} has decided it, and it can be undone still"
    made = desk.deciding.made(conflict)
    if not made:
        return ""
    last = made[-1]
    if last.answer.status == "rejected":
        return f"the cloud has refused what {last.actor or 'somebody'} had decided"
    return f"{last.actor or 'somebody'} has decided it; the cloud has not told of it yet"


def _at_devices(desk: Desk, which: Which, person: Person, facets: dict[str, list[str]]) -> dict[str, list[str]]:
    """What the filter can ask for besides, where the list has what waits at devices as well."""
    entries = desk.at_devices.seen_by(person.sees) if which == "open" else []
    also = {
        "collection": {entry.command.collection for entry in entries if entry.command.collection},
        "scope": {entry.command.scope for entry in entries},
        "device": {entry.device_id for entry in entries},
    }
    return {name: sorted({*facets[name], *values}) for name, values in also.items()}


def _unnamed(desk: Desk, person: Person, wanted: Filter, kind: KindShown) -> list[Unnamed]:
    """Of devices that the person sees. Of which scopes they are is not known: a filter by anything but the device takes none of them."""
    if wanted.items().keys() - {"device"}:
        return []
    found = [
        one for one in desk.at_devices.now().unnamed if kind in ("", one.kind) and wanted.device in ("", one.device_id)
    ]
    if not found or EVERYTHING in person.scopes:
        return found
    devices = {one.device.device_id for one in desk.fleet.seen.members or () if sees(person, one)}
    return [one for one in found if one.device_id in devices]


@router.get("/inbox/devices/{device_id}/{command_id}")
async def at_a_device(request: Request, desk: TheDesk, person: Viewer, device_id: Part, command_id: Part) -> Response:
    """One command that waits for a person at its device."""
    entry = desk.at_devices.entry(device_id, command_id)
    if not person.sees(entry.command.scope):
        raise unknown(device_id, command_id)
    return desk.page(
        request,
        "device_command.html",
        person,
        row=at_device(desk.eyes(request, person), entry),
        others=[one for one in desk.at_devices.seen_by(person.sees) if one.device_id == device_id and one != entry],
        age=desk.fleet.seen.age("members"),
        fleet_problem=desk.fleet.seen.problem,
    )


def at_device(eyes: Eyes, entry: Entry) -> AtDevice:
    """What a page says of a command that waits at its device."""
    heard = None if entry.heard_ms == UNTIMED else max(0.0, (now_ms() - entry.heard_ms) / 1000)
    told = entry.command
    document = DocumentId(told.collection, told.scope, told.document)
    return AtDevice(entry, eyes.at_device(document, told.reason, alone=told.documents == 1), heard)


@router.post("/inbox")
async def decide(request: Request, desk: TheDesk, person: Decider, sent: Sent) -> Response:
    """Decide the chosen ones together, each as the page had shown it: a group decision, so it can be undone for a while, and each has its outcome."""
    ids = list(dict.fromkeys(sent.texts("id")))
    if not ids or len(ids) > MOST_AT_ONCE:
        raise BadForm(f"choose 1 to {MOST_AT_ONCE} conflicts")
    lines = [_chosen(desk, person, conflict_id, sent) for conflict_id in ids]
    choice, reason = sent.text("choice"), sent.text("reason")
    name = desk.groups.ask(person, "open", Filter(), lines, mark_of_all(lines), choice, reason)
    return RedirectResponse(f"/inbox/groups/decided/{name}", 303)


def _chosen(desk: Desk, person: Person, conflict_id: str, sent: Sent) -> Line:
    """A conflict that a form names, with the versions that its page had shown; a program that names none decides between those there are."""
    conflict = conflict_of(desk, person, Right.DECIDE, conflict_id)
    line = line_of(conflict)
    return line._replace(mark=sent.text(f"mark-{conflict_id}") or line.mark)
