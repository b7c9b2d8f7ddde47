"""When documents were last used here, so that those go first that nobody wants.

A use is remembered, not written: what gathers is written together, now and then, and only where it says something else than before. What a crash takes
is the order of some minutes. A listing says nothing of what is needed, so it is no use.
"""

from __future__ import annotations

from collections.abc import Iterable

from driftlog_edge.ports import Clock, Family, Place
from driftlog_edge.store.evicted import Trace, trace_of, traced
from driftlog_edge.store.generations import Generations
from driftlog_edge.store.journal import Journal
from driftlog_schemas.identity import DocumentId

REMEMBERED = 20_000
"""Documents; of more, those that were used longest ago are forgotten."""
APART_MS = 600_000
"""What is written of a document is not written anew for a use so soon after."""


class Uses:
    """Of one replica."""

    def __init__(self, journal: Journal, generations: Generations, clock: Clock) -> None:
        self._journal = journal
        self._generations = generations
        self._clock = clock
        self._last: dict[DocumentId, int] = {}
        self._unwritten: dict[DocumentId, None] = {}

    def __len__(self) -> int:
        return len(self._last)

    def note(self, documents: Iterable[DocumentId]) -> None:
        """They are used now."""
        now_ms = self._clock.wall_ms()
        for document in documents:
            self._last.pop(document, None)
            self._last[document] = now_ms
            self._unwritten[document] = None
            if len(self._last) > REMEMBERED:
                oldest = next(iter(self._last))
                del self._last[oldest]
                self._unwritten.pop(oldest, None)

    def last(self, document: DocumentId, trace: Trace) -> int:
        """When it was used last, in epoch milliseconds. What was written by a clock that was ahead counts as now."""
        return min(max(self._last.get(document, 0), trace.used_ms), self._clock.wall_ms())

    def written(self) -> dict[Place, bytes | None]:
        """The write that keeps what has gathered; stage it at once."""
        writes: dict[Place, bytes | None] = {}
        for document in self._unwritten:
            row = self._generations.key(self._journal, document)
            known, last = trace_of(self._journal, row), self._last[document]
            if abs(last - known.used_ms) >= APART_MS and self._journal.get(Family.CONFIRMED, row) is not None:
                writes.update(traced(row, known._replace(used_ms=last)))
        self._unwritten.clear()
        return writes
