"""Where the op logs end, as the broker told last: no group of a worker's has a number that lies there or behind.

A group is numbered by an op record that is merged into it, so a number that the log does not have is a stranger's. Believed it would do harm for
long: an open group would wait for it, what the cloud says of a scope would count as late, and our own changes as shown.

Asking costs a round trip, and whoever reads at the end of a busy partition meets numbers a little higher than what was told last. So the broker is
asked only where a number is much higher, or where something waits for it; then the answer is exact, for what was read was written before. What lies
within that distance and ends its own group is let pass: the log will have it soon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from driftlog_edge.ports import Asker, Extent, Unreachable
from driftlog_schemas import topics

NEAR = 100_000
"""More than an op log grows between two looks (`lookout`)."""
ASK_SECONDS = 3.0


class OpLogs:
    """Those that this replica's groups are numbered by. `asker` is the client of the connection there is."""

    def __init__(self, asker: Callable[[], Asker | None]) -> None:
        self._asker = asker
        self._ends: dict[tuple[str, int], int] = {}

    def told(self, found: Mapping[tuple[str, int], Extent]) -> None:
        """What a look has found, of whatever topics."""
        self._ends.update({place: extent.end for place, extent in found.items()})

    def near(self, space: str, partition: int) -> int:
        """Below this a number may be true without anybody being asked."""
        return self.end(space, partition) + NEAR

    def end(self, space: str, partition: int) -> int:
        """As it was told last."""
        return self._ends.get((topics.ops_topic(space), partition), 0)

    async def ask(self, space: str, partition: int) -> int:
        """Where the log ends now. Raises `Unreachable`."""
        asker, place = self._asker(), (topics.ops_topic(space), partition)
        if asker is None:
            raise Unreachable("the link begins anew")
        self._ends.update(await asker.ends([place], ASK_SECONDS))
        return self._ends[place]
