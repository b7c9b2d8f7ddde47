"""When the commands that wait are looked at again, and in which order.

`moved` gathers what a merge has moved; `cascade` wakes whom that sets free, and whom those set free in turn, in order of record and
command. A released command's tombstone is published after its states are stored: a crash in between finds it parked again, and
trying it again is a duplicate, while the other order could lose it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import TypeAlias

from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ParkedCommand
from driftlog_streams.core.admission import Admitted
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.decision import Decision
from driftlog_streams.core.parking import Blocker, Parking
from driftlog_streams.core.state_cache import Entry

Decide: TypeAlias = Callable[[Arrival], Decision | Blocker]
Released: TypeAlias = Callable[[Arrival, Decision], None]


class Waiting:
    """The parked commands of one partition. `decide` says what is to become of one, or what is missing; `released` does it."""

    def __init__(self, parking: Parking, decide: Decide, released: Released) -> None:
        self.parking = parking
        self._decide = decide
        self._released = released
        self.moved: dict[tuple[bytes, str], Entry] = {}
        """(document key, replica) -> entry, of what moved since the last look at the parked commands, while there are any."""

    def restore(self, parked: ParkedCommand, admitted: Admitted) -> None:
        """A command of an earlier life, and the batch that brought it as its device has signed it. Raises `Undecodable`."""
        batch, device = admitted.batch, admitted.device
        command = next((command for command in batch.commands if command.id == parked.command), None)
        if command is None:
            raise Undecodable(f"no command {parked.command!r} in the record that it came with")
        at, value = (parked.append_ms, parked.offset), admitted.value
        self.parking.add(Arrival(command, batch, device, *at, value, parked.dropped_at, admitted.strangers))

    def stranded(self, replica: str, seen: Callable[[DocumentId], int]) -> list[Arrival]:
        """Those of a life that sends nothing any more which wait, perhaps behind one another, for a change of it that has not come. `seen` says up to
        which of its changes a document has them.
        """
        result: list[Arrival] = []
        coming: set[tuple[DocumentId, int]] = set()
        for arrival in sorted(self.parking.of(replica), key=lambda arrival: arrival.place):
            dots = {(document, op.seq) for document, op in arrival.command.ops}
            before = {(document, op.before) for document, op in arrival.command.ops} - dots - coming
            if all(seq <= seen(document) for document, seq in before):
                coming |= dots
            elif arrival.dropped_at < 0:  # who was given up was told
                result.append(arrival)
        return result

    def release(self) -> None:
        """Look at every parked command again, and at what that sets free."""
        self.settle(self.parking.waiting())

    def cascade(self) -> None:
        """Look at whom the last merges may have set free."""
        if self.moved:
            self.settle(self._woken())

    def settle(self, candidates: list[Arrival]) -> None:
        """Decide these and all that they set free. Every turn decides one or blocks it."""
        queue = [(arrival.place, arrival) for arrival in candidates]
        heapq.heapify(queue)
        while queue:
            _, arrival = heapq.heappop(queue)
            if arrival.key not in self.parking:
                continue
            decided = self._decide(arrival)
            if isinstance(decided, Blocker):
                self.parking.block(arrival, decided)
            else:
                self.parking.remove(arrival)
                self._released(arrival, decided)
            for woken in self._woken():
                heapq.heappush(queue, (woken.place, woken))

    def _woken(self) -> list[Arrival]:
        moved: Mapping[tuple[bytes, str], Entry]
        moved, self.moved = self.moved, {}
        result = []
        for (key, replica), entry in moved.items():
            result += self.parking.woken(key, replica, entry.state.vector.get(replica, 0))
        return result
