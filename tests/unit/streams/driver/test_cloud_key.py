"""Workers whose key has come to its end: what they would sign is refused by all, and what a reaction calls for would be lost with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from driftlog_schemas.devices import Device, DeviceStatus, with_key
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.signing import Identity
from driftlog_streams.core.rights import FORGET
from driftlog_streams.errors import SetupProblem
from driftlog_streams.faust_driver import host
from driftlog_streams.registry.cloud_identity import KeyWatch
from tests.unit.streams.cloud import NOW_MS, device
from tests.unit.streams.driver.life import Lives
from tests.unit.streams.driver.test_flights import merging, sell

OURS, NEWER = Identity.create(CLOUD), Identity.create(CLOUD)
LINE = device(OURS, scopes=(), permissions=(FORGET,))
(NEW_KEY,) = device(NEWER).keys
ENDED = with_key(LINE, NEW_KEY, NOW_MS)
REVOKED = replace(LINE, terms=(LINE.latest._replace(status=DeviceStatus.REVOKED),))


@pytest.mark.parametrize("line", [LINE, with_key(LINE, NEW_KEY, NOW_MS, keep=True)])
def test_a_key_that_counts_stops_nobody(line: Device) -> None:
    with capture_logs() as lines:
        KeyWatch(OURS, reacting=True).require(line)
    assert not lines


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (None, "knows no 'cloud'"),
        (ENDED, "has ended it"),
        (device(NEWER, scopes=(), permissions=(FORGET,)), "does not have key"),
        (REVOKED, "is revoked"),
        (device(OURS), "may do"),
    ],
)
def test_one_that_does_not_stops_a_worker_whose_app_reacts_and_is_told_once_by_others(
    line: Device | None, why: str
) -> None:
    with pytest.raises(SetupProblem, match=why) as refused:
        KeyWatch(OURS, reacting=True).require(line)
    assert "enrol-cloud" in refused.value.remedy
    watch = KeyWatch(OURS, reacting=False)
    with capture_logs() as lines:
        watch.require(line)
        watch.require(line)
    (said,) = lines
    assert said["log_level"] == "error" and why in said["why"]


async def test_a_worker_that_runs_ends_before_its_key_does(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "BEAT_SECONDS", 0.01)
    life = await merging(lives)
    life.directory.lines[CLOUD] = LINE
    life.host._key_watch = KeyWatch(OURS, reacting=True)
    sell(lives, 1)
    await life.quiet()
    assert not life.died
    life.directory.lines[CLOUD] = ENDED
    await life.until(lambda: bool(life.died))
    (reason,) = life.died
    assert isinstance(reason, SetupProblem) and "has ended it" in str(reason)
