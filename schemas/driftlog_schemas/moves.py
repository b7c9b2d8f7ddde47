"""A space that goes on in other topics with another number of partitions: what the operator's line says of it, and the space as it is then.

A scope's history lies in one partition, and which one follows from the count. So another count takes another op topic: the log of before is closed for good
(`driftlog_streams.core.closing`), what was merged of it is laid anew by the new count, and all goes on there under a name of its own on the wire,
`retail.p2` after `retail`. No declared space can be called so, and everything that has a space's name in it (topics, batches, keys of stores) is
thereby of either the one or the other.

The new op topic counts on behind all partitions of the old one: its first record has the number `begins`, which is higher than any that was given out before. So
whatever is numbered by the old log (when a document was purged, what a writer had read) stays comparable with what is numbered by the new one, and is older.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from driftlog_schemas.contract import AppContract, SpaceContract
from driftlog_schemas.devices import Device, DeviceStatus, Terms

FIRST = 1
"""Which of its topics a space begins with, those that are called like it."""
MAX_PARTITIONS = 10_000
_MOVED, _MOVING = "_moved:", "_moving:"
MARK = ".p"
"""Between the declared name of a space that has moved and the number of its topics; no declared name has a dot."""


class Moved(NamedTuple):
    """Where a space goes on."""

    number: int
    """Which of its topics these are: 2 for the first that follow those it began with."""
    partitions: int
    begins: int
    """Number of the first op record in each of its partitions."""
    since: tuple[int, ...]
    """Of each partition of before: who had not read up to this op record when it wrote something may have written on what is forgotten."""

    def encode(self) -> str:
        """As the line of the space has it."""
        return f"{_MOVED}{self.number}:{self.partitions}:{self.begins}:{','.join(map(str, self.since))}"


def following_name(space: str, number: int) -> str:
    """What a space is called on the wire in its topics of this number."""
    declared = declared_name(space)
    return declared if number == FIRST else f"{declared}{MARK}{number}"


def declared_name(space: str) -> str:
    """What the app calls a space that is called so on the wire."""
    return space.partition(MARK)[0]


def number_of(space: str) -> int:
    """Which of its topics a space has under this name. Raises ValueError where nothing can be called so."""
    number = space.partition(MARK)[2]
    return int(number) if number else FIRST


def moved(line: Device | None) -> Moved | None:
    """Where a space goes on by its line; None while it has not moved. Raises ValueError where the line says something that cannot be."""
    said = [] if line is None else [one for one in line.latest.permissions if one.startswith(_MOVED)]
    if not said:
        return None
    if len(said) > 1:
        raise ValueError(f"a space moves once, not to {len(said)} places")
    number, partitions, begins, since = said[0].removeprefix(_MOVED).split(":")
    found = Moved(int(number), int(partitions), int(begins), tuple(map(int, since.split(","))))
    if found.number <= FIRST or not 0 < found.partitions <= MAX_PARTITIONS or found.begins < 1:
        raise ValueError(f"a space cannot move so: {said[0]}")
    if not all(0 <= one < found.begins for one in found.since):
        raise ValueError(f"what was forgotten lies in the log of before: {said[0]}")
    return found


def announced(line: Device | None) -> int | None:
    """How many partitions a space is about to be given by its line: its logs may be closed already. None for no such thing.

    Raises ValueError where the line says something that cannot be.
    """
    said = [] if line is None else [one for one in line.latest.permissions if one.startswith(_MOVING)]
    if not said:
        return None
    count = int(said[0].removeprefix(_MOVING)) if len(said) == 1 else 0
    if not 0 < count <= MAX_PARTITIONS:
        raise ValueError(f"a space cannot be given so many partitions: {said}")
    return count


def announcing(line: Device, partitions: int | None, now_ms: int) -> Device:
    """The next version of a space's line, by which it is about to be given so many; None takes that back. Raises ValueError where it has moved already."""
    return _saying(line, None if partitions is None else f"{_MOVING}{partitions}", now_ms)


def moving(line: Device, to: Moved, now_ms: int) -> Device:
    """The next version of a space's line, by which it goes on there. Raises ValueError where it has moved already."""
    return _saying(line, to.encode(), now_ms)


def _saying(line: Device, word: str | None, now_ms: int) -> Device:
    if (before := moved(line)) is not None and before.encode() != word:
        raise ValueError(f"{line.device_id} has moved to {before.partitions} partitions")
    latest = line.latest
    kept = tuple(one for one in latest.permissions if not one.startswith((_MOVED, _MOVING)))
    terms = Terms(
        max(now_ms, latest.from_ms + 1), DeviceStatus.ACTIVE, latest.scopes, (*kept, *([word] if word else []))
    )
    return replace(line, version=line.version + 1, terms=(*line.terms, terms))


def present(space: SpaceContract, found: Callable[[str], Moved | None]) -> SpaceContract:
    """A declared space as it is now, however often it has moved. `found` says of a name on the wire where it goes on."""
    while (to := found(space.name)) is not None and to.number > number_of(space.name):
        space = _named(space, following_name(space.name, to.number), to.partitions)
    return space


def present_app(app: AppContract, found: Callable[[str], Moved | None]) -> AppContract:
    """An app with all its spaces as they are now."""
    spaces = [present(space, found) for space in app.spaces.values()]
    return replace(app, spaces={space.name: space for space in spaces})


def _named(space: SpaceContract, name: str, partitions: int) -> SpaceContract:
    collections = {known: replace(one, space=name) for known, one in space.collections.items()}
    commands = {known: replace(one, space=name) for known, one in space.commands.items()}
    return replace(space, name=name, partitions=partitions, collections=collections, commands=commands)
