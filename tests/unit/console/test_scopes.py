"""Which scopes there are is asked of each generation that is in force."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_console import scopes
from driftlog_console.scopes import ScopesSeen
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.identity import DocumentId, document_key


class Topics:
    """Each topic has one document, of a scope called so."""

    def __init__(self, kafka: object) -> None:
        pass

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 1)

    def records(self, topic: str, partition: int, offsets: range) -> list[Any]:
        return [SimpleNamespace(key=document_key(DocumentId("Stock", f"{topic} {partition}", "tea"))) for _ in offsets]


def test_a_scope_that_only_the_next_generation_has_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "ChangelogReader", Topics)
    seen = ScopesSeen(KafkaSettings(), {"retail": 2})
    assert seen.look() == ["retail.state 0", "retail.state 1"]
    seen.read("retail", 2)
    seen.read("retail", 2)
    assert seen.look() == ["retail.state 0", "retail.state 1", "retail.state.g2 0", "retail.state.g2 1"]
