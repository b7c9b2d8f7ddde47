"""Many conflicts by their cause: after an outage thousands come at once, and few causes are behind them.

A cause is something that a filter can ask for, so a group is no more than a filter with a number: what is shown is what is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, TypeAlias

from driftlog_streams.reading.conflict_lists import Filter, Line, iso

Cause: TypeAlias = Literal["device", "actor", "command", "field", "collection", "scope", "hour"]
HOUR_MS = 3_600_000
EXAMPLES = 3

_OF: Mapping[Cause, Callable[[Line], Sequence[str]]] = {
    "device": lambda line: line.devices,
    "actor": lambda line: line.actors,
    "command": lambda line: line.commands,
    "field": lambda line: (line.field,),
    "collection": lambda line: (line.document.collection,),
    "scope": lambda line: (line.document.scope,),
    "hour": lambda line: (str(line.at_ms // HOUR_MS * HOUR_MS),),
}
CAUSES: Sequence[Cause] = tuple(_OF)


class Group(NamedTuple):
    """The conflicts of one cause."""

    name: str
    wanted: Filter
    """Takes exactly these."""
    size: int
    examples: Sequence[Line]
    """The first of them."""


def groups_of(lines: Sequence[Line], by: Cause, within: Filter) -> list[Group]:
    """The lines that `within` takes, by cause, the largest first. A conflict of two devices is in the groups of both."""
    counts: dict[str, int] = {}
    examples: dict[str, list[Line]] = {}
    for line in lines:
        for name in _OF[by](line):
            if not name:
                continue  # the whole record: no filter asks for it by field
            counts[name] = counts.get(name, 0) + 1
            some = examples.setdefault(name, [])
            if len(some) < EXAMPLES:
                some.append(line)
    found = [
        Group(_said(by, name), _narrowed(within, by, name), count, examples[name]) for name, count in counts.items()
    ]
    return sorted(found, key=lambda group: (-group.size, group.name))


def devices_in(lines: Sequence[Line]) -> list[tuple[str, int]]:
    """(device, in how many of these it wrote a version), the most first."""
    counts: dict[str, int] = {}
    for line in lines:
        for device in line.devices:
            counts[device] = counts.get(device, 0) + 1
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _said(by: Cause, name: str) -> str:
    return f"{iso(int(name))} to {iso(int(name) + HOUR_MS)}" if by == "hour" else name


def _narrowed(within: Filter, by: Cause, name: str) -> Filter:
    if by != "hour":
        return replace(within, **{by: name})
    return _window(within, int(name))


def _window(within: Filter, start_ms: int) -> Filter:
    """The hour, or what of it lies in the window that was asked for."""
    bounds = within.window()
    since = start_ms if bounds[0] is None else max(bounds[0], start_ms)
    until = start_ms + HOUR_MS if bounds[1] is None else min(bounds[1], start_ms + HOUR_MS)
    return replace(within, since=iso(since), until=iso(until))
