"""Which generation of a space's read model is in force: a line of the device registry that the operator has signed, like those of devices.

A generation is a topic of states and one of receipts, and the consumer group that merges into them; what else a space has it has once. A line
says two numbers: which generation the workers *merge*, and which one everybody else *reads*. Workers go first: nobody is sent to a read model that is
behind the one that he has seen. A space without a line is at its first generation.

The line stands under a name that no device can have, in the form of a device without keys. So whatever keeps devices' lines keeps it as well:
versions, the operator's rotation, putting back what a stranger has written over.
"""

from __future__ import annotations

from typing import NamedTuple

from driftlog_schemas.devices import Device, DeviceStatus, Terms
from driftlog_schemas.moves import announced, moved

_PREFIX = "space:"
_MERGED, _READ = "_merged:", "_read:"


class InForce(NamedTuple):
    """The generations of one space."""

    merged: int = 1
    """That the workers merge."""
    read: int = 1
    """That everybody else reads."""


FIRST = InForce()


def line_name(space: str) -> str:
    """Under which name the registry has the line of a space."""
    return _PREFIX + space


def names_space(name: str) -> bool:
    """Is the line of this name one of a space?"""
    return name.startswith(_PREFIX)


def space_named(name: str) -> str:
    """The space of which the line of this name is."""
    return name.removeprefix(_PREFIX)


def in_force(line: Device | None) -> InForce:
    """What a space's line says. Raises ValueError where it is none."""
    return FIRST if line is None else _said(line.latest)


def ever_in_force(line: Device | None) -> frozenset[int]:
    """Every generation that workers have merged at some time: one can go back to it, and its topics are never made anew."""
    return frozenset({1}) if line is None else frozenset({1, *(one for terms in line.terms for one in _said(terms))})


def switched(known: Device | None, space: str, to: InForce, now_ms: int) -> Device:
    """The next version of a space's line, with these generations in force. Raises ValueError where the space has moved, or is about to: its topics are closed."""
    if moved(known) is not None or announced(known) is not None:
        raise ValueError(f"{space} goes on in other topics, and none of its generations can be put in force any more")
    earlier = () if known is None else known.terms
    from_ms = max([now_ms, *(terms.from_ms + 1 for terms in earlier)])
    permissions = (f"{_MERGED}{to.merged}", f"{_READ}{to.read}")
    terms = Terms(from_ms, DeviceStatus.ACTIVE, (space,), permissions)
    return Device(line_name(space), 1 if known is None else known.version + 1, (), (*earlier, terms))


def _said(terms: Terms) -> InForce:
    said = InForce(_number(terms, _MERGED), _number(terms, _READ))
    if min(said) < 1:
        raise ValueError(f"generations count from 1, not from {min(said)}")
    return said


def _number(terms: Terms, what: str) -> int:
    found = [one.removeprefix(what) for one in terms.permissions if one.startswith(what)]
    if len(found) != 1:
        raise ValueError(f"the line of a space says {what} once, not {len(found)} times")
    return int(found[0])
