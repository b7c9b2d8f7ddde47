"""Lists of a running agent: read page after page, and shown as tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from rich.table import Table

from driftlog.cli.calling import call
from driftlog.cli.drawing import rows
from driftlog.cli.texts import moment


def path(*parts: str) -> str:
    """Names as the parts of a path."""
    return "/".join(quote(part, safe="") for part in parts)


def all_of(url: str, path: str, what: str, limit: int | None = None, **params: Any) -> list[Any]:
    """A list, page after page: all of it, or the first `limit`."""
    found: list[Any] = []
    while True:
        asked = params if limit is None else {**params, "limit": limit - len(found)}
        page = call("GET", url, path, params=asked)
        found += page[what]
        if page["next"] is None or len(found) == limit:
            return found
        params["after"] = page["next"]


def commands_table(title: str, found: list[dict[str, Any]], by: Literal["number", "id"] = "number") -> Table:
    """The table. `by` is what they are called by; an id where a person is to name one."""
    lines = [
        (
            c["command_id"] if by == "id" else c["number"],
            datetime.fromtimestamp(c["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            c["name"] or "(write)",
            ", ".join(dict.fromkeys(change["document"] for change in c["changes"])),
            c["status"] + (f" ({c['code']})" if c["code"] else "") + waits(c),
            c["actor"],
        )
        for c in found
    ]
    return rows(title, (by, "at (UTC)", "command", "documents", "status", "actor"), lines)


_WAITS = {
    "review": "a person",
    "change": "an earlier change",
    "cloud": "the cloud to take it",
    "outbox": "room in the outbox",
    "life": "a new life of this folder",
    "release": "a release that declares it",
    "network": "a way to the cloud",
}
"""What the API says in a word."""


def waits(command: dict[str, Any]) -> str:
    """What it waits for, and until when."""
    if not command["waiting_for"]:
        return ""
    until = command["waiting_until"]
    what = _WAITS.get(command["waiting_for"], command["waiting_for"])
    return f", waits for {what}" + (f" until {moment(until)}" if until else "")
