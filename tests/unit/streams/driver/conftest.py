from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_kafka.broker import Broker
from tests.unit.streams.driver.life import Lives


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
async def lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Lives]:
    """Worker processes over one broker."""
    made = Lives(monkeypatch, tmp_path)
    yield made
    await made.end()
