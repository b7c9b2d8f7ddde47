"""From a day on the cloud takes nothing of an older version of the app: by what the batch says and when the log took it, and by nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from driftlog_schemas import groups, topics
from driftlog_schemas.identity import CLOUD, REACTION_REPLICA
from driftlog_schemas.messages import Batch, Command
from driftlog_schemas.support import Floor, heard, named
from driftlog_streams.core.rules import SpaceRules
from tests.unit.streams.cloud import IDS, NOW_MS, SPACE, Cloud, change, command, count, stock
from tests.unit.streams.reacting import depot

FLOOR = Floor("1.4", NOW_MS)
REFUSED = "deferred version_unsupported"


def at(cloud: Cloud, version: str, *commands: Command, append_ms: int = NOW_MS, replica: str = "store-1.1") -> None:
    value = cloud.batch(*commands, app_version=named(cloud.rules.release, version), replica=replica)
    cloud.merge_value(value, append_ms=append_ms)


@pytest.fixture
def strict() -> Cloud:
    return Cloud(declared_space=dataclasses.replace(SPACE, version="2.0", floors=(FLOOR,)))


@pytest.mark.parametrize(
    ("version", "append_ms", "verdict"),
    [
        ("1.3", NOW_MS - 1, "accepted"),
        ("1.3", NOW_MS, REFUSED),
        ("1.4", NOW_MS, "accepted"),
        ("2.1", NOW_MS, "accepted"),
        ("", NOW_MS - 1, "accepted"),
        ("", NOW_MS, REFUSED),
        ("v?" * 20, NOW_MS, REFUSED),
    ],
)
def test_it_hangs_on_the_version_and_on_the_time_of_the_log(
    strict: Cloud, version: str, append_ms: int, verdict: str
) -> None:
    at(strict, version, command("c", count(stock(), 1, 1)), append_ms=append_ms)
    assert strict.verdicts() == {"c": verdict}
    assert strict.value(stock(), "on_hand") == (verdict == "accepted")


def test_what_was_refused_is_taken_once_its_device_is_updated(strict: Cloud) -> None:
    """Nothing of it was seen: the newer version sends the same changes, and they count once."""
    first, second = command("c1", count(stock(), 1, 1)), command("c2", count(stock(), 2, 2))
    at(strict, "1.3", first, second)
    assert not strict.state(stock()).vector
    at(strict, "2.0", first, second)
    assert strict.verdicts() == {"c1": "accepted", "c2": "accepted"}
    assert strict.value(stock(), "on_hand") == 3


def test_what_was_found_good_is_asked_anew_when_the_day_comes(strict: Cloud) -> None:
    at(strict, "1.3", command("before", count(stock(), 1, 1)), append_ms=NOW_MS - 1)
    at(strict, "1.3", command("after", count(stock(), 1, 2)))
    assert strict.verdicts() == {"before": "accepted", "after": REFUSED}


def test_a_command_that_waits_is_judged_by_the_time_it_came(strict: Cloud) -> None:
    late = command("waits", change(stock(), "name", "set", "tea", 1, context={"store-2.1": 1}))
    at(strict, "1.3", late, append_ms=NOW_MS - 1)
    assert strict.verdicts() == {"waits": "parked gap"}
    strict.merge_value(
        strict.batch(
            command("first", change(stock(), "name", "set", "oat", 1, replica="store-2.1")),
            replica="store-2.1",
            app_version="@2.0",
        ),
        append_ms=NOW_MS + 1,
    )
    assert strict.verdicts() == {"waits": "accepted", "first": "accepted"}


def test_the_row_says_what_comes_and_no_longer_once_the_device_is_updated(strict: Cloud) -> None:
    at(strict, "1.3", command("c1", count(stock(), 1, 1)), append_ms=NOW_MS - 1)
    strict.fly()
    assert (strict.row().oldest_supported, strict.row().support_ends_ms) == FLOOR
    assert strict.merger.work.unsupported == 0
    at(strict, "1.3", command("c2", count(stock(), 1, 2)))
    assert strict.merger.work.unsupported == 1
    at(strict, "1.4", command("c3", count(stock(), 1, 2)))
    strict.fly()
    assert (strict.row().oldest_supported, strict.row().support_ends_ms) == ("", 0)


def test_another_release_is_still_told_by_its_release_alone(strict: Cloud) -> None:
    """Two versions of the app may declare the same, and what neither allows is rejected."""
    at(strict, "1.4", command("c", change(stock(), "on_hand", "increment", -1, 1)))
    assert strict.verdicts() == {"c": "rejected invalid"}


def test_what_reactions_call_for_has_no_floor() -> None:
    """They name no version, and nobody would send them again."""
    rules = SpaceRules(dataclasses.replace(depot.contract, version="2.0", floors=(FLOOR,)), IDS)
    batch = Batch("retail", 0, REACTION_REPLICA, 1, (), rules.release)
    assert rules.unmet(batch, CLOUD) is None
    assert rules.unmet(dataclasses.replace(batch, replica="store-1.1"), "store-1") == FLOOR


def test_each_group_says_at_its_end_which_versions_are_supported(strict: Cloud) -> None:
    """For whoever only reads: no batch of theirs is ever answered."""
    at(strict, "1.4", command("c1", count(stock(), 1, 1)), command("c2", count(stock("oat"), 1, 1)))
    strict.fly()
    marks = [groups.parse(r.headers) for r in strict.published if r.topic == topics.state_topic("retail")]
    assert [(mark.last, heard(mark.support)) for mark in marks] == [(False, ()), (True, (FLOOR,))]


def test_an_app_that_supports_all_its_versions_says_nothing() -> None:
    cloud = Cloud()
    at(cloud, "1.4", command("c", count(stock(), 1, 1)))
    cloud.fly()
    assert not [r for r in cloud.published if groups.SUPPORT in dict(r.headers)]
