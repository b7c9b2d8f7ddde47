"""What is in the way of something that is tried again and again: said in the log when it begins and when it changes, not each time."""

from __future__ import annotations

from driftlog_schemas.sparing import Log


class Trouble:
    """Of one thing that is tried."""

    def __init__(self, log: Log, event: str) -> None:
        self._log = log
        self._event = event
        self._said = ""

    def met(self, error: Exception) -> None:
        """It failed, by this."""
        if str(error) != self._said:
            self._log.warning(self._event, error=str(error))
        self._said = str(error)

    def over(self) -> None:
        """It went well."""
        self._said = ""
