"""When an agent says of itself how it is: at once when its connection or what waits for a person has changed, soon afterwards, and the less often the longer it stays as it is.

On a battery that is low it speaks no more often than on a link that is steady, whatever changes.

A heartbeat is news, not data: there is never more than one on its way, none is kept for later, and none is sent without a way
to the cloud. The topic is compacted by device, so a fleet's last words are all there is to read.
"""

from __future__ import annotations

from driftlog_edge.link.connectivity import Connection

FIRST_SECONDS, LONGEST_SECONDS = 10.0, 300.0
"""After a change; and on a link that is steady."""
APART_SECONDS = 2.0
"""A link that flickers does not make a flood."""


class Pulse:
    """Decides when the next heartbeat is due. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._sent_at: float | None = None
        self._changed = True
        self._flying = False
        self._period = FIRST_SECONDS

    def due(self, now: float, connection: Connection, *, saving: bool = False) -> bool:
        """Should one be sent now?"""
        if connection is not Connection.ONLINE:
            self._changed = True
            return False
        if self._flying:
            return False
        if self._sent_at is None:
            return True
        since = now - self._sent_at
        if saving:
            return since >= LONGEST_SECONDS
        return since >= self._period or (self._changed and since >= APART_SECONDS)

    def sent(self, now: float) -> None:
        """One is on its way."""
        self._period = FIRST_SECONDS if self._changed else min(2 * self._period, LONGEST_SECONDS)
        self._sent_at, self._changed, self._flying = now, False, True

    def news(self) -> None:
        """Something has changed that people wait for."""
        self._changed = True

    def gone(self) -> None:
        """It has arrived, or never will."""
        self._flying = False
