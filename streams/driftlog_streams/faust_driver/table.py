"""The read-model table: for Faust a table whose changelog is `<space>.state`, for us the owner of partition stores.

Faust assigns a state partition together with its ops partition and asks the table how far it is. Before Faust's own recovery looks,
`on_rebalance` has brought every assigned store to its changelog's end, so that Faust finds nothing to do; what arrives in between comes
through `apply_changelog_batch` and is joined like everything that another life published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from faust.types import TP

from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.faust_driver.overrides import StateTable
from driftlog_streams.faust_driver.sudden_end import die


class SpaceHost(Protocol):
    """What the table needs of `host.WorkerHost`."""

    def position(self, partition: int) -> int | None: ...
    async def take_over(self, partitions: list[int]) -> None: ...
    def take_late(self, late: Mapping[int, list[ChangelogRecord]]) -> None: ...


class CrdtTable(StateTable):
    """See the module. `host` is set before the app starts."""

    host: SpaceHost

    def persisted_offset(self, tp: TP) -> int | None:
        """How far the partition's store is; None before anything."""
        return self.host.position(tp.partition)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Recover what is assigned."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        active = self.app.assignor.assigned_actives()
        partitions = sorted(tp.partition for tp in assigned if tp.topic == self.state_topic and tp in active)
        try:
            await self.host.take_over(partitions)
        except Exception as error:  # noqa: BLE001  # whatever stops recovery must stop the worker: Faust would only log it
            die(error)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Records that came between our recovery and Faust's."""
        late: dict[int, list[ChangelogRecord]] = {}
        for event in batch:
            m = event.message
            record = ChangelogRecord(m.key or b"", m.value, m.offset, m.headers or ())
            late.setdefault(m.partition, []).append(record)
        self.host.take_late(late)
