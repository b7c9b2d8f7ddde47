"""Which scopes there are is asked of each generation that is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftlog_console import scopes
from driftlog_console import server as console
from driftlog_console.errors import NothingToShow
from driftlog_console.scopes import ScopesSeen
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_streams.errors import RecoveryFailed


class Topics:
    """Each topic has one document, of a scope called so."""

    def __init__(self, kafka: object) -> None:
        pass

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 1)

    def records(self, topic: str, partition: int, offsets: range) -> list[Any]:
        return [SimpleNamespace(key=document_key(DocumentId("Stock", f"{topic} {partition}", "tea"))) for _ in offsets]


def test_a_broker_that_does_not_answer_is_said_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "ChangelogReader", Topics)
    seen = ScopesSeen(KafkaSettings(), {"retail": 1})
    with monkeypatch.context() as away:

        def silent(self: Topics, places: object) -> dict[tuple[str, int], int]:
            raise TimeoutError

        away.setattr(Topics, "ends", silent)
        with pytest.raises(RecoveryFailed, match="does not answer"):
            seen.look()
    assert seen.look() == ["retail.state 0"]


async def test_partitions_that_have_no_leader_yet_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after topics were made."""
    monkeypatch.setattr(scopes, "ChangelogReader", Topics)
    seen = ScopesSeen(KafkaSettings(), {"retail": 1})
    refusals = [KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))] * 2
    good = Topics.ends

    def leaderless(self: Topics, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        if refusals:
            raise refusals.pop()
        return good(self, places)

    monkeypatch.setattr(Topics, "ends", leaderless)
    assert await console._scopes(seen) == ["retail.state 0"]
    assert not refusals


async def test_what_another_moment_does_not_mend_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "ChangelogReader", Topics)
    seen = ScopesSeen(KafkaSettings(), {"retail": 1})
    asked: list[object] = []

    def refused(self: Topics, places: object) -> dict[tuple[str, int], int]:
        asked.append(places)
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    monkeypatch.setattr(Topics, "ends", refused)
    with pytest.raises(NothingToShow, match="cannot be read"):
        await console._scopes(seen)
    assert len(asked) == 1


def test_a_scope_that_only_the_next_generation_has_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "ChangelogReader", Topics)
    seen = ScopesSeen(KafkaSettings(), {"retail": 2})
    assert seen.look() == ["retail.state 0", "retail.state 1"]
    seen.read("retail", 2, 2)
    seen.read("retail", 2, 2)
    assert seen.look() == ["retail.state 0", "retail.state 1", "retail.state.g2 0", "retail.state.g2 1"]


def test_a_scope_that_is_only_where_the_space_goes_on_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "ChangelogReader", Topics)
    seen = ScopesSeen(KafkaSettings(), {"retail": 1})
    seen.read("retail.p2", 1, 2)
    assert seen.look() == ["retail.p2.state 0", "retail.p2.state 1", "retail.state 0"]


async def test_a_console_ends_when_its_agent_has_followed_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LOOK_SECONDS", 0.01)
    there = SimpleNamespace(present=object())
    server = SimpleNamespace(should_exit=False)
    leaving = asyncio.create_task(console._leave_behind(there, there.present, server))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not server.should_exit and not leaving.done()
    there.present = object()
    await asyncio.wait_for(leaving, 60)
    assert server.should_exit
