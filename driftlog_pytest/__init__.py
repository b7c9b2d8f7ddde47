"""The pytest plugin of Driftlog: an app's tests are one fixture away from a real broker.

    driftlog_broker     the session's broker (`.bootstrap`): embedded, or as `--driftlog-broker` says
    driftlog_registry   the URL of a schema registry beside it
    driftlog_cluster    `driftlog_cluster(app)`: topics, schemas, an operator and a merge worker, started once in a session for each app
    driftlog_scope      the name of a scope that no other test uses; what stands in it is this test's own

pytest imports this module in every run where Driftlog is installed, so it imports nothing of Driftlog: the fixtures do, when they are asked for. With
pytest-xdist each process has servers of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from driftlog import App
    from driftlog.testing.cluster import Cluster
    from driftlog.testing.servers import RunningBroker


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("driftlog")
    group.addoption(
        "--driftlog-broker",
        default="embedded",
        metavar="KIND",
        help="embedded (default), kafka, redpanda, or HOST:PORT",
    )
    group.addoption(
        "--driftlog-registry", metavar="URL", help="URL of a schema registry; default: one that fits the broker"
    )


@pytest.fixture(scope="session")
def driftlog_broker(request: pytest.FixtureRequest) -> Iterator[RunningBroker]:
    """The session's broker."""
    from driftlog.testing.servers import NoServers, is_a_choice, running_broker

    chosen = request.config.getoption("--driftlog-broker")
    if not is_a_choice(chosen):
        pytest.fail(f"--driftlog-broker={chosen}: expected embedded, kafka, redpanda, or HOST:PORT", pytrace=False)
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(running_broker(chosen))
        except NoServers as error:
            pytest.fail(str(error), pytrace=False)
        yield broker


@pytest.fixture(scope="session")
def driftlog_registry(request: pytest.FixtureRequest, driftlog_broker: RunningBroker) -> Iterator[str]:
    """The URL of a schema registry: the one given, the broker's own, or an embedded one."""
    from driftlog.testing.servers import NoServers, running_registry

    given = request.config.getoption("--driftlog-registry")
    with ExitStack() as stack:
        try:
            url = stack.enter_context(running_registry(given or driftlog_broker.registry_url))
        except NoServers as error:
            pytest.fail(str(error), pytrace=False)
        yield url


@pytest.fixture(scope="session")
def driftlog_cluster(
    request: pytest.FixtureRequest,
    driftlog_broker: RunningBroker,
    driftlog_registry: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[App | str], Cluster]]:
    """Makes the cluster of an app, or of `module:app`; the same one all through the session."""
    from driftlog.cli.extras import missing

    if lacking := missing("edge", "streams"):
        pytest.fail(
            f'a cluster needs {lacking}, which is not installed: pip install "driftlog[edge,streams]"', pytrace=False
        )
    from driftlog.testing.cluster import Cluster, place_of

    clusters: dict[str, Cluster] = {}
    with ExitStack() as stack:

        def cluster_of(app: App | str) -> Cluster:
            place = app if isinstance(app, str) else place_of(app)
            if place not in clusters:
                folder = tmp_path_factory.mktemp("driftlog")
                made = Cluster(app, driftlog_broker.bootstrap, driftlog_registry, folder, request.config.rootpath)
                clusters[place] = stack.enter_context(made)
            return clusters[place]

        yield cluster_of


@pytest.fixture
def driftlog_scope() -> str:
    """The name of a scope that no other test uses."""
    return f"scope-{uuid.uuid4().hex[:8]}"
