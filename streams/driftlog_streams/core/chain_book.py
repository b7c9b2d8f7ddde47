"""The chain rows of one partition: as merged now, over what the store has.

A row that is not in the store yet is pinned; the others are kept as long as there is room. A life that is over and whose row was removed is
known by what stands in the row `cloud.over`.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import OVER_REPLICA
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core.over import without_entries

log = structlog.get_logger()

MAX_ROWS = 10_000


class _Line:
    """A row and in how many unfinished flights it is."""

    __slots__ = ("flights", "row")

    def __init__(self, row: ChainRow | None) -> None:
        self.row = row
        self.flights = 0


class ChainBook:
    """replica -> row. `load` gives what the store has."""

    def __init__(self, load: Callable[[str], bytes | None], codecs: RecordCodecs, limit: int = MAX_ROWS) -> None:
        self._load = load
        self._codecs = codecs
        self._limit = limit
        self._lines: dict[str, _Line] = {}

    def get(self, replica: str) -> ChainRow | None:
        """The row, or None where nothing is known of this replica. One without entries where the row was removed."""
        row = self._line(replica).row
        return self._over(replica) if row is None else row

    def held(self, replica: str) -> ChainRow | None:
        """The row, where there is one."""
        return self._line(replica).row

    def put(self, replica: str, row: ChainRow | None) -> None:
        """The row is this now."""
        self._line(replica).row = row

    def flying(self, replica: str) -> bool:
        """Is the row in a flight that has not landed, or about to leave?"""
        return bool(self._line(replica).flights)

    def fly(self, replica: str) -> None:
        """The row leaves with a flight, or is about to."""
        self._line(replica).flights += 1

    def landed(self, replica: str) -> None:
        """A flight with the row is stored, or will never leave."""
        line = self._lines[replica]
        line.flights -= 1
        assert line.flights >= 0, "a row lands as often as it flies"

    def _over(self, replica: str) -> ChainRow | None:
        known = self._line(OVER_REPLICA).row
        if known is None or (over := known.over.get(short_name(replica))) is None:
            return None
        return without_entries(replica, known.space, known.partition, over)

    def _line(self, replica: str) -> _Line:
        line = self._lines.get(replica)
        if line is None:
            if len(self._lines) >= self._limit:
                self._lines = {name: known for name, known in self._lines.items() if known.flights}
            line = self._lines[replica] = _Line(self._stored(replica))
        return line

    def _stored(self, replica: str) -> ChainRow | None:
        value = self._load(replica)
        if value is None:
            return None
        try:
            return self._codecs.decode_chain_row(value)
        except (Undecodable, UnknownSchema, ValueError) as error:  # unknown, not forked: the next batch anchors it anew
            log.error("a chain row is not readable", replica=replica, error=str(error))
            return None
