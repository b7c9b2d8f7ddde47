"""Where a partition begins and ends, asked of a cluster in which it is just being made or moved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from tenacity import wait_none

from driftlog_schemas.digests import Versions
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.registry import FixedIds
from driftlog_streams.reading import state_digests
from driftlog_streams.reading.offsets import watermarks
from driftlog_streams.reading.topic_reading import MOVING, extent


class Asked:
    """A consumer that is refused with these codes first."""

    def __init__(self, *refusals: int) -> None:
        self.refusals = [*refusals]

    def get_watermark_offsets(self, place: object, timeout: float) -> tuple[int, int]:
        if self.refusals:
            raise KafkaException(KafkaError(self.refusals.pop(0)))
        return 3, 7

    def list_topics(self, topic: str, timeout: float) -> None:
        pass


class Leaderless(Asked):
    """As librdkafka: told that nobody leads a partition, it asks nobody until it has looked once more who does."""

    looked = 0

    def get_watermark_offsets(self, place: object, timeout: float) -> tuple[int, int]:
        if not self.looked:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        return 3, 7

    def list_topics(self, topic: str, timeout: float) -> None:
        self.looked += 1


def test_who_leads_it_is_asked_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cast(Any, extent).retry, "wait", wait_none())
    asked = Asked(*MOVING)
    assert extent(cast(Any, asked), "t", 0) == (3, 7)


def test_whatever_else_is_wrong_is_said_at_once() -> None:
    asked = Asked(KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        extent(cast(Any, asked), "t", 0)
    assert len(asked.refusals) == 1


def test_a_client_that_knows_of_no_leader_looks_whether_there_is_one_by_now() -> None:
    asked = Leaderless()
    assert watermarks(cast(Any, asked), "t", 0, 1.0) == (3, 7)
    assert watermarks(cast(Any, asked), "t", 0, 1.0) == (3, 7)
    assert asked.looked == 1, "and asks no more than it must"


def test_nobody_answers_in_time() -> None:
    silent = Asked()
    silent.get_watermark_offsets = lambda place, timeout: None  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(KafkaException, match="_TIMED_OUT"):
        watermarks(cast(Any, silent), "t", 0, 1.0)


def test_who_counts_anew_says_that_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = SimpleNamespace(assign=lambda places: None, get_watermark_offsets=lambda place, timeout: None)
    monkeypatch.setattr(state_digests, "plain_reader", lambda *_: silent)
    counting = state_digests.StateDigests("nowhere", Versions(FixedIds()), "t", 0)
    with pytest.raises(BrokerUnreachable, match="t cannot be read"):
        counting.end()
