"""A PostgreSQL for the projections' tests, and shops on the session's broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftlog.testing.servers import RunningBroker
from driftlog_infra import EmbeddedPostgres
from tests.integration.projections.shop import STOCK, Shop


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """Shared; each shop has a schema of its own."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture
def make_shop(
    broker: RunningBroker, registry_url: str, fresh_name: Callable[[str], str], tmp_path: Path
) -> Callable[..., Shop]:
    """Makes a shop: `make_shop(source)`."""
    return lambda source=STOCK: Shop(
        tmp_path, broker.bootstrap, registry_url, fresh_name("shop").replace("-", "_"), source
    )
