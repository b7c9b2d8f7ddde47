"""Deciding on a record's batch, with what must be known first: who may write by now, and whose time the record has.

The core decides by the registry as it is known here (`admission`); this sees to it that it is known. A view that no longer vouches is read
to its end; a stranger who writes, or who is given rights, may only be new, and is looked for once more (`doubt`); a record with its
writer's own time is nobody's. What admitting a record raises that nobody foresaw is the record's fault, as it is in the merge (`net`): it is
refused, and kept for people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import structlog

from driftlog_schemas import bounds
from driftlog_streams.core.admission import UNFORESEEN, VALUELESS, Admission, Refusal, admit, doubtful
from driftlog_streams.core.net import FATAL
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.append_time import TimesCheck, append_ms, timed
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.registry.doubt import Doubts

log = structlog.get_logger()

LogEnds = Callable[[Any], Mapping[Hashable, int]]
"""How far the log is known to be, at least to a record."""


class Admitting:
    """Of one worker. `require_times` raises where the op topic keeps its writers' times."""

    def __init__(
        self, rules: SpaceRules, devices: DeviceView, require_times: Callable[[], None], log_ends: LogEnds
    ) -> None:
        self._rules = rules
        self._devices = devices
        self._log_ends = log_ends
        self._doubts = Doubts(devices.catch_up)
        self._times = TimesCheck(require_times)

    def forget(self) -> None:
        """The partitions belong to somebody else now."""
        self._doubts.forget()

    async def know_devices(self) -> None:
        """Know everything that counts by now of who may write. Raises `DevicesUnknown`."""
        if not self._devices.vouches:
            await asyncio.get_running_loop().run_in_executor(None, self._devices.catch_up)

    def admit(self, message: Any) -> Admission:
        """Decide by what is known."""
        if message.value is None:
            return VALUELESS
        if not timed(message):
            return Refusal("untimed", "the time in this record is its writer's, not the broker's")
        try:
            return self._admitted(message)
        except FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # the net
            reason = bounds.cut(f"{type(error).__name__} {error}", bounds.MAX_REASON)
            log.error("record quarantined", offset=message.offset, partition=message.partition, error=reason)
            return Refusal(UNFORESEEN, reason, value=message.value)

    def _admitted(self, message: Any) -> Admission:
        return admit(message.value, append_ms(message), message.partition, self._rules, self._devices)

    async def decide(self, message: Any) -> Admission:
        """The same, with what has to be known first. Raises `DevicesUnknown`, `TopicProblem`."""
        await self.know_devices()
        if message.value is not None and not timed(message):
            await self._times.untimed()
        admission = self.admit(message)
        if doubtful(admission):
            if not self._doubts.settled(message.tp, message.offset):
                await self._doubts.settle(lambda: self._log_ends(message))
            admission = self.admit(message)
        return admission
