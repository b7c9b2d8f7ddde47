"""What a chain's row means for this replica: what to write, and what follows for those who send, ask and read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from driftlog_edge.ports import Place


class Told(NamedTuple):
    """Up to where a row of our chain has come. What the log has of us up to that record, and is behind that batch, was not taken."""

    last: int
    """The number of the batch with which the chain ends."""
    offset: int
    """The last record of the log that the row tells of."""


@dataclass(slots=True)
class Answered:
    """What a row means for this replica; `writes` makes it so."""

    space: str
    partition: int
    writes: dict[Place, bytes | None] = field(default_factory=dict)
    settled: list[str] = field(default_factory=list)
    """ids of commands that got their final status"""
    closed: list[tuple[str, int, int]] = field(default_factory=list)
    """(space, partition, number) of batches that wait for nothing more"""
    told: Told | None = None
    """up to where the row has come; None where it is another life's, or not taken to its end yet"""
    dropped: list[int] = field(default_factory=list)
    """lsns that are decided and that the confirmed state has"""
    documents: set[bytes] = field(default_factory=set)
    """documents whose pending ops are known better now"""
    again: bool = False
    """Some commands must run again: they were built on what was refused; the store has them marked"""
    refused: set[bytes] = field(default_factory=set)
    """documents on which a change of ours was refused"""
    deferred: str = ""
    """why the cloud does not take some commands for now; empty where it takes all"""
    forked: str = ""
    """why the life in this partition is over; empty while it is not"""
