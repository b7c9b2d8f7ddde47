"""When what was written leaves a device: at once, every so often, or over a network that costs nothing.

A collection declares its rhythm as a text: `now`, a duration such as `5m`, or `on_wifi`. It is kept as a number of seconds, so that of two rhythms
the smaller one is the more urgent: a duration has a moment that comes, a network without a price may never be met.
"""

from __future__ import annotations

import re

NOW = 0
ON_WIFI = 1 << 30
"""Above every duration."""
LONGEST_SECONDS = 366 * 86_400
REMEDY = 'write "now", a duration from "1s" to "366d" such as "5m", or "on_wifi"'
_DURATION = re.compile(r"(\d{1,15})\s*(ms|s|m|h|d)\Z", re.ASCII)
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def milliseconds(text: str) -> int:
    """Of a duration like "48h"; 0 for a text that is none."""
    found = _DURATION.match(text)
    return int(found[1]) * _UNIT_MS[found[2]] if found else 0


def rhythm_of(text: str) -> int | None:
    """The rhythm that a text names; None for a text that names none."""
    if text in ("now", "on_wifi"):
        return NOW if text == "now" else ON_WIFI
    seconds, rest = divmod(milliseconds(text), 1000)
    return seconds if 0 < seconds <= LONGEST_SECONDS and not rest else None


def text_of(rhythm: int) -> str:
    """As people write it, in the largest unit that tells it whole."""
    if rhythm in (NOW, ON_WIFI):
        return "now" if rhythm == NOW else "on_wifi"
    unit = next(unit for unit in ("d", "h", "m", "s") if rhythm * 1000 % _UNIT_MS[unit] == 0)
    return f"{rhythm * 1000 // _UNIT_MS[unit]}{unit}"
