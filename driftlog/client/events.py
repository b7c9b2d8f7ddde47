"""Server-sent events (WHATWG HTML, 9.2), as far as an agent sends them."""

from __future__ import annotations

import json

from driftlog_edge.asking.watch import Change
from driftlog_schemas.identity import DocumentId


class Events:
    """Makes events of the lines of a stream, one after another."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def take(self, line: str) -> dict[str, str] | None:
        """The event that ends with this line, if one does: its fields. One without `data` only tells its id."""
        name, colon, value = line.partition(":")
        if name and colon:
            self._fields[name] = value.strip()
        elif not line and self._fields:
            event, self._fields = self._fields, {}
            return event
        return None


def change_of(event: dict[str, str]) -> Change | None:
    """What has changed; None for an event that only tells where the stream is."""
    if "data" not in event:
        return None
    document = json.loads(event["data"])
    return Change(
        event.get("id", ""),
        DocumentId(document["collection"], document["scope"], document["id"]) if document else None,
    )
