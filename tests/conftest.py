"""Servers for tests: a broker and a schema registry per session, fresh names and topics per test.

`--broker=embedded` (default) runs Kafka from the pinned jars, `--broker=kafka|redpanda` a container where Docker runs,
`--broker=HOST:PORT` uses one that is there. Every test that asks for one of these fixtures carries the mark `broker`.

Properties run 300 examples each; `--hypothesis-profile=nightly` runs 10,000.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import NewTopic
from hypothesis import HealthCheck, settings

from driftlog_infra import EmbeddedBroker, EmbeddedRegistry
from tests.admin_clients import admin_of
from tests.containers import KafkaContainer, RedpandaContainer
from tests.running import RunningBroker

_SERVER_FIXTURES = {"broker", "registry_url", "restartable_broker"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("driftlog")
    group.addoption("--broker", default="embedded", help="embedded (default), kafka, redpanda, or HOST:PORT")
    group.addoption("--seeds", type=int, default=200, help="how many simulated worlds tests/simulation lives through")
    group.addoption("--seed", type=int, default=None, help="only the simulated world of this seed")
    group.addoption("--every-history", action="store_true", help="all small histories of tests/brute_force, not a part")
    group.addoption("--registry", default=None, help="URL of a schema registry; default: one that fits the broker")


_PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("dev", max_examples=300, deadline=None, suppress_health_check=_PATIENT)
settings.register_profile("nightly", max_examples=10_000, deadline=None, suppress_health_check=_PATIENT)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("dev")
    chosen = config.getoption("--broker")
    if chosen not in ("embedded", "kafka", "redpanda") and not chosen.rpartition(":")[2].isdigit():
        raise pytest.UsageError(f"--broker={chosen}: expected embedded, kafka, redpanda, or HOST:PORT")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and _SERVER_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.broker)


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[RunningBroker]:
    """The session's broker; its topics are shared, so take names from `fresh_name`."""
    chosen = request.config.getoption("--broker")
    if chosen == "embedded":
        with EmbeddedBroker() as embedded:
            yield RunningBroker(embedded.bootstrap)
    elif chosen == "kafka":
        with KafkaContainer() as kafka:
            yield RunningBroker(kafka.bootstrap)
    elif chosen == "redpanda":
        with RedpandaContainer() as redpanda:
            yield RunningBroker(redpanda.bootstrap, redpanda.registry_url)
    else:
        yield RunningBroker(chosen)


@pytest.fixture(scope="session")
def registry_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A Confluent-compatible schema registry: the one given, the broker's own, or an embedded one."""
    given = request.config.getoption("--registry")
    if given is None and request.config.getoption("--broker") == "redpanda":
        given = request.getfixturevalue("broker").registry_url
    if given is not None:
        yield given
    else:
        with EmbeddedRegistry() as registry:
            yield registry.url


@pytest.fixture
def restartable_broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    """A broker of this test's own: `stop()` or `kill()` it, then `start()` it on the same port and data."""
    if request.config.getoption("--broker") != "embedded":
        pytest.skip("only the embedded broker can be stopped and started by a test")
    with EmbeddedBroker() as embedded:
        yield embedded


@pytest.fixture
def fresh_name() -> Callable[[str], str]:
    """Makes names (of topics, spaces, groups, subjects) that no other test uses."""
    suffix = uuid.uuid4().hex[:8]
    return lambda name: f"{name}-{suffix}"


@pytest.fixture
def make_topic(broker: RunningBroker, fresh_name: Callable[[str], str]) -> Callable[..., str]:
    """Creates a topic under a fresh name: `make_topic("ops", partitions=4, **settings)`."""
    admin = admin_of(broker.bootstrap)

    def make(name: str = "topic", partitions: int = 1, **settings: str) -> str:
        topic = fresh_name(name)
        config = {key.replace("_", "."): value for key, value in settings.items()}
        for future in admin.create_topics([NewTopic(topic, partitions, 1, config=config)]).values():
            future.result(15)
        return topic

    return make
