"""The app under load on a worker whose every take-over takes longer than its session in the group, as with a state topic of millions."""

from __future__ import annotations

import time
from collections.abc import Mapping

from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.faust_driver.recovery import ChangelogRecovery, Recovered
from tests.load.app import declare, of_this_run

SECONDS = 12.0

recover = ChangelogRecovery.recover


def slowly(self: ChangelogRecovery, stores: Mapping[int, PartitionStore]) -> dict[int, Recovered]:
    """As production does it, after a while in which it is busy in a thread of its own."""
    if stores:
        time.sleep(SECONDS)
    return recover(self, stores)


ChangelogRecovery.recover = slowly  # type: ignore[method-assign]  # the one thing that is otherwise here

app = of_this_run(declare)
