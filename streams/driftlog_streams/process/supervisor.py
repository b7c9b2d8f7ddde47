"""The parent of worker processes: starts them, starts them again, ends them.

A worker ends itself whenever going on would break a law (see `faust_driver.sudden_end`), so being started again is part of its design.
Each child is one process for one space and slot. A child that ended by itself is started again after a backoff with
full jitter; one that has run well for a while starts with a clean record. When a child fails too often in a row, what it
cannot do will not mend by itself: the supervisor ends the others and exits with 1. What it fails of while its `surroundings`
are in trouble counts nothing, nor does what was not its fault by its own word (`errors.Exit`): the trouble may be over before we look.

SIGTERM or SIGINT is passed on; whoever is not gone after `STOP_SECONDS` is killed. Children die with a killed parent (see `worker`).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

import structlog

from driftlog_schemas.connection import REVEAL
from driftlog_streams.errors import Exit
from driftlog_streams.process.surroundings import trouble
from driftlog_streams.settings import WorkerSettings

log = structlog.get_logger()

STOP_SECONDS = 30.0
GOOD_SECONDS = 60.0
"""A child that ran so long had no bad start."""
MAX_FAILURES = 12
BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """What one child does."""

    space: str
    slot: str
    settings: WorkerSettings


def plans(settings: WorkerSettings, processes: Mapping[str, int]) -> list[ChildPlan]:
    """`processes` children of each space, each with its own slot and metrics address.

    The first has the slot's own name, so that it finds its stores again when there are more of them, or fewer.
    """
    result: list[ChildPlan] = []
    for number in range(max(processes.values(), default=0)):
        for space in (space for space, count in processes.items() if number < count):
            slot = f"{settings.slot}-{number}" if number else settings.slot
            address = settings.metrics_address and (
                settings.metrics_address[0],
                settings.metrics_address[1] + len(result),
            )
            result.append(ChildPlan(space, slot, settings.model_copy(update={"metrics_address": address})))
    return result


def spawn(plan: ChildPlan) -> subprocess.Popen[bytes]:
    """A fresh interpreter that runs `plan`."""
    command = [sys.executable, "-m", "driftlog_streams.process.worker", str(os.getpid()), plan.space, plan.slot]
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(plan.settings.model_dump_json(context=REVEAL).encode())
    child.stdin.close()
    return child


class Child:
    """One supervised process and its record of failures."""

    def __init__(
        self,
        plan: ChildPlan,
        start: Callable[[ChildPlan], subprocess.Popen[bytes]],
        trouble: Callable[[WorkerSettings], str],
    ) -> None:
        self.plan = plan
        self._start = start
        self._trouble = trouble
        self.failures = 0
        self._ends = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._next_start = 0.0

    def tend(self, now: float) -> bool:
        """Start it if it is due; note its end. False when it failed too often."""
        if self.process is None:
            if now >= self._next_start:
                self.process = self._start(self.plan)
                self._started_at = now
            return True
        code = self.process.poll()
        if code is None:
            return True
        self.process = None
        trouble = self._trouble(self.plan.settings)
        if now - self._started_at > GOOD_SECONDS:
            self.failures = self._ends = 0
        end = _end(code)
        self.failures += not trouble and (end is None or end.counts)
        self._ends = min(self._ends + 1, MAX_FAILURES)
        pause = random.uniform(0, min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (self._ends - 1)))
        self._next_start = now + pause
        log.warning(
            "worker process ended",
            space=self.plan.space,
            slot=self.plan.slot,
            code=code,
            why=f"signal {-code}" if code < 0 else "unknown" if end is None else end.name.lower(),
            failures=self.failures,
            trouble=trouble,
            next_start_seconds=round(pause, 1),
        )
        return self.failures < MAX_FAILURES

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def _end(code: int) -> Exit | None:
    """What an exit code says; None for one that no worker ends with: a signal, or another's."""
    return Exit(code) if code in {*Exit} else None


class Supervisor:
    """Runs children until told to stop, or until one cannot be helped."""

    def __init__(
        self,
        plans: Sequence[ChildPlan],
        start: Callable[[ChildPlan], subprocess.Popen[bytes]] = spawn,
        trouble: Callable[[WorkerSettings], str] = trouble,
    ) -> None:
        self._children = [Child(plan, start, trouble) for plan in plans]
        self._stopping = threading.Event()

    def run(self) -> int:
        """The exit code: `Exit.STOPPED` after a signal, `Exit.SETUP` after giving up."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._on_signal)
        code = Exit.STOPPED
        while not self._stopping.is_set():
            now = time.monotonic()
            hopeless = [child for child in self._children if not child.tend(now)]
            if hopeless:
                plan = hopeless[0].plan
                log.error("giving up", space=plan.space, slot=plan.slot, failures=hopeless[0].failures)
                code = Exit.SETUP
                break
            self._stopping.wait(POLL_SECONDS)
        return max(code, self._stop())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _stop(self) -> int:
        """End all children; not 0 if one had to be killed."""
        for child in self._children:
            if child.running and child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while any(child.running for child in self._children) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        killed = 0
        for child in self._children:
            if child.running and child.process is not None:
                log.error("killed: did not stop in time", space=child.plan.space, slot=child.plan.slot)
                child.process.kill()
                child.process.wait()
                killed = 1
        return killed
