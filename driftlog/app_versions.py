"""What an app says of its own version, and from when on its devices must run which."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

from packaging.version import Version

from driftlog.errors import DeclarationError
from driftlog_schemas import bounds
from driftlog_schemas.support import MAX_VERSION, Floor, parsed


def check_version(app: str, version: str) -> None:
    """Raises `DeclarationError` for what is no version; an app need not have one."""
    if version:
        _version(app, "version", version)


def compile_floors(app: str, version: str, oldest_supported: Mapping[str, str]) -> tuple[Floor, ...]:
    """`{"1.4": "2027-03-01"}` as floors, in order of time. Raises `DeclarationError`."""
    if not isinstance(oldest_supported, Mapping):
        raise DeclarationError(
            f"App {app!r}",
            f"oldest_supported={oldest_supported!r} says not from when on; what was taken before would be refused when it is merged again",
            'write oldest_supported={"1.4": "2027-03-01"}',
        )
    if oldest_supported and not version:
        raise DeclarationError(
            f"App {app!r}", "has oldest_supported and no version: its own devices would be refused", "give it a version"
        )
    places = {floor: _version(app, "oldest_supported", floor) for floor in oldest_supported}
    floors = sorted(
        (Floor(floor, _moment(app, floor, text)) for floor, text in oldest_supported.items()), key=lambda f: f.from_ms
    )
    for before, after in pairwise(floors):
        if before.from_ms == after.from_ms or places[before.version] >= places[after.version]:
            raise DeclarationError(
                f"App {app!r}",
                f"oldest_supported[{after.version!r}] does not come after {before.version!r} in time and in version",
                "let a later date ask for a newer version",
            )
    if floors and Version(version) < places[floors[-1].version]:
        raise DeclarationError(
            f"App {app!r}",
            f"oldest_supported[{floors[-1].version!r}] is newer than its own version {version}",
            "name no version before it is there",
        )
    return tuple(floors)


def _version(app: str, name: str, text: str) -> Version:
    found = parsed(text) if isinstance(text, str) else None
    if found is None:
        fact = f"{name}: {bounds.cut(str(text), MAX_VERSION)!r} is no version of at most {MAX_VERSION} characters"
        raise DeclarationError(f"App {app!r}", fact, "write for example 1.4, 1.4.2 or 2.0rc1")
    return found


def _moment(app: str, floor: str, text: str) -> int:
    """A day begins at midnight, UTC."""
    try:
        found = datetime.fromisoformat(text)
        ms = round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        ms = -1
    if not 0 < ms <= bounds.MAX_MS:
        fact = f"oldest_supported[{floor!r}]: {bounds.cut(str(text), MAX_VERSION)!r} is no date"
        raise DeclarationError(f"App {app!r}", fact, "write for example 2027-03-01, or 2027-03-01T06:00+01:00")
    return ms
