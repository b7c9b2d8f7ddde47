"""A projection follows the generation in force, and says so when that is another one by now."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.moves import Moved
from driftlog_streams.projections import following
from driftlog_streams.projections.errors import REBUILD, PositionLost
from driftlog_streams.projections.following import StateLog


class Client:
    """A consumer, or who asks for ends: there is nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.asked: list[Any] = []

    def consume(self, limit: int, seconds: float) -> list[Any]:
        return []

    def topic_id(self, topic: str) -> str:
        return f"the id of {topic}"


def test_another_generation_ends_it_and_the_next_run_follows_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "plain_reader", Client)
    monkeypatch.setattr(following, "ChangelogReader", Client)
    now = {"retail": 1}
    log = StateLog(KafkaSettings(), "retail", lambda: now["retail"])
    assert log.topic == "retail.state" and log.read(0.0) == []
    now["retail"] = 2
    with pytest.raises(
        PositionLost, match=r"generation 2 of retail is in force, and retail\.state was followed"
    ) as lost:
        log.read(0.0)
    assert lost.value.remedy == REBUILD
    heir = StateLog(KafkaSettings(), "retail", lambda: now["retail"])
    assert heir.read(0.0) == [] and heir.topic_id() == "the id of retail.state.g2"


def test_a_space_that_goes_on_in_other_topics_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "plain_reader", Client)
    monkeypatch.setattr(following, "ChangelogReader", Client)
    moved: dict[str, Moved] = {}
    log = StateLog(KafkaSettings(), "retail", elsewhere=lambda: "retail" in moved)
    assert log.read(0.0) == []
    moved["retail"] = Moved(2, 7, 9, (0, 0))
    with pytest.raises(PositionLost, match="retail goes on with another number of partitions") as lost:
        log.read(0.0)
    assert lost.value.remedy == REBUILD
