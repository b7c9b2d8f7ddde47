"""How far the workers were behind in each minute of the last hour, in a file of the console's folder: a trend outlives a restart.

Of each minute the longest lag is kept, and written once, when the minute is over: a console that is killed loses the last one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from driftlog_console import own_file
from driftlog_console.history.view import Place
from driftlog_streams.reading.merge_lag import Lag

log = structlog.get_logger()

FILE = "lags.sqlite"
MINUTE_MS = 60_000
KEPT_MS = 60 * MINUTE_MS
_TABLE = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS lag (
    space TEXT NOT NULL, partition INTEGER NOT NULL, minute INTEGER NOT NULL, at_ms INTEGER NOT NULL, log_end INTEGER NOT NULL,
    merged INTEGER, waits_since_ms INTEGER, seconds REAL, PRIMARY KEY (space, partition, minute)
) WITHOUT ROWID;
"""


class Sample(NamedTuple):
    """What was found at a time."""

    at_ms: int
    lag: Lag
    seconds: float | None

    @property
    def minute(self) -> int:
        """In which minute since the epoch."""
        return self.at_ms // MINUTE_MS


def longest(samples: Iterable[Sample]) -> Sample:
    """The one of the longest lag; what is not known is told where nothing else is."""
    return max(samples, key=lambda sample: -1.0 if sample.seconds is None else sample.seconds)


class LagMemory:
    """See the module. One thread at a time. A file that cannot be used costs the past of a restart, and is said once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._waiting: dict[Place, Sample] = {}
        """Of each place the longest of a minute that is not over."""
        self._problem = ""
        self._db: sqlite3.Connection | None = None
        try:
            self._db = own_file.opened(self._path, _TABLE, any_thread=True)  # who loads has not begun
        except (OSError, sqlite3.Error) as error:
            self._failed(error)

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._write(self._waiting)
        if self._db is not None:
            self._db.close()

    def load(self, now_ms: int) -> dict[Place, list[Sample]]:
        """What is kept of the last hour, the oldest first; nothing of a time that has not come."""
        found: dict[Place, list[Sample]] = {}
        if self._db is None:
            return found
        try:
            rows = self._db.execute(
                "SELECT space, partition, at_ms, log_end, merged, waits_since_ms, seconds FROM lag"
                " WHERE at_ms > ? AND at_ms <= ? ORDER BY minute",
                (now_ms - KEPT_MS, now_ms),
            ).fetchall()
        except sqlite3.Error as error:
            self._failed(error)
            return found
        for space, partition, at_ms, end, merged, since, seconds in rows:
            found.setdefault(Place(space, partition), []).append(Sample(at_ms, Lag(end, merged, since), seconds))
        return found

    def take(self, place: Place, sample: Sample) -> None:
        """Another sample of a place."""
        before = self._waiting.get(place)
        if before is not None and before.minute != sample.minute:
            self._write(self._waiting)
            self._waiting.clear()
            before = None
        self._waiting[place] = sample if before is None else longest((before, sample))

    def _write(self, samples: dict[Place, Sample]) -> None:
        if self._db is None or not samples:
            return
        newest = max(sample.at_ms for sample in samples.values())
        rows: Sequence[tuple[object, ...]] = [
            (*place, one.minute, one.at_ms, *one.lag, one.seconds) for place, one in samples.items()
        ]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO lag VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
                self._db.execute("DELETE FROM lag WHERE at_ms <= ? OR at_ms > ?", (newest - KEPT_MS, newest))
            self._problem = ""
        except sqlite3.Error as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if str(error) != self._problem:
            log.warning("the lag of the workers is not remembered", path=str(self._path), problem=str(error))
        self._problem = str(error)
