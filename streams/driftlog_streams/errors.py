"""What ends or refuses a worker, as one tree.

    StreamsError
    ├── SetupError        the worker cannot start: told in one line with its remedy, exit 1
    ├── MergeFault        a law of the merge would break: the process ends, the log is replayed
    ├── DeliveryFailed    the broker did not take what a flight had to publish: the process ends, nothing of it is acked
    ├── OutOfOrder        the op log came with a hole or out of order: the process ends rather than skip
    └── DevicesUnreachable the device registry topic could not be read to its end in time

Expected outcomes (a refused batch, a rejected or parked command, a duplicate) are values, not exceptions.
"""

from __future__ import annotations


class StreamsError(RuntimeError):
    """The fact, and in `remedy` the next step."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class SetupError(StreamsError):
    """Something that the worker needs is missing or wrong."""


class MergeFault(StreamsError):
    """A law of the merge would break."""


class DeliveryFailed(StreamsError):
    """A record of a flight was not delivered."""


class OutOfOrder(StreamsError):
    """A record that is not the next one of its partition."""


class DevicesUnreachable(StreamsError):
    """The device topic's end could not be reached."""
