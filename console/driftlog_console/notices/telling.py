"""Tells the webhook of deadlines that come near, and now and then how much is open. Nothing else waits for it.

A deadline is told once, in a notice with all others that came near meanwhile. An attempt that fails is repeated, later each time, and given up
after so many; then the notices page says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from driftlog_console.notices.memory import Deadline, NoticeMemory, NoticesProblem, State
from driftlog_console.notices.webhook import NotTaken, Webhook
from driftlog_streams.reading.conflict_lists import NEVER_MS, Line

log = structlog.get_logger()

DEADLINES, DIGEST = "deadlines", "digest"
LOOK_SECONDS = 5.0
AT_ONCE = 100
"""So many deadlines in one notice."""
FIRST_MS, LONGEST_MS = 10_000, 3_600_000
"""Between attempts: twice as long each time."""
MOST_ATTEMPTS = 14
"""Some seven hours."""
LISTED = 20
"""Deadlines in a digest, the first ones."""


class Telling:
    """`lines` are the open conflicts in the order of their deadlines; `now_ms` a clock, in epoch milliseconds."""

    def __init__(
        self,
        memory: NoticeMemory,
        webhook: Webhook,
        lines: Callable[[], Iterable[Line]],
        now_ms: Callable[[], int],
        before_ms: int,
        digest_ms: int,
    ) -> None:
        """`before_ms` a deadline is told; a digest at most every `digest_ms`, never for 0."""
        self.memory = memory
        self._webhook, self._lines, self._now_ms = webhook, lines, now_ms
        self._before_ms, self._digest_ms = before_ms, digest_ms
        self._known: frozenset[Deadline] = frozenset()
        """Of those that are near, which are told already."""
        self.problem = ""
        """Why notices cannot be made at the moment; empty if they can."""

    async def follow(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await self.turn()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self._webhook.close()

    async def turn(self) -> None:
        """Note what has come near, and send what is due."""
        try:
            self._note()
            for notice in self.memory.due(self._now_ms()):
                try:
                    await self._webhook.send(notice, self._now_ms())
                    state, next_ms, why = State.SENT, 0, ""
                except NotTaken as error:
                    given_up = notice.attempts + 1 >= MOST_ATTEMPTS
                    state, why = (State.GIVEN_UP if given_up else State.WAITING), str(error)
                    next_ms = self._now_ms() + min(FIRST_MS << notice.attempts, LONGEST_MS)
                    log.warning("the webhook did not take a notice", notice=notice.id, given_up=given_up, why=why)
                self.memory.tried(notice, state, next_ms, why)
            self.problem = ""
        except NoticesProblem as error:
            if str(error) != self.problem:
                log.warning("notices cannot be made", problem=str(error))
            self.problem = str(error)

    def _note(self) -> None:
        now_ms = self._now_ms()
        lines = list(self._lines())
        near = [line for line in lines if line.order_ms <= now_ms + self._before_ms]
        untold = set(self.memory.untold([one for one in map(_deadline, near) if one not in self._known]))
        fresh = [line for line in near if _deadline(line) in untold]
        for start in range(0, len(fresh), AT_ONCE):
            some = fresh[start : start + AT_ONCE]
            body = {"at": _moment(now_ms), "conflicts": [_told(line) for line in some]}
            self.memory.add(DEADLINES, body, now_ms, [_deadline(line) for line in some])
        self._known = frozenset(map(_deadline, near))
        if lines and self._digest_ms and now_ms - self.memory.last_made(DIGEST) >= self._digest_ms:
            self.memory.add(DIGEST, _digest(lines, near, now_ms), now_ms)


def _digest(lines: Sequence[Line], near: Sequence[Line], now_ms: int) -> dict[str, Any]:
    timed = [line for line in lines if line.order_ms != NEVER_MS]
    return {
        "at": _moment(now_ms),
        "open": len(lines),
        "near": len(near),
        "overdue": sum(1 for line in near if line.order_ms <= now_ms),
        "first": [_told(line) for line in timed[:LISTED]],
    }


def _deadline(line: Line) -> Deadline:
    return Deadline(line.id, line.order_ms)  # open ones are in the order of their deadlines


def _told(line: Line) -> dict[str, Any]:
    """No values: where notices go is not where people have rights."""
    document = line.document
    return {
        "conflict": line.id,
        "collection": document.collection,
        "scope": document.scope,
        "id": document.id,
        "field": line.field or None,
        "devices": list(line.devices),
        "deadline": _moment(line.order_ms),
        "page": f"/conflicts/{line.id}",
    }


def _moment(ms: int) -> str | None:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None  # no calendar has it
