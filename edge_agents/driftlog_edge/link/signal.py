"""What the clients' successes and failures say of the way to the cloud, and when a quiet link is to be asked.

The clients speak only when something happens. So a link that works is asked after a while of silence, and one that does not is asked again after
pauses that grow a little: a broker that is back is noticed within seconds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import structlog

from driftlog_edge.errors import Offline
from driftlog_edge.link.connectivity import Connection, Connectivity, backoff
from driftlog_edge.ports import Clock

log = structlog.get_logger()

_FIGURES = re.compile(r"\d+")
PROBE_SECONDS = 15.0
"""How long a link that works may be quiet before it is asked."""
PROBE_SOON_SECONDS = 1.0
PROBE_CAP_SECONDS = 5.0
"""How long a broker may be back before it is noticed."""


class Signal:
    """The way to the cloud as the clients tell of it. `back` is called when there is one again."""

    def __init__(self, clock: Clock, back: Callable[[], None], problem: Callable[[], str]) -> None:
        self._clock = clock
        self._back = back
        self._problem = problem
        self.connectivity = Connectivity()
        self._told: tuple[Connection, str] | None = None
        """What the log was told last: the state, and the problem without its figures."""
        self.unreachable = ""
        """What the broker last said instead of an answer; empty while it answers."""
        self._untried = True
        """Has no client said anything yet, since the start or since the end of aeroplane mode?"""
        self._probe_at = 0.0
        self._probes_failed = 0

    @property
    def state(self) -> Connection:
        return self.connectivity.state

    def force_offline(self, forced: bool) -> None:
        """Aeroplane mode, on or off."""
        self._untried = not forced
        self.connectivity.force_offline(forced, self._clock.monotonic())

    def begun(self) -> None:
        """There are new clients: ask soon."""
        self._probe_at = self._clock.monotonic() + PROBE_SOON_SECONDS

    def success(self) -> None:
        """The broker answered."""
        now = self._clock.monotonic()
        self.unreachable, self._untried = "", False
        if self.state is Connection.OFFLINE:  # nothing sits out a pause that was meant for an outage
            self._back()
        self.connectivity.success(now)
        self._tell()
        settled = self.state is Connection.ONLINE
        self._probe_at = now + (PROBE_SECONDS if settled else PROBE_SOON_SECONDS)
        self._probes_failed = 0

    def trouble(self) -> None:
        """Something did not get through."""
        now = self._clock.monotonic()
        self._untried = False
        self.connectivity.failure(now)
        self._tell()
        self._probe_at = min(self._probe_at, now + PROBE_SOON_SECONDS)

    def silence(self, why: str) -> None:
        """The broker was asked and did not answer."""
        self.unreachable = why
        self._probes_failed += 1
        self.trouble()
        pause = backoff(self._probes_failed, random.random, PROBE_SOON_SECONDS)
        self._probe_at = self._clock.monotonic() + min(PROBE_CAP_SECONDS, PROBE_SOON_SECONDS + pause)

    def quiet(self, now: float) -> bool:
        """Is it time to ask?"""
        return now >= self._probe_at

    def require(self) -> None:
        """Raise `Offline` when it is known that there is no way to the cloud."""
        if self.state is Connection.OFFLINE and not self._untried:
            raise Offline("this answer needs the cloud, and there is no way to it", "read with consistency=eventual")

    def tell(self) -> None:
        """Say in the log what has changed: the state, or why something does not move. A figure that grows in it is no change."""
        problem = self._problem()
        found = self.state, _FIGURES.sub("", problem)
        if found == self._told or (self._untried and not problem):
            return
        self._told = found
        (log.warning if problem else log.info)("connection", state=self.state.value, problem=problem or None)

    def _tell(self) -> None:
        if self._told is None or self.state is not self._told[0]:
            self.tell()
