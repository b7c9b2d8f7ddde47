"""Signals that ask a program to end, while it has something to clean up."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def handled(handler: _Handler | signal.Handlers) -> Iterator[None]:
    """Inside, every ending signal goes to `handler`. Main thread only, as Python wants it."""
    earlier = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, former in earlier.items():
            signal.signal(number, former)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, every ending signal raises KeyboardInterrupt; so cleaning up is the same for all of them.

    Also where a signal falls into a destructor or a callback, and Python drops what it raises there: then the end raises.
    """
    seen: list[int] = []

    def interrupted(number: int, _: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    with handled(interrupted):
        yield
        if seen:
            raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, ending signals change nothing: what cleans up for one of them is not torn apart by the next. Keep it short."""
    with handled(signal.SIG_IGN):
        yield
