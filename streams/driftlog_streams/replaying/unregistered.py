"""Schema ids for an app that may never be put into service: what it would write is known here and nowhere else.

A dry run reads what others have written, by the registry, and writes rows of its own into a folder that is thrown away. A schema that is registered keeps its
id, so that equal rows have equal bytes; any other gets one from the far end of the ids, where no registry counts.
"""

from __future__ import annotations

from driftlog_schemas.errors import UnknownSchema
from driftlog_schemas.registry import SchemaIds

FIRST = 0x7F00_0000


class Unregistered:
    """`SchemaIds` that registers nothing."""

    def __init__(self, ids: SchemaIds) -> None:
        self._ids = ids
        self._own: dict[str, int] = {}
        self._texts: dict[int, str] = {}

    def id_of(self, text: str) -> int:
        if text not in self._own:
            try:
                return self._ids.id_of(text)
            except UnknownSchema:
                made = FIRST + len(self._own)
                self._own[text], self._texts[made] = made, text
        return self._own[text]

    def schema_of(self, schema_id: int) -> str:
        return self._texts.get(schema_id) or self._ids.schema_of(schema_id)

    def at_hand(self, schema_id: int) -> bool:
        return schema_id in self._texts or self._ids.at_hand(schema_id)
