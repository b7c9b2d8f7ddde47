"""Somebody else writes into a partition that we own: it is noticed, and our word is the last again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from driftlog_schemas import topics
from driftlog_streams.core.changelog_watch import ChangelogWatch
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver import mender as mending
from driftlog_streams.faust_driver.mender import Mender
from tests.unit.streams.cloud import Cloud, command, count, key, stock

STATES = topics.state_topic("retail")


@pytest.fixture
def watch() -> ChangelogWatch:
    made = ChangelogWatch()
    made.own(0, 10)
    return made


def test_our_own_records_are_no_news(watch: ChangelogWatch) -> None:
    assert watch.published(0, 3, 12) is None
    assert watch.published(0, 1, 13) is None
    assert watch.ended(0, 14) is None


def test_a_stranger_among_ours_has_the_range_read_again(watch: ChangelogWatch) -> None:
    assert watch.published(0, 2, 12) == range(10, 13)
    assert watch.published(0, 1, 13) is None


def test_a_stranger_after_ours_is_seen_at_rest(watch: ChangelogWatch) -> None:
    assert watch.published(0, 1, 10) is None
    assert watch.behind(0, 13)
    assert watch.ended(0, 13) == range(11, 13)
    assert not watch.behind(0, 13) and watch.ended(0, 13) is None


def test_what_is_not_owned_is_not_watched(watch: ChangelogWatch) -> None:
    assert watch.ended(7, 100) is None
    watch.forget()
    assert watch.ended(0, 100) is None


def two_states(cloud: Cloud) -> tuple[bytes, bytes]:
    """An older and the present state record of the same document."""
    for seq in (1, 2):
        cloud.merge(command(f"c{seq}", count(stock(), 5, seq)))
        cloud.fly()
    older, newer = [r.value for r in cloud.published if r.topic == STATES]
    assert older is not None and newer is not None
    return older, newer


def test_an_older_state_is_answered_with_ours(cloud: Cloud) -> None:
    older, newer = two_states(cloud)
    cloud.merger.heard(key(stock()), older)
    cloud.fly()
    last = [r for r in cloud.published if r.topic == STATES][-1]
    assert (last.key, last.value) == (key(stock()), newer)
    assert dict(last.headers)["driftlog.last"] == b"1"


def test_what_has_seen_all_of_ours_is_left_alone(cloud: Cloud) -> None:
    _, newer = two_states(cloud)
    cloud.merger.heard(key(stock()), newer)
    assert cloud.merger.work.empty


@pytest.mark.parametrize("value", [None, b"", b"\x00noise"])
def test_a_tombstone_or_noise_over_ours_is_answered_too(cloud: Cloud, value: bytes | None) -> None:
    _, newer = two_states(cloud)
    cloud.merger.heard(key(stock()), value)
    cloud.fly()
    assert [r for r in cloud.published if r.topic == STATES][-1].value == newer


def test_records_of_nothing_we_know_are_passed_over(cloud: Cloud) -> None:
    two_states(cloud)
    for strange in (b"no document", b"Gone/s1/tea", key(stock("never seen"))):
        cloud.merger.heard(strange, None)
    assert cloud.merger.work.empty


class Topic:
    """A state topic of one partition that somebody else writes into."""

    def __init__(self) -> None:
        self.end = 0
        self.words: dict[bytes, bytes | None] = {}
        self.failures = 0
        self.read: list[range] = []

    def ends(self, partitions: list[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, self.end)

    def last_words(self, partition: int, offsets: range) -> dict[bytes, bytes | None]:
        if self.failures:
            self.failures -= 1
            raise RecoveryFailed("the broker is away")
        self.read.append(offsets)
        return self.words


async def run_until(mender: Mender, fact: Callable[[], bool]) -> None:
    running = asyncio.create_task(mender.run())
    for _ in range(1000):
        if fact():
            break
        await asyncio.sleep(0.01)
    running.cancel()
    assert fact()


@pytest.mark.parametrize("failures", [0, 2])
async def test_the_mender_looks_at_rest_and_keeps_what_it_could_not_read(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.02)
    older, newer = two_states(cloud)
    topic, told = Topic(), list[int]()
    mender = Mender(topic, quiet=lambda: True, mended=told.append)
    mender.own({0: cloud.merger}, {0: 2})
    topic.end, topic.words, topic.failures = 3, {key(stock()): older}, failures

    await run_until(mender, lambda: bool(told))

    assert (told, topic.read) == ([1], [range(2, 3)])
    cloud.fly()
    assert [r for r in cloud.published if r.topic == STATES][-1].value == newer


async def test_the_mender_asks_nothing_while_flights_are_under_way(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.01)
    topic, rounds = Topic(), list[bool]()
    mender = Mender(topic, quiet=lambda: bool(rounds.append(True)), mended=lambda count: None)
    mender.own({0: cloud.merger}, {0: 0})
    topic.end = 5
    await run_until(mender, lambda: len(rounds) > 3)
    assert topic.read == []
    mender.published(0, 1, 4)
    await run_until(mender, lambda: bool(topic.read))
    assert topic.read == [range(5)]
