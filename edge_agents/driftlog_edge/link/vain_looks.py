"""Clients whose broker answers whoever asks, and not them: they were made with a password or a certificate that is another by now.

The one that asks is replaced where it is not let in, and reads it anew. Then what it is told brings the agent back again and again, and the others' trouble takes it offline again.
"""

from __future__ import annotations

FIRST = 8
"""So many good answers in a row while nothing gets through: after an outage others need some seconds more to come back than the one that asks."""
MOST = 256


class VainLooks:
    """Counts the good answers that an offline agent got since something got through."""

    def __init__(self) -> None:
        self._seen, self._bound = 0, FIRST

    def through(self) -> None:
        """Something got through."""
        self._seen, self._bound = 0, FIRST

    def answered(self, *, offline: bool) -> bool:
        """A good answer came, and the agent had been offline or not. Should the clients be made anew? Twice as seldom each time."""
        self._seen += offline
        if self._seen < self._bound:
            return False
        self._seen, self._bound = 0, min(MOST, 2 * self._bound)
        return True
