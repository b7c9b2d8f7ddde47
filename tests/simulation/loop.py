"""asyncio on simulated time: the loop of one process's life, so that production's own tasks, timers and locks run in a world.

Each callback is an event of the world's scheduler, in the order in which asyncio would have it. What a thread does (`run_in_executor`)
happens a little later and whole, unless it is one that `waits`: that has a thread of its own. A process that has died does nothing more: its tasks stay where they were, as SIGKILL leaves them.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from tests.simulation.life import Life, ProcessDied
from tests.simulation.scheduler import EPOCH_MS, Scheduler
from tests.simulation.thread import Threads

THREAD_MS = 4
"""How long a thread takes at most for what it is given."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """What asyncio's own classes need of a loop. Streams, sockets and signals there are none."""

    def __init__(self, scheduler: Scheduler, life: Life, threads: Threads, waits: Callable[[Any], bool]) -> None:
        self._scheduler = scheduler
        self._life = life
        self._threads = threads
        self._waits = waits
        self._tasks: list[asyncio.Task[Any]] = []
        """Kept, so that nothing of a dead life is cleared away in mid-world."""
        self._over = False

    @property
    def life(self) -> Life:
        return self._life

    def time(self) -> float:
        return (self._scheduler.now - EPOCH_MS) / 1000

    # -- callbacks

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._life.after(0, "soon", lambda: self._run(handle))
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        wait = math.ceil(when * 1000 - 1e-3) - (self._scheduler.now - EPOCH_MS)
        self._life.after(max(0, wait), "timer", lambda: self._run(handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """The event passes, and finds it cancelled."""

    def _run(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        asyncio._set_running_loop(self)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(None)

    # -- what is awaited

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        if self._over:
            coro.close()  # something of a dead life that is being cleared away wanted to go on
            coro = _nothing()
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        if len(self._tasks) > 1000:
            self._tasks = [kept for kept in self._tasks if not kept.done()]
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future = self.create_future()

        def run() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001  # as a thread pool does: it is the asker's
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        wait = self._scheduler.between(0, THREAD_MS)
        if self._waits(func):
            self._threads.begin(self._life, "thread", run, wait)
        else:
            self._life.after(wait, "thread", run)
        return future

    def clear(self) -> None:
        """The world is over: let go of everything that waits."""
        self._life.end()
        self._over = True
        asyncio._set_running_loop(self)
        try:
            for task in self._tasks:
                with suppress(RuntimeError):  # one that would wait even now
                    task.get_coro().close()
        finally:
            asyncio._set_running_loop(None)
        self._tasks.clear()

    # -- defects

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What a callback raised and nobody caught."""
        error = context.get("exception")
        if not self._life.alive or "handle" not in context:
            return  # of a dead life, or a note of the garbage collector about a task that failed
        if isinstance(error, ProcessDied):
            self._life.on_death()
        elif isinstance(error, Exception):
            self._life.on_failure(error)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False


async def _nothing() -> None:
    """Takes the place of what must not begin any more."""
