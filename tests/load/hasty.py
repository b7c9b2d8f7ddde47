"""The app under load in programs whose time-outs are a thirtieth of what they are: half a minute without a broker is to them what a quarter of an
hour is to others.

Each limit is named here, so that one that is called otherwise some day is missed; what a worker waits for the broker at its start is an option, and the
test's to shorten. None goes below two seconds where a busy machine has to keep
it once the broker is back; the group's session keeps the six that a broker allows at least. The pauses between attempts are as they are: how much is
tried in a second is not to look busier than it is.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from driftlog_edge.link import clients, connectivity, kafka_asker, lookout, signal
from driftlog_edge.outgoing import shipper
from driftlog_schemas.connection import KafkaSettings
from driftlog_streams.process import supervisor
from driftlog_streams.reading import topic_reading
from driftlog_streams.registry.device_view import DeviceView
from tests.load.app import declare, of_this_run

FACTOR = 30
LEAST_SECONDS = 2.0

LIMITS: tuple[tuple[ModuleType, str], ...] = (
    (supervisor, "GOOD_SECONDS"),
    (connectivity, "GIVE_UP_SECONDS"),
    (connectivity, "BACKOFF_CAP_SECONDS"),
    (kafka_asker, "REQUEST_SECONDS"),
    (shipper, "AGAIN_SECONDS"),
    (shipper, "STUCK_CAP_SECONDS"),
    (shipper, "AGAIN_CAP_SECONDS"),
)
PERIODS: tuple[tuple[ModuleType, str], ...] = (
    (supervisor, "MAX_BACKOFF_SECONDS"),
    (clients, "BEGIN_ANEW_CAP_SECONDS"),
    (lookout, "LOOK_SECONDS"),
    (signal, "PROBE_SECONDS"),
)
"""After so long something is tried again: nobody has to keep these."""
DEFAULTS: tuple[Callable[..., Any], ...] = (
    connectivity.Watchdog.__init__,
    topic_reading.to_present_end,
    DeviceView.start,
    DeviceView.catch_up,
)
"""Whose only default is a limit."""
CLIENTS = {"socket.timeout.ms": 60_000, "socket.connection.setup.timeout.ms": 30_000}
"""The client's own."""


def shortened(seconds: float) -> float:
    return max(LEAST_SECONDS, seconds / FACTOR)


for module, name in LIMITS:
    setattr(module, name, shortened(getattr(module, name)))
for module, name in PERIODS:
    setattr(module, name, getattr(module, name) / FACTOR)
for function in DEFAULTS:
    (limit,) = function.__defaults__ or ()
    function.__defaults__ = (shortened(limit),)

_client = KafkaSettings.client


def client(self: KafkaSettings) -> dict[str, Any]:
    """As production makes it, with the client's own limits shortened, too."""
    return _client(self) | {name: int(shortened(limit / 1000) * 1000) for name, limit in CLIENTS.items()}


KafkaSettings.client = client  # type: ignore[method-assign]  # the one thing that is otherwise here

app = of_this_run(declare)
