"""One life of a process: from its start to its death. What belongs to a dead life happens no more.

Callbacks, timers and replies are tied to a life; after a crash a node gets a new one, and whatever the old one still had under
way finds itself cut off, except what was already on the wire (see `network`). `ProcessDied` derives from BaseException: no `except
Exception` in the code under test may survive its own death.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tests.simulation.scheduler import Event, Scheduler


class ProcessDied(BaseException):
    """The process ends here and now, in the middle of whatever it did."""


class Life:
    """A process that is alive until `end`. Between `freeze` and `thaw` it is alive but does nothing (SIGSTOP)."""

    current: ClassVar[Life | None] = None
    """Whose callback runs now."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self._scheduler = scheduler
        self.name = name
        self.alive = True
        self.frozen_until = 0
        self.owner: Any = None
        """The process, for what finds itself on its loop."""
        self.on_death: Callable[[], None] = lambda: None
        self.on_failure: Callable[[Exception], None] = _raise
        """Given what the code under test raises and does not handle; by default the run ends with it."""

    def after(self, delay_ms: int, label: str, action: Callable[[], None]) -> Event:
        """Have `action` happen in this life; a frozen process does it when it thaws."""
        return self._scheduler.after(delay_ms, f"{self.name} {label}", lambda: self._run(label, action))

    def _run(self, label: str, action: Callable[[], None]) -> None:
        if not self.alive:
            return
        if self._scheduler.now < self.frozen_until:
            self._scheduler.at(self.frozen_until, f"{self.name} {label}", lambda: self._run(label, action))
            return
        Life.current = self
        try:
            action()
        except ProcessDied:
            if self.alive:  # else: somebody has buried it already
                self.on_death()
        except Exception as error:  # noqa: BLE001  # whatever it is, it ended a process: the judge is told
            if self.alive:
                self.on_failure(error)
        finally:
            Life.current = None

    def end(self) -> None:
        """Nothing tied to this life happens any more."""
        self.alive = False

    def freeze(self, duration_ms: int) -> None:
        """Stop the process for a while; it does not notice."""
        self.frozen_until = self._scheduler.now + duration_ms


def _raise(error: Exception) -> None:
    raise error
