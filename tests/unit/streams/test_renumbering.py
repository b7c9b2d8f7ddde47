"""An op topic that counts on behind a lost one, while devices write into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import pytest

from driftlog_schemas.registry import FixedIds
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.replaying import renumbering
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.renumbering import Gap, Renumbering
from tests.unit.streams.cloud import SPACE

RULES = SpaceRules(SPACE, FixedIds())


class Log:
    """One partition of the op topic, and the group's commit in it."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.begins = 0
        self.committed = 0
        self.meanwhile = 0
        """How many records devices write before each delivery of ours."""

    def extent(self, topic: str, partition: int) -> range:
        return range(self.begins, len(self.values))

    def blocks(self, topic: str, partition: int, start: int = 0) -> Iterator[list[ChangelogRecord]]:
        yield [ChangelogRecord(b"", self.values[at], at, ()) for at in range(max(start, self.begins), len(self.values))]

    def deliver(self, records: Sequence[OutRecord]) -> None:
        self.values += [b"a device's"] * self.meanwhile
        self.values += [record.value for record in records]

    def begin(self, topics: object, offsets: Mapping[int, int]) -> None:
        self.committed = offsets[0]

    def forget_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        self.begins = offsets[0]

    @property
    def left(self) -> list[bytes | None]:
        return self.values[self.begins :]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    for name in ("Delivery", "TopicsAdmin", "Commits"):
        monkeypatch.setattr(renumbering, name, lambda *_: made)
    return made


def carried_out(log: Log) -> list[int]:
    told: list[int] = []
    gap = Gap(0, 0, len(log.values), highest=19)
    Renumbering("nowhere", RULES, cast(Logs, log)).carry_out([gap], told.append)
    return told


def test_it_begins_behind_what_was_merged(log: Log) -> None:
    assert carried_out(log) == [20]
    assert (log.begins, log.committed, log.left) == (20, 20, [])


def test_what_devices_have_written_counts_for_the_filling_and_what_lies_behind_stays(log: Log) -> None:
    log.values = [b"a device's"] * 25
    assert carried_out(log) == []
    assert (log.begins, log.committed, len(log.left)) == (20, 20, 5)


def test_none_of_the_filling_is_left_though_devices_write_meanwhile(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renumbering, "AT_ONCE", 8)
    log.meanwhile = 3
    told = carried_out(log)
    assert (log.begins, log.committed) == (22, 22), told
    log.values.append(b"a device's")
    assert log.left == [b"a device's"]


def test_what_a_cut_off_attempt_has_filled_in_too_far_goes_as_well(log: Log) -> None:
    log.values = [None] * 24 + [b"a device's"]
    assert carried_out(log) == []
    assert (log.begins, log.committed, log.left) == (24, 24, [b"a device's"])
