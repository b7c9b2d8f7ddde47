"""What a page says of values, times and people. Rendered here, never in the browser: there a number beyond 2^53 would be another one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from driftlog_crdt import canonical
from driftlog_schemas.contract import Json
from driftlog_schemas.identity import device_of
from driftlog_schemas.messages import Conflict, Version

LONG = 200
"""Characters of a value in a list; a page about it has all of them."""
SKEWED_MS = 60_000
"""A clock that is off by more than this is worth a word."""
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
    "|\r(?!\n)"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"  # within other scripts, and emoji, they are spelling
)
"""What nobody sees, or what turns round what stands beside it."""
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


class Cell(NamedTuple):
    """One part of a version: of a record the value of a field, else the value."""

    name: str
    text: str
    differs: bool


class Card(NamedTuple):
    """A version as people look at it."""

    dot: str
    stands: bool
    who: str
    device: str
    text: str
    cells: tuple[Cell, ...]
    clock_ms: int
    logged_ms: int
    skew: str
    """Empty where the writer's clock was right."""
    unseen: tuple[str, ...]
    """What its writer had not seen, in words."""
    seen: int


def shown(value: Json) -> str:
    """A value for people: text as it is, all else as JSON."""
    if isinstance(value, str):
        return value if value else "(empty text)"
    return "(nothing)" if value is None else canonical(value)


def visible(text: Any) -> Any:
    """A text for a page: what would not be seen, or would turn its surroundings round, as its code. So no two values look the same, and no name
    can make another of the words beside it. All else as it is, markup too."""
    if type(text) is not str or text.isprintable():
        return text
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def editable(value: Json) -> str:
    """A value as `typed` reads it back."""
    return value if isinstance(value, str) else canonical(value)


def cut(text: str, most: int = LONG) -> str:
    """The beginning of it."""
    return text if len(text) <= most else text[: most - 1] + "…"


def moment(ms: int) -> str:
    """A time; one that no calendar has, as its number."""
    if ms <= 0:
        return "not known"
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def length(seconds: float) -> str:
    """How long, in one or two units."""
    left, parts = int(max(0.0, seconds)), list[str]()
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or (unit == "second" and not parts):
            parts.append(f"{count} {unit}" + ("" if count == 1 else "s"))
        if len(parts) == 2 or (parts and unit in ("hour", "minute") and not left):
            break
    return " ".join(parts)


def ago(seconds: float | None) -> str:
    """How long ago; None is not known."""
    return "not known when" if seconds is None else f"{length(seconds)} ago"


def until(deadline_ms: int, now_ms: int) -> str:
    """The time that is left to decide."""
    if not deadline_ms:
        return "no deadline"
    left = (deadline_ms - now_ms) / 1000
    return f"{length(left)} left" if left > 0 else f"over since {length(-left)}"


def who(version: Version) -> str:
    """The person who wrote it, or else the device."""
    return version.actor or device_of(version.replica)


def by(version: Version) -> str:
    """The person and the device."""
    device = device_of(version.replica)
    return f"{version.actor} at {device}" if version.actor and version.actor != device else device


def address(*parts: str) -> str:
    """The address of a page, from its parts."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def place(conflict: Conflict) -> str:
    """What the conflict is about, of its document."""
    return conflict.field or "the whole record"


def dot(version: Version) -> str:
    """Names a version in a form."""
    return f"{version.replica}:{version.seq}"


def dotted(conflict: Conflict, name: str) -> Version | None:
    """The version of that name, if it is there."""
    return next((version for version in conflict.versions if dot(version) == name), None)


def cards(conflict: Conflict, like: Conflict | None = None) -> list[Card]:
    """Its versions, the one that stands first. Where values are masked, `like` is the same conflict with those that tell what differs."""
    told = (conflict if like is None else like).versions
    parts = _parts([version.value for version in conflict.versions], [version.value for version in told])
    return [_card(conflict, at, cells) for at, cells in enumerate(parts)]


def _card(conflict: Conflict, at: int, cells: tuple[Cell, ...]) -> Card:
    version = conflict.versions[at]
    clock_ms = version.hlc >> 16
    off = clock_ms - version.append_ms
    ahead = off > SKEWED_MS and version.append_ms > 0
    others = [other for number, other in enumerate(conflict.versions) if number != at]
    unseen = [f"{cut(shown(other.value), 60)}, as {by(other)} set it" for other in others]
    if conflict.omitted:
        unseen.append(f"{conflict.omitted} more versions that are not listed here")
    return Card(
        dot=dot(version),
        stands=at == 0,
        who=who(version),
        device=device_of(version.replica),
        text=shown(version.value),
        cells=cells,
        clock_ms=clock_ms,
        logged_ms=version.append_ms,
        skew=f"its clock was {length(off / 1000)} ahead" if ahead else "",
        unseen=tuple(unseen),
        seen=version.seen,
    )


def _parts(values: Sequence[Json], like: Sequence[Json]) -> list[tuple[Cell, ...]]:
    """Each value part by part, where all are records; the parts that differ in `like` are marked."""
    if not all(isinstance(value, dict) for value in values):
        return [(Cell("", shown(value), differs=True),) for value in values]
    records: list[Mapping[str, Any]] = [value for value in values if isinstance(value, dict)]
    names = sorted({name for record in records for name in record})
    compared = [value for value in like if isinstance(value, dict)]
    differing = {name for name in names if len({canonical(record.get(name)) for record in compared}) > 1}
    return [tuple(Cell(name, shown(record.get(name)), name in differing) for name in names) for record in records]


def typed(text: str, like: Json) -> Json:
    """What a person typed, as a value of the kind that is there. Whether the field takes it is for the declaration to say."""
    if isinstance(like, str):  # a browser sends every end of a line as two signs, whatever it was given
        return text if "\r\n" in like else text.replace("\r\n", "\n")
    try:
        found: Json = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found
