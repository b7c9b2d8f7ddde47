"""Who may write, where a benchmark has no device registry to read."""

from __future__ import annotations

from collections.abc import Sequence

from driftlog_schemas.devices import Device


class Enrolled:
    """`rules.Devices`: the devices of these lines, for ever."""

    vouches = True

    def __init__(self, lines: Sequence[Device]) -> None:
        self._lines = {line.device_id: line for line in lines}

    def find(self, device_id: str) -> Device | None:
        """The line of a device."""
        return self._lines.get(device_id)

    def catch_up(self) -> None:
        """Nothing ever changes."""
