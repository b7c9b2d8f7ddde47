"""What a life that is over has left behind in its chain: commands that the cloud has parked and may yet decide.

They stay the old life's. The cloud has taken them under their dots, so they are not taken along; whoever took them along would count them twice. But
their verdict comes in the old life's row, which nobody else asks for any more. So it is remembered here which command of which batch waits there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from driftlog_edge.ports import Family, Place, Source
from driftlog_edge.store import keys


class Left(NamedTuple):
    """A command that is parked in the chain of a life that is over."""

    replica: str
    number: int
    """Of its batch."""
    lsn: int
    told_as: str = ""
    """The id of the command that stands for it; empty for its own."""


def left_in(source: Source, space: str, partition: int, replica: str = "") -> Iterator[Left]:
    """Those of one partition, or of one life there, in the order of their batches."""
    for key, told_as in source.scan(Family.META, keys.left_prefix(space, partition, replica)):
        yield Left(*keys.parse_left(key, space, partition), told_as.decode())


def leaving(space: str, partition: int, left: Iterable[Left]) -> dict[Place, bytes | None]:
    """The writes that remember them."""
    return {(Family.META, keys.left_key(space, partition, *one[:3])): one.told_as.encode() for one in left}


def ended(space: str, partition: int, left: Left) -> dict[Place, bytes | None]:
    """The write when it has come to its end."""
    return {(Family.META, keys.left_key(space, partition, *left[:3])): None}
