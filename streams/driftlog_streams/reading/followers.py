"""Which devices have followed a space that goes on with another number of partitions, by what they have last said of themselves.

Who has not yet needs the topics of before: what they answer is read there first. A heartbeat names the places of a device by what the space is called on the wire where
the device has it, so it tells that; but it is not signed, and who is silent may have followed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from driftlog_schemas.devices import DeviceStatus
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.moves import Moved, declared_name, following_name, number_of
from driftlog_streams.reading.fleet import Member


@dataclass(frozen=True, slots=True)
class Behind:
    """The topics of a space before a move, and who needs them."""

    space: str
    """What it is called on the wire in them."""
    goes_on: str
    """What it is called where it went on from there."""
    partitions: int
    """How many it has been given by that."""
    devices: tuple[Member, ...]
    """Those that have said that they were there, or in topics before, when they were heard last."""
    unheard: tuple[Member, ...]
    """Those that were never heard of: nobody can tell."""


def behind(members: Iterable[Member], moves: Mapping[str, Moved]) -> list[Behind]:
    """Of each move, by the name of the space before it. Devices that may write no more are not waited for."""
    active = [one for one in members if one.device.latest.status is DeviceStatus.ACTIVE]
    unheard = tuple(one for one in active if one.heard is None)
    found = []
    for space, to in sorted(moves.items()):
        number, declared = number_of(space), declared_name(space)
        there = (one for one in active if one.heard is not None and _oldest(one.heard.word, declared) <= number)
        found.append(Behind(space, following_name(space, to.number), to.partitions, tuple(there), unheard))
    return found


def _oldest(word: Heartbeat, declared: str) -> float:
    """The number of the topics that a device is in with a space, the lowest where it tells of several; infinity where it has nothing of it."""
    return min((number_of(space) for space in _spaces(word) if declared_name(space) == declared), default=float("inf"))


def _spaces(word: Heartbeat) -> Iterator[str]:
    """What its spaces are called on the wire; whoever writes heartbeats may name what cannot be."""
    for place in (*word.heads, *word.applied):
        space = place.rpartition("/")[0]
        try:
            number_of(space)
        except ValueError:
            continue
        yield space
