"""The conflicts that the console's replica knows, in the order in which somebody has to decide them.

The records themselves stay in the replica's store; here is what a list needs: ordered once, and followed as documents change. Open ones are ordered
by deadline, decided ones by when they were.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence

from driftlog_console.masking import listed, masks_of
from driftlog_edge.agent import EdgeAgent
from driftlog_edge.errors import NotFound
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.reading.conflict_lists import LISTS, Filter, Line, Which, line_of, list_of

READ_AT_ONCE = 500


class Inbox:
    """See the module. `looked` is given the conflicts that were looked at, `changed` is called when a list has changed."""

    def __init__(
        self, agent: EdgeAgent, changed: Callable[[], None], looked: Callable[[Sequence[Conflict]], None]
    ) -> None:
        self._agent = agent
        self._changed = changed
        self._looked = looked
        self._masks = masks_of(agent.contract)
        self._lists: dict[Which, list[Line]] = {which: [] for which in LISTS}
        self._by_id: dict[str, Line] = {}
        self._of: dict[DocumentId, set[str]] = {}
        self._came: dict[DocumentId, set[str]] = {}
        """Conflicts that came in, until the change of their document is told. One that is over when it is first met is in no other index."""

    async def follow(self) -> None:
        """Read everything, then what changes; ends with the agent."""
        self._agent.on_conflict(lambda conflict: self._came.setdefault(conflict.document, set()).add(conflict.id))
        changes = self._agent.watch(last_id=self._agent.watchers.now)
        await self._read()
        async for change in changes:
            if change.document is None:
                await self._read()
            else:
                self._look(change.document)

    def open(self) -> list[Line]:
        """Those that wait for a person, in the order of their deadlines."""
        return self._lists["open"]

    def open_in(self, sees: Callable[[str], bool]) -> int:
        """How many wait for a person, in the scopes that somebody sees."""
        return sum(1 for line in self._lists["open"] if sees(line.document.scope))

    def matching(
        self,
        which: Which,
        wanted: Filter,
        sees: Callable[[str], bool],
        also: Callable[[Line], bool] | None = None,
    ) -> list[Line]:
        """All that a filter takes of one list, in its order; of those, what `also` takes."""
        found = [line for line in wanted.taken(self._lists[which]) if sees(line.document.scope)]
        return found if also is None else [line for line in found if also(line)]

    def next_after(self, conflict_id: str, sees: Callable[[str], bool]) -> str:
        """The id of the one that is to be decided after this one; empty if there is none."""
        lines = self._lists["open"]
        line = self._by_id.get(conflict_id)
        start = 0 if line is None or line.status is not ConflictStatus.OPEN else bisect_right(lines, line)
        others = (*lines[start:], *lines[:start])
        return next((one.id for one in others if one.id != conflict_id and sees(one.document.scope)), "")

    def facets(self, which: Which, sees: Callable[[str], bool]) -> dict[str, list[str]]:
        """What a filter can ask for."""
        lines = [line for line in self._lists[which] if sees(line.document.scope)]
        return {
            "collection": sorted({line.document.collection for line in lines}),
            "scope": sorted({line.document.scope for line in lines}),
            "field": sorted({line.field for line in lines if line.field}),
            "device": sorted({device for line in lines for device in line.devices}),
        }

    async def _read(self) -> None:
        for lines in self._lists.values():
            lines.clear()
        self._by_id.clear()
        self._of.clear()
        self._came.clear()
        after, more = "", True
        while more:
            found, more = await self._agent.conflict_page(READ_AT_ONCE, after, everything=True)
            for conflict in found:
                self._take(conflict)
            self._looked(found)
            after = found[-1].id if found else ""
        self._changed()

    def _look(self, document: DocumentId) -> None:
        """Something of this document has changed: its conflicts may have."""
        ids = self._of.get(document, set()) | self._came.pop(document, set()) | set(self._agent.conflicts_of(document))
        if not ids:
            return
        found: list[Conflict] = []
        for conflict_id in ids:
            try:
                found.append(self._agent.conflict(conflict_id))
            except NotFound:
                self._drop(conflict_id)
        for conflict in found:
            self._take(conflict)
        self._looked(found)
        self._changed()

    def _take(self, conflict: Conflict) -> None:
        self._drop(conflict.id)
        line = listed(line_of(conflict), self._masks)
        insort(self._lists[list_of(line.status)], line)
        self._by_id[line.id] = line
        self._of.setdefault(line.document, set()).add(line.id)

    def _drop(self, conflict_id: str) -> None:
        line = self._by_id.pop(conflict_id, None)
        if line is None:
            return
        lines = self._lists[list_of(line.status)]
        del lines[bisect_left(lines, line)]
        known = self._of[line.document]
        known.discard(conflict_id)
        if not known:
            del self._of[line.document]

    def __iter__(self) -> Iterator[Line]:
        return iter(self._by_id.values())
