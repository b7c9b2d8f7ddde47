"""A guard that does not end is noticed, and ended.

A guard is the app's code and runs where merging runs, so while it runs nothing else does. A timer's signal interrupts it between two of its
Python instructions (code in C is interrupted when it returns). What is raised then is no `Exception`, so that the app's own
`except Exception` does not swallow it, and it becomes `GuardOverrun`, which the net around the merge takes: the command is quarantined.
How long a guard ran depends on the machine, so it may not become a verdict.

One that swallows everything is interrupted a few times more, and then the process ends: nothing else ends such code. First the guard and the command
are written down in the worker's folder; the next life does not ask that guard about that command again, but quarantines it. Who has mended
the guard deletes the file.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import NoReturn

import structlog

from driftlog_streams.core.trial import Overrun
from driftlog_streams.errors import GuardHangs
from driftlog_streams.faust_driver.sudden_end import die

log = structlog.get_logger()

LIMIT_SECONDS = 5.0
INTERRUPTS = 4
"""So often a guard is interrupted before it is given up."""
AGAIN = 0.1
"""The part of the limit after which it is interrupted again."""
FILE = "guards-that-hang"
MAX_KEPT = 1000


class GuardOverrun(Overrun):
    """A guard ran for too long."""


class _TimeIsUp(BaseException):
    """Interrupts the guard."""


class GuardWatch:
    """Call it around a guard that is asked about a command. Raises `GuardOverrun`. Only the main thread can be interrupted."""

    def __init__(self, folder: Path, limit: float = LIMIT_SECONDS) -> None:
        self._path = folder / FILE
        self._limit = limit
        self._hanging = self._path.read_text().splitlines() if self._path.exists() else []

    def __call__(self, guard: str, command: str) -> AbstractContextManager[None]:
        """Watch what is inside."""
        if _line(guard, command) in self._hanging:
            raise GuardOverrun(f"guard {guard} could not be ended before; delete {self._path} when it is mended")
        if threading.current_thread() is not threading.main_thread():
            return nullcontext()
        return _Timer(guard, self._limit, lambda: self._give_up(guard, command))

    def _give_up(self, guard: str, command: str) -> NoReturn:
        """End the process, so that its next life goes on without this guard's word on this command."""
        self._hanging = [*self._hanging, _line(guard, command)][-MAX_KEPT:]
        try:
            draft = self._path.with_suffix(".new")
            draft.write_text("\n".join(self._hanging) + "\n")
            draft.replace(self._path)
        except OSError as error:
            log.error("what hangs cannot be written down", path=str(self._path), error=str(error))
        die(GuardHangs(f"guard {guard} swallows what interrupts it, asked about command {command}", "mend the guard"))


class _Timer(AbstractContextManager[None]):
    """Interrupts what is inside when its time is up, and nothing after it: a signal that finds the watch already ending is dropped."""

    def __init__(self, guard: str, limit: float, give_up: Callable[[], NoReturn]) -> None:
        self._guard = guard
        self._limit = limit
        self._give_up = give_up
        self._interrupted = 0
        self._dealing = False

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, self._interrupt)
        self._others, _ = signal.setitimer(signal.ITIMER_REAL, self._limit, self._limit * AGAIN)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        signal.setitimer(signal.ITIMER_REAL, self._others)  # whose ever it is, it goes on
        if isinstance(error, _TimeIsUp):
            raise GuardOverrun(f"guard {self._guard} did not end within {self._limit:.0f} s") from error

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._dealing:
            # With the one before, which takes longer than the pause between two where the machine is slow.
            return
        self._dealing = True
        try:
            self._deal(frame)
        finally:
            self._dealing = False

    def _deal(self, frame: FrameType | None) -> None:
        while frame is not None:  # below the watch itself may stand what it calls
            if frame.f_code in _ITS_OWN:
                return
            frame = frame.f_back
        self._interrupted += 1
        if self._interrupted > INTERRUPTS:
            signal.setitimer(signal.ITIMER_REAL, 0)  # what comes now ends the process, and is not to be interrupted
            self._give_up()
        raise _TimeIsUp


_ITS_OWN = frozenset({_Timer.__enter__.__code__, _Timer.__exit__.__code__})


def _line(guard: str, command: str) -> str:
    return f"{guard}\t{command}".replace("\n", " ")
