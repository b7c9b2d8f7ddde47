"""The pump sends while there is something to send, and looks on where much is only passed by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from driftlog_edge.outgoing.held import PAUSE_SECONDS
from driftlog_edge.outgoing.outbox import SEALED_OPS
from driftlog_edge.outgoing.pump import Pump
from driftlog_edge.ports import Sealed, Shipping, Writes
from driftlog_edge.store.committer import Committer
from driftlog_schemas.registry import SchemaIds
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.test_held import LOW, answer, commands
from tests.unit.edge.waiting import until


class AtOnce:
    """A committer whose disk takes no time, and a client whose every batch is answered before the next."""

    def __init__(self, replica: Replica, cloud: Cloud, now: float) -> None:
        self.replica, self.cloud, self.now = replica, cloud, now
        self.sent: list[Sealed] = []

    async def stage(self, writes: Writes, *, sync: bool) -> None:
        self.replica.journal.stage(writes, sync=sync)
        self.replica.commit()

    def send(self, batch: Sealed) -> None:
        self.sent.append(batch)
        answer(self.replica, self.cloud, [batch], self.now)


async def test_what_waits_behind_deferred_commands_hides_nothing_that_is_due(
    lives: Callable[..., Replica], cloud: Cloud, ids: SchemaIds
) -> None:
    replica = lives(scopes=(LOW,))
    cloud.rejects = dict.fromkeys(("unknown", "known"), "undeclared")
    replica.do("fill", "unknown", store=LOW, prefix="x-", count=SEALED_OPS)
    answer(replica, cloud, replica.ship(), 0.0)
    for number in range(3 * SEALED_OPS):
        replica.do("receive", f"behind-{number}", store=LOW, sku="x-0", qty=1)
    replica.do("fill", "known", store=LOW, prefix="known-", count=SEALED_OPS)
    answer(replica, cloud, replica.ship(), 0.0)
    del cloud.rejects["known"]

    replica.shipper.tick(PAUSE_SECONDS)
    rim = AtOnce(replica, cloud, PAUSE_SECONDS)
    pump = Pump(replica.shipper, cast(Committer, rim), ids, lambda: cast(Shipping, cast(Any, rim)))
    pump.run()
    await until(lambda: not replica.shipper.waiting)
    assert commands(replica, rim.sent) == ["unknown", "known"]
    assert pump.problem == ""
