"""A command as it arrived: what its merge needs, as one value.

`append_ms` and `offset` are its record's in the op topic; they stay with it while it waits.
"""

from __future__ import annotations

from typing import NamedTuple

from driftlog_schemas.devices import Standing
from driftlog_schemas.messages import Batch, Command, CommandOutcome, Verdict, parked_name
from driftlog_schemas.tuples import maker

DROPPED = "dropped"
"""Code of a command that waited and was given up."""


def believed(batch: Batch, offset: int) -> int:
    """What the writer of the batch at this offset had read. Who claims what was not there yet has read another log."""
    return batch.read if batch.read < offset else -1


class Arrival(NamedTuple):
    """One command of one batch of one device."""

    command: Command
    batch: Batch
    device: Standing
    append_ms: int
    offset: int
    value: bytes = b""
    """The record as it came."""
    dropped_at: int = -1
    """Of one that waits: the record by which a person gave it up."""
    strangers: frozenset[str] = frozenset()
    """To whom its batch gives rights and who was not enrolled then (see `rights`)."""

    @property
    def key(self) -> bytes:
        """Its name among those that wait."""
        return parked_name(self.batch.replica, self.batch.number, self.command.id).encode()

    @property
    def accepted(self) -> CommandOutcome:
        """The verdict on it where nothing else is said."""
        return CommandOutcome(self.command.id, Verdict.ACCEPTED)

    def given_up(self, offset: int) -> CommandOutcome | None:
        """Its verdict at this record, if it was given up before or by it."""
        if not 0 <= self.dropped_at <= offset:
            return None
        return CommandOutcome(self.command.id, Verdict.REJECTED, DROPPED, "a person gave it up while it waited")

    @property
    def read(self) -> int:
        """Op offset up to which its writer had read the partition."""
        return believed(self.batch, self.offset)

    @property
    def written(self) -> int | None:
        """The same when it was first written, where a later life has taken it along. Who had read another log had read something."""
        written = self.command.written
        return 0 if written is not None and written >= self.offset else written

    @property
    def place(self) -> tuple[int, int, bytes]:
        """Sorts arrivals as they came: by record, then as in their batch."""
        return self.offset, self.batch.commands.index(self.command), self.key


arrival_of = maker(Arrival)
"""A command of all that an arrival is, in order."""
