"""Threads of a process in a world: real ones, of which one at a time runs, and only when the world's scheduler says so.

A thread runs from one wait to the next, as one event. Whatever waits (`Condition.wait`, `Event.wait`, `Lock.acquire`, `sleep`, a client's
`poll`) gives the world its turn and goes on as another event: when it is woken, or when its time is over. So production's own threads
wait for one another on simulated time, in an order that the seed has drawn, and a run can be seen again.

As nobody else runs between two waits, a condition needs no lock of its own. What belongs to a dead life is never woken again; `end` lets
it go when the world is over.

Source: Musuvathi et al. 2008, "Finding and Reproducing Heisenbugs in Concurrent Programs" (CHESS).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from tests.simulation.life import Life, ProcessDied
from tests.simulation.scheduler import EPOCH_MS, Scheduler

_STACK_BYTES = 1 << 20


class Thread:
    """One of them, begun with `begin`."""

    def __init__(self, threads: Threads, life: Life, name: str, work: Callable[[], None]) -> None:
        self._threads = threads
        self._life = life
        self._name = name
        self._work = work
        self._mine, self._worlds = threading.Lock(), threading.Lock()
        """Held by who waits for a turn, let go by who gives it away; a semaphore is the same, written in Python."""
        self._mine.acquire()
        self._worlds.acquire()
        self._turn = 0
        self._woken = False
        self._over = False
        self._error: BaseException | None = None
        self._system = threading.Thread(target=self._run, name=name, daemon=True)
        self.done = False

    def begin(self, delay_ms: int) -> None:
        """Let it run for the first time, a little later."""
        self._life.after(delay_ms, self._name, lambda: self._go_on(0, woken=False))

    def pause(self, delay_ms: int | None) -> bool:
        """In the thread itself: wait so long, or until `wake`. Was it woken?"""
        self._woken = False
        turn = self._turn
        if delay_ms is not None:
            self._life.after(delay_ms, self._name, lambda: self._go_on(turn, woken=False))
        self._worlds.release()
        self._mine.acquire()
        if self._over:
            raise ProcessDied("the world is over")
        return self._woken

    def wake(self) -> None:
        """Have it go on, if it still waits for what it waits for now."""
        turn = self._turn
        self._life.after(0, self._name, lambda: self._go_on(turn, woken=True))

    def end(self) -> None:
        """Let go of one that waits for ever."""
        if self._system.is_alive():
            self._over = True
            self._mine.release()
            self._system.join()

    def _go_on(self, turn: int, *, woken: bool) -> None:
        """To its next wait. Raises what ends it."""
        if turn != self._turn or self.done:
            return
        self._turn += 1
        self._woken = woken
        self._threads.running = self
        if turn == 0:
            self._system.start()
        else:
            self._mine.release()
        self._worlds.acquire()
        self._threads.running = None
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        known = self._threads.of_the_world
        known.add(threading.get_ident())
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  # it is told to the world, whatever it is
            self._error = None if self._over else error
        known.discard(threading.get_ident())
        self.done = True
        self._worlds.release()


class Threads:
    """All threads of a world, and what stands in the place of `threading` and `time` for them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._all: list[Thread] = []
        self.of_the_world = scheduler.threads
        self.running: Any = None
        """The one that runs now; only in it may anybody wait."""

    def begin(self, life: Life, name: str, work: Callable[[], None], delay_ms: int = 0) -> Thread:
        """A thread of a process."""
        self._all = [thread for thread in self._all if not thread.done]
        thread = Thread(self, life, name, work)
        self._all.append(thread)
        thread.begin(delay_ms)
        return thread

    def sleep(self, seconds: float) -> None:
        """`time.sleep`."""
        self.running.pause(int(seconds * 1000))

    def monotonic(self) -> float:
        """`time.monotonic`."""
        return (self._scheduler.now - EPOCH_MS) / 1000

    def end(self) -> None:
        """The world is over."""
        for thread in self._all:
            thread.end()


class Condition:
    """`threading.Condition`."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._waiting: list[Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait(self, seconds: float | None = None) -> bool:
        thread: Thread = self._threads.running
        self._waiting.append(thread)
        woken = thread.pause(None if seconds is None else int(seconds * 1000) + 1)
        if thread in self._waiting:  # else it was notified in the very moment in which its time was over
            self._waiting.remove(thread)
        return woken

    def notify_all(self) -> None:
        for thread in self._waiting:
            thread.wake()
        self._waiting.clear()


class Event:
    """`threading.Event`."""

    def __init__(self, threads: Threads) -> None:
        self._condition = Condition(threads)
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._condition.notify_all()

    def wait(self, seconds: float | None = None) -> bool:
        return self._set or self._condition.wait(seconds)


class Lock:
    """`threading.Lock`, whoever came first being next."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._held = False
        self._waiting: deque[Thread] = deque()

    def __enter__(self) -> Self:
        while self._held:
            self._waiting.append(self._threads.running)
            self._threads.running.pause(None)
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._held = False
        if self._waiting:
            self._waiting.popleft().wake()
