"""Times as a caller writes them."""

from __future__ import annotations

import re

from driftlog_schemas.contract import InvalidInput

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def seconds(text: str, name: str) -> float:
    """`5s`, `500ms`, `2m` or plain seconds. Raises `InvalidInput`."""
    found = _DURATION.match(text)
    if not found:
        raise InvalidInput(name, f"{text!r} is not a duration; write 5s, 500ms or 2m")
    return float(found[1]) * _SECONDS[found[2]]
