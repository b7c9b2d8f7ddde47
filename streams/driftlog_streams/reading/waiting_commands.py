"""Commands that wait for a person at a device, as devices have last said: the same list for the console's inbox and for the command line.

Such a list is as old as the heartbeat that it stands in, names some of what waits only, and is nobody's word of honour: for looking, never for deciding.
What is to be done about a command is done at its device, where all of them are.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from driftlog_schemas.devices import DeviceStatus
from driftlog_schemas.messages import REJECTED, REVIEW, WaitingCommand
from driftlog_streams.core.changelog_record import UNTIMED
from driftlog_streams.reading.conflict_lists import NEVER_MS, Filter
from driftlog_streams.reading.fleet import Heard, Member

Kind: TypeAlias = Literal["review", "rejected"]
KINDS: tuple[Kind, ...] = (REVIEW, REJECTED)
DUE_MS = 24 * 3_600_000
"""A command on a review list stands among the conflicts as if it had to be decided within a day: it has no effect as long as nobody does."""


class Entry(NamedTuple):
    """One of them; the first members are its place in the order."""

    order_ms: int
    at_ms: int
    """When it was given, by the device's clock; of a rejected one negative, for the newest stands first."""
    id: str
    device_id: str
    command: WaitingCommand
    heard_ms: int
    """When the device said so, by the broker; `UNTIMED` where the topic does not tell."""

    @property
    def acts(self) -> tuple[str, ...]:
        """What a person may do, as it is typed at the device."""
        name = shlex.quote(self.command.command_id)
        name = f"-- {name}" if name.startswith("-") else name
        if self.command.kind == REVIEW:
            return f"driftlog edge review apply {name}", f"driftlog edge review drop {name}"
        return (f"driftlog edge rejected seen {name}",)


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A device with more of one kind than it has named."""

    device_id: str
    kind: Kind
    count: int
    """How many it did not name."""
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the fleet has said, in order."""

    entries: tuple[Entry, ...] = ()
    unnamed: tuple[Unnamed, ...] = ()


def waiting_in(members: Iterable[Member]) -> Waiting:
    """Of all devices that may still write; of others nothing can be applied any more.

    What is on a review list is ordered by when it was given, rejected commands come behind it, the newest first.
    """
    entries: list[Entry] = []
    unnamed: list[Unnamed] = []
    for member in members:
        if member.heard is not None and member.device.latest.status is DeviceStatus.ACTIVE:
            device = member.device.device_id
            entries += (_entry(device, member.heard, one) for one in member.heard.word.waiting)
            unnamed += _unnamed(device, member.heard)
    return Waiting(tuple(sorted({one.id: one for one in entries}.values())), tuple(unnamed))


def taken(entries: Iterable[Entry], wanted: Filter, kind: str = "") -> list[Entry]:
    """Those that a filter takes, in their order. One that asks for a field takes none: a command is of no one field."""
    since, until = wanted.window()
    return [
        one
        for one in entries
        if (not kind or one.command.kind == kind)
        and not wanted.field
        and (not wanted.collection or one.command.collection == wanted.collection)
        and (not wanted.scope or one.command.scope == wanted.scope)
        and (not wanted.device or one.device_id == wanted.device)
        and (not wanted.actor or one.command.actor == wanted.actor)
        and (not wanted.command or wanted.command == one.command.command_id)
        and (since is None or one.command.at_ms >= since)
        and (until is None or one.command.at_ms < until)
    ]


def data_of(entry: Entry) -> dict[str, object]:
    """An entry for programs."""
    return {
        "device_id": entry.device_id,
        **entry.command._asdict(),
        "heard_ms": None if entry.heard_ms == UNTIMED else entry.heard_ms,
        "acts": list(entry.acts),
    }


def entry_id(device_id: str, command_id: str) -> str:
    """Names an entry. No device is named with a slash."""
    return f"{device_id}/{command_id}"


def _entry(device_id: str, heard: Heard, command: WaitingCommand) -> Entry:
    review = command.kind == REVIEW
    order, at = (command.at_ms + DUE_MS, command.at_ms) if review else (NEVER_MS + 1, -command.at_ms)
    return Entry(order, at, entry_id(device_id, command.command_id), device_id, command, heard.at_ms)


def _unnamed(device_id: str, heard: Heard) -> list[Unnamed]:
    counts: Mapping[Kind, int] = {REVIEW: heard.word.review, REJECTED: heard.word.rejected}
    named = [one.kind for one in heard.word.waiting]
    return [
        Unnamed(device_id, kind, counts[kind] - named.count(kind), heard.at_ms)
        for kind in KINDS
        if counts[kind] > named.count(kind)
    ]
