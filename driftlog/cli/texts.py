"""Anybody's words and times, as they may be shown on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

MOST_IN_A_LINE, MOST_ON_A_PAGE = 2_000, 20_000
"""Characters of one text, where many stand beside each other and where one thing is shown. As data (`--json`) all of it is there."""


def moment(ms: int) -> str:
    """A time in epoch milliseconds, for people and programs alike. One that no calendar has, as a stranger may have written it, as its number."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def printable(text: str, limit: int = MOST_IN_A_LINE) -> str:
    """As much of a text as a person reads. What would drive the terminal is shown as its code: anybody may have written it."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in shown)


def no_text(typed: Mapping[str, object]) -> tuple[str, str] | None:
    """The first of these, by name, that is no text. A shell hands over any bytes; those that are no UTF-8 Python keeps as halves of surrogate pairs,
    which nobody can be sent. A path may be of any bytes."""
    for name, given in typed.items():
        for value in given if isinstance(given, list | tuple) else [given]:
            if isinstance(value, str) and not value.isascii() and value.encode(errors="ignore").decode() != value:
                return name, f"{value!a} is no UTF-8 text"
    return None
