"""Which versions of an app the cloud takes commands of, and from when on no longer.

An app declares floors: from a moment on its devices must run a version, or a newer one. Each batch names the version of the app that sealed it. So
whether it is taken follows from what it says and from when the log took it, and merging the record again says the same, whichever worker does it.

Whoever reads the states is told as well: the end of each group names the floors (`groups.SUPPORT`), for a device that only reads has no batch to be answered.

Versions are ordered as PEP 440 orders them: 1.3 < 1.3.1 < 1.4rc1 < 1.4 < 1.10. What is no version, or none at all, is older than all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from packaging.version import InvalidVersion, Version

from driftlog_schemas.bounds import MAX_LONG

MAX_VERSION = 40
"""Bytes of the text of a version."""
VERSION_UNSUPPORTED = "version_unsupported"
"""Code of a command of a version that is too old: deferred until its device is updated."""
WARNED_FROM_MS = 30 * 86_400_000
"""So long before the end of its support people are told of a version."""
MOST_TOLD = 8
"""Of so many floors readers are told, the newest: who does not meet an older one does not meet those either."""
_MAX_TEXT = MOST_TOLD * (MAX_VERSION + 24)
_SEPARATOR = "@"
"""Between release and version, in what a batch says; neither contains it."""


class Floor(NamedTuple):
    """From `from_ms` on (epoch milliseconds, by the log's time) no older version than this one is supported."""

    version: str
    from_ms: int


def parsed(text: str) -> Version | None:
    """None for what is no version, or a longer one than an app may declare."""
    if not text.isascii() or len(text) > MAX_VERSION:
        return None
    try:
        return Version(text)
    except InvalidVersion:
        return None


@lru_cache(1024)
def unmet(version: str, floors: Sequence[Floor]) -> Floor | None:
    """The first in time that this version does not meet, whether it counts yet or not; None if there is no such. `floors` rise with time."""
    known = parsed(version)
    for floor in floors:
        least = parsed(floor.version)
        assert least is not None, "an app declares versions"
        if known is None or known < least:
            return floor
    return None


def told(floors: Sequence[Floor]) -> bytes:
    """What readers are told: `1.4=1790000000000,2.0=1800000000000`; empty if there are none."""
    return ",".join(f"{floor.version}={floor.from_ms}" for floor in floors[-MOST_TOLD:]).encode()


def heard(text: bytes) -> tuple[Floor, ...]:
    """The floors that it names. Anybody's tool may write to a topic, so what is none is passed over."""
    found = []
    for part in text.decode("ascii", "replace").split(",") if len(text) <= _MAX_TEXT else ():
        version, _, from_ms = part.partition("=")
        if parsed(version) is not None and from_ms.isascii() and from_ms.isdigit() and int(from_ms) <= MAX_LONG:
            found.append(Floor(version, int(from_ms)))
    return tuple(found)


def named(release: str, version: str) -> str:
    """What a batch says: the release that wrote its commands, and the version of the app that sealed it, if that has one."""
    return f"{release}{_SEPARATOR}{version}" if version else release


def release_of(app_version: str) -> str:
    """The release in what a batch says."""
    return app_version.partition(_SEPARATOR)[0]


def version_of(app_version: str) -> str:
    """The version in it; empty if it names none."""
    return app_version.partition(_SEPARATOR)[2]
