"""What waits for a person at devices, as the fleet has last said, and one list of it with the open conflicts.

A conflict's place in that list is its deadline; a command's is a day after it was given, or for a rejected one the end (`waiting_commands`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from heapq import merge
from typing import Literal, NamedTuple, TypeAlias

from driftlog_edge.errors import NotFound
from driftlog_streams.reading.conflict_lists import Line
from driftlog_streams.reading.fleet import Member
from driftlog_streams.reading.waiting_commands import Entry, Waiting, entry_id, waiting_in

KindShown: TypeAlias = Literal["", "conflict", "review", "rejected"]
"""Which of them a list shows; empty for all."""
One: TypeAlias = Line | Entry
"""A row of the list; their first three members are its order."""
Place: TypeAlias = tuple[int, int, str]


class Part(NamedTuple):
    """A page of the list."""

    shown: Sequence[One]
    following: str
    """Where the next page begins; empty at the end."""
    total: int


class AtDevices:
    """The commands that wait, worked out once for each look at the fleet. `members` is what that found; None as long as nobody has looked."""

    def __init__(self, members: Callable[[], Sequence[Member] | None]) -> None:
        self._members = members
        self._of: Sequence[Member] | None = None
        self._found = Waiting()
        self._by_id: dict[str, Entry] = {}

    @property
    def known(self) -> bool:
        """Was the fleet read at all?"""
        return self._members() is not None

    def now(self) -> Waiting:
        """As it was last said."""
        members = self._members()
        if members is not self._of:
            self._of, self._found = members, waiting_in(members or ())
            self._by_id = {entry.id: entry for entry in self._found.entries}
        return self._found

    def seen_by(self, sees: Callable[[str], bool]) -> list[Entry]:
        """Those of the scopes that somebody sees."""
        return [entry for entry in self.now().entries if sees(entry.command.scope)]

    def entry(self, device_id: str, command_id: str) -> Entry:
        """One of them. Raises `NotFound`."""
        self.now()
        found = self._by_id.get(entry_id(device_id, command_id))
        if found is None:
            raise unknown(device_id, command_id)
        return found


def unknown(device_id: str, command_id: str) -> NotFound:
    """What is said of a command that waits nowhere, as far as the one who asks may know."""
    return NotFound(
        f"{device_id!r} does not say that command {command_id!r} waits for a person, or not any more",
        "`driftlog edge log` at the device says what became of it",
    )


def part_of(lines: Sequence[Line], entries: Sequence[Entry], limit: int, after: str) -> Part:
    """A page of both, each in its order. `after` is the `following` of the page before; what it names need not be there any more."""
    both: tuple[Sequence[One], Sequence[One]] = lines, entries
    ones: Sequence[One] = list(merge(*both, key=_place)) if entries else lines
    last = _parsed(after)
    start = 0 if last is None else bisect_right(ones, last, key=_place)
    shown = ones[start : start + limit]
    return Part(shown, _text(shown[-1]) if start + limit < len(ones) else "", len(ones))


def said(waiting: Waiting) -> object:
    """What a page shows of it besides how old it is: the same as long as nothing else has changed."""
    return (
        tuple((entry.id, entry.command) for entry in waiting.entries),
        tuple((one.device_id, one.kind, one.count) for one in waiting.unnamed),
    )


def _place(one: One) -> Place:
    return one[0], one[1], one[2]


def _text(one: One) -> str:
    return f"{one[0]}.{one[1]}.{one[2]}"


def _parsed(text: str) -> Place | None:
    order, _, rest = text.partition(".")
    at, _, name = rest.partition(".")
    try:
        return (int(order[:20]), int(at[:20]), name) if name else None
    except ValueError:
        return None
