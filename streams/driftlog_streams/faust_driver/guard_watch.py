"""A guard that does not end is noticed, and ended.

A guard is the app's code and runs where merging runs, so while it runs nothing else does. A timer's signal interrupts it between two of its
Python instructions (code in C is interrupted when it returns). What is raised then is no `Exception`, so that the app's own
`except Exception` does not swallow it, and it becomes `GuardOverrun`, which the net around the merge takes: the command is quarantined.
How long a guard ran depends on the machine, so it may not become a verdict.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LIMIT_SECONDS = 5.0


class GuardOverrun(Exception):
    """A guard ran for too long."""


class _TimeIsUp(BaseException):
    """Interrupts the guard."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _TimeIsUp


@contextmanager
def watch_guard(name: str, limit: float = LIMIT_SECONDS) -> Iterator[None]:
    """Raises `GuardOverrun` if what is inside runs longer than `limit` seconds. Only the main thread can be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupt)
    others, _ = signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    except _TimeIsUp as error:
        raise GuardOverrun(f"guard {name} did not end within {limit:.0f} s") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, others)  # whose ever it is, it goes on
