"""What stops a projection, beside what stops a worker (`driftlog_streams.errors`).

WorkerError
├── SinkAway          the sink does not answer, or cannot take anything now; trying again may help
├── Superseded        somebody else has moved a partition, or put other tables in the place of ours
├── HeldElsewhere     another projector writes partitions that were to be brought to an end
└── PositionLost      the topic does not lead on from where the sink stands: everything must be read again
"""

from __future__ import annotations

from driftlog_streams.errors import WorkerError

REBUILD = "build it anew beside what readers have: run once with --rebuild"


class SinkAway(WorkerError):
    """Raised before or after a write took effect: nobody knows."""


class Superseded(WorkerError):
    """Nothing was written."""


class HeldElsewhere(WorkerError):
    """They are not ours to bring anywhere."""

    def __init__(self, held: int, partitions: int) -> None:
        super().__init__(
            f"another projector writes {held} of {partitions} partitions",
            "it brings them to the topic's end by itself; stop it first, or name another schema",
        )


class PositionLost(WorkerError):
    """Rows may be missing, or may be there that the topic does not know any more."""

    def __init__(self, fact: str) -> None:
        super().__init__(f"{fact}: rows may be missing, or be left that are gone", REBUILD)
