"""Closing the op logs of a space for good, and waiting until its workers have confirmed all that counts of them.

The record that ends a log is written by a device that is enrolled for it; its key lives as long as the attempt. A partition that is closed already stays closed where it
is: a second record lies behind the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.devices import DeviceStatus
from driftlog_schemas.identity import CLOSER, CLOSING_REPLICA
from driftlog_schemas.messages import Batch
from driftlog_schemas.signing import Identity
from driftlog_streams.core.rights import CLOSE
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import SetupProblem
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.replaying.commits import Commits
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.publication import Delivery

LOOK_SECONDS = 0.5


def closing_identity(enrolment: Enrolment, folder: Path, now_ms: int) -> Identity:
    """A device that may close logs, with a key of its own in this folder.

    Raises `SetupProblem` where it was shut out before: it counts only a little later.
    """
    place = folder / f"{CLOSER}.json"
    line = enrolment.enrol(CLOSER, place, (), (CLOSE,))
    standing = line.standing_at(now_ms)
    if standing is None or standing.status is not DeviceStatus.ACTIVE or CLOSE not in standing.permissions:
        raise SetupProblem(
            f"device {CLOSER} was shut out before, and may close logs again only in a few seconds",
            "run the command again; nothing was closed by this attempt",
        )
    return Identity.load(place)


def close_logs(rules: SpaceRules, partitions: Iterable[int], identity: Identity, delivery: Delivery) -> None:
    """Write the end of these partitions' logs. Raises `DeliveryFailed`."""
    delivery.deliver(
        [
            OutRecord(
                rules.topics.ops,
                number,
                CLOSER.encode(),
                rules.batches.seal(encode_body(Batch(rules.name, number, CLOSING_REPLICA, 1, (), floor=1)), identity),
            )
            for number in partitions
        ]
    )


def wait_confirmed(
    rules: SpaceRules,
    commits: Commits,
    logs: Logs,
    seconds: float,
    told: Callable[[int], None] = lambda behind: None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the group has confirmed all that is in the logs now. Raises `SetupProblem` where that takes longer, `BrokerUnreachable`."""
    ends = {number: logs.extent(rules.topics.ops, number).stop for number in range(rules.partitions)}
    end = clock() + seconds
    while behind := _behind(ends, commits.read(rules.topics)):
        told(behind)
        if clock() > end:
            raise SetupProblem(
                f"the logs of {rules.name} are closed, and its workers are {behind} op records before their end after {seconds:.0f} s",
                "see that workers run; the same command goes on here, and what devices write waits there meanwhile",
            )
        pause(LOOK_SECONDS)


def _behind(ends: Mapping[int, int], reached: Mapping[int, int]) -> int:
    return sum(max(0, end - reached.get(number, 0)) for number, end in ends.items())
