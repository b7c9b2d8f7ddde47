"""Who has seen a decision, and who is still missing: the story after the click.

It rests on what devices say of themselves, so it is for looking: heartbeats are not signed. A device that was not heard since the decision is missing
as far as anybody knows. One that follows another part of the data is none of those that should see it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from driftlog_console.landings import Landing
from driftlog_console.people import EVERYTHING
from driftlog_schemas.devices import DeviceStatus
from driftlog_streams.reading.fleet import Member


@dataclass(frozen=True, slots=True)
class Waits:
    """A device that has not seen it yet, as far as it was heard."""

    device: str
    connection: str
    heard_seconds: float | None
    """How long ago; None where nobody can tell."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a decision has come among the active devices."""

    seen: tuple[str, ...]
    missing: tuple[Waits, ...]
    """Those that were not heard for the longest time first."""
    unheard: tuple[str, ...]
    """May see the scope, and have never said anything."""

    @property
    def followers(self) -> int:
        """How many are known to follow this part of the data."""
        return len(self.seen) + len(self.missing)


def spread_of(landing: Landing, scope: str, members: Iterable[Member], now_ms: int) -> Spread:
    """Of a decision in this scope."""
    seen, missing, unheard = list[str](), list[Waits](), list[str]()
    for member in members:
        latest, name = member.device.latest, member.device.device_id
        if latest.status is not DeviceStatus.ACTIVE:
            continue
        if member.heard is None:
            if EVERYTHING in latest.scopes or scope in latest.scopes:
                unheard.append(name)
            continue
        word = member.heard.word
        position = word.applied.get(landing.place)
        if position is None:
            continue
        if position >= landing.position:
            seen.append(name)
        else:
            silent = member.silent_ms(now_ms)
            missing.append(Waits(name, word.connection, None if silent is None else silent / 1000))
    missing.sort(key=lambda one: (-(one.heard_seconds or 0.0), one.device))
    return Spread(tuple(sorted(seen)), tuple(missing), tuple(sorted(unheard)))
