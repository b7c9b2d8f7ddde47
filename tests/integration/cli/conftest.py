"""A shell in an empty folder, with and without servers behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog.testing.servers import RunningBroker
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the commands run."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def alone(place: Path, tmp_path: Path) -> Shell:
    """No broker, no registry, no agent: whatever is asked for is not there."""
    return Shell(
        place,
        bootstrap="127.0.0.1:1",
        registry="http://127.0.0.1:1",
        edge_url="http://127.0.0.1:1",
        schema_cache=str(tmp_path / "schema-cache"),
    )


@pytest.fixture
def shell(place: Path, tmp_path: Path, broker: RunningBroker, registry_url: str) -> Shell:
    """The session's broker and registry; an agent is not there."""
    return Shell(
        place,
        bootstrap=broker.bootstrap,
        registry=registry_url,
        edge_url="http://127.0.0.1:1",
        schema_cache=str(tmp_path / "schema-cache"),
    )


@pytest.fixture
def beside(place: Path, tmp_path: Path, registry_url: str) -> Callable[[LoadRun], Shell]:
    """A shell beside a run: the same app, the same servers."""
    return lambda run: Shell(
        place,
        bootstrap=run.bootstrap,
        registry=registry_url,
        schema_cache=str(tmp_path / "schema-cache"),
        load_space=run.space.name,
        load_partitions=str(run.space.partitions),
    )


@pytest.fixture
def app(shell: Shell, fresh_name: Callable[[str], str]) -> str:
    """A small shop in a space of its own; its topics are not there yet."""
    return shell.declare(fresh_name("retail"), collection=f"Stock_{fresh_name('').strip('-')}")
