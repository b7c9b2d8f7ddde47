from __future__ import annotations

import pytest

from tests.unit.streams.cloud import Cloud


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()
