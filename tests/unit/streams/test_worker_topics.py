"""What must be there before a worker starts: what its spaces have, also where they have moved to another number of partitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from driftlog_schemas.errors import TopicProblem
from driftlog_schemas.topics import DEVICES, Topic, space_topics
from driftlog_streams.process import worker
from tests.unit.streams.cloud import SPACE

THREE = replace(SPACE, partitions=3)


class Admin:
    """A cluster with these topics."""

    def __init__(self, there: dict[str, int]) -> None:
        self.there = there

    def partition_counts(self) -> dict[str, int]:
        return self.there

    def require(self, wanted: Sequence[Topic]) -> None:
        wrong = [topic.name for topic in wanted if self.there.get(topic.name) != topic.partitions]
        if wrong:
            raise TopicProblem(wrong[0], "")


def there(name: str, partitions: int) -> dict[str, int]:
    return {topic.name: topic.partitions for topic in space_topics(name, partitions)}


def test_it_has_as_many_partitions_as_where_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {DEVICES: 1} | there("retail", 3)
    monkeypatch.setattr(worker, "TopicsAdmin", lambda *_, **__: Admin(known))
    assert worker.check_topics([THREE], "", 0.1) == {"retail": 3}
    seven = replace(SPACE, partitions=7)
    with pytest.raises(TopicProblem, match=r"retail\.ops"):
        worker.check_topics([seven], "", 0.1)
    known.update(there("retail.p2", 7))
    for declared in (THREE, seven):
        assert worker.check_topics([declared], "", 0.1) == {"retail": 7}, "the app may declare what it has now, or had"
    known["retail.p2.parked"] = 3
    with pytest.raises(TopicProblem, match=r"retail\.p2\.parked"):
        worker.check_topics([THREE], "", 0.1)
