"""Servers for tests: a broker and a schema registry per session, fresh names and topics per test.

`--broker=embedded` (default) runs Kafka from the pinned jars, `--broker=kafka|redpanda` a container where Docker runs,
`--broker=HOST:PORT` uses one that is there. Every test that asks for one of these fixtures carries the mark `broker`.

How deep a run goes is a matter of its options: as they are, a law draws few examples and the same ones each time, and long runs are
short; `--full` takes their whole length, and `--hypothesis-profile=nightly` draws 10,000 examples. `--depth` says which tests are taken (see `depth`).

Several processes (`-n 4 --dist loadfile --no-loadscope-reorder`) take a file after the other, those with servers first, each on a broker of its own:
they mostly wait. What only computes is niced, so that real processes meet their clocks, and has a process of its own (see `spread`).
"""

from __future__ import annotations

import gc
import inspect
import math
import os
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import NewTopic
from hypothesis import HealthCheck, settings

from driftlog.testing.servers import RunningBroker, is_a_choice, running_broker, running_registry
from driftlog_infra import EmbeddedBroker
from tests.admin_clients import admin_of, delete_all_topics
from tests.depth import ALL, BOTH, CHOICES, USUAL, Depth
from tests.sudden_ends import tell_of_them

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from tests.spread import ServersApart

_SERVER_FIXTURES = {"broker", "registry_url", "restartable_broker", "empty_broker"}
_UNIT = Path(__file__).parent / "unit"
_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
_NICED = 5
_WAITING = pytest.StashKey[set[Path]]()
"""The files whose tests have servers."""
_ENDS = pytest.StashKey[float]()
"""When no further test begins."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("driftlog")
    group.addoption("--broker", default="embedded", help="embedded (default), kafka, redpanda, or HOST:PORT")
    group.addoption("--full", action="store_true", help="everything in its whole length (hours)")
    group.addoption(
        "--depth",
        default=ALL,
        choices=CHOICES,
        help="usual: without the tests marked deep; deep: those alone; all (default)",
    )
    group.addoption(
        "--seeds", type=int, help="how many simulated worlds tests/simulation lives through: 40, or 200 with --full"
    )
    group.addoption("--seed", type=int, default=None, help="only the simulated world of this seed")
    group.addoption("--minutes", type=float, help="begin no test after so many minutes")
    group.addoption("--every-history", action="store_true", help="all small histories of tests/brute_force, not a part")
    group.addoption("--part", default="1/1", help="of the small histories only this part, for example 2/5")
    group.addoption("--share", help="of the quick tests only the files of this share, for example 1/2")
    group.addoption("--book", help="a file of the small histories that were played: those are not played again")
    group.addoption("--registry", default=None, help="URL of a schema registry; default: one that fits the broker")


_PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("quick", max_examples=6, deadline=None, derandomize=True, suppress_health_check=_PATIENT)
settings.register_profile("shorter", max_examples=25, deadline=None, derandomize=True, suppress_health_check=_PATIENT)
settings.register_profile("usual", max_examples=60, deadline=None, derandomize=True, suppress_health_check=_PATIENT)
settings.register_profile("full", max_examples=300, deadline=None, suppress_health_check=_PATIENT)
settings.register_profile("nightly", max_examples=10_000, deadline=None, suppress_health_check=_PATIENT)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile"):
        usual = "shorter" if config.getoption("--depth") == USUAL else "usual"
        settings.load_profile("full" if config.getoption("--full") else usual)
    tell_of_them()
    chosen = config.getoption("--broker")
    if not is_a_choice(chosen):
        raise pytest.UsageError(f"--broker={chosen}: expected embedded, kafka, redpanda, or HOST:PORT")
    config.pluginmanager.register(Depth(config.getoption("--depth")), "driftlog-depth")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ServersApart | None:
    """Of several processes the last has no server."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.spread import ServersApart

    return ServersApart(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController, error: object | None) -> None:
    """How a process that is lost has ended is told at once."""
    if error is not None:
        from tests.spread import how_it_ended

        print(f"\n{node.gateway.id} {how_it_ended(node.gateway._io.popen)}")  # noqa: T201  # to who watches the run


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that are in another process's share."""
    given = config.getoption("--share")
    if given is None or not collection_path.name.startswith("test_"):
        return None
    from tests.quick import of_the_share

    return collection_path not in of_the_share(given) or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing of what is collected goes away, so nobody looks for what may: that took a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        _draw_no_more_than_the_profile(item)
        unit = item.path.is_relative_to(_UNIT)  # what is called a broker there is `fake_kafka`
        if isinstance(item, pytest.Function) and _SERVER_FIXTURES & set(item.fixturenames) and not unit:
            item.add_marker(pytest.mark.broker)
    if _SEVERAL:
        config.stash[_WAITING] = waiting = {item.path for item in items if item.get_closest_marker("broker")}
        long = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (item.path not in waiting, item.path not in long))


def _draw_no_more_than_the_profile(item: pytest.Item) -> None:
    """A number of examples that a test names itself is meant for the deep runs. Whatever draws examples draws more of them there."""
    test = getattr(item, "obj", None)
    if getattr(test, "is_hypothesis_test", False) and inspect.isfunction(test):
        item.add_marker(BOTH)
        own = (
            test._hypothesis_internal_use_settings
        )  # a test is decorated with settings once: there is no public way to give it others
        most = settings.default.max_examples
        if own.max_examples > most:
            test._hypothesis_internal_use_settings = settings(own, max_examples=most)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is there now stays to the end; a collection of garbage need not look at it again."""
    minutes = session.config.getoption("--minutes")
    session.stash[_ENDS] = math.inf if minutes is None else time.monotonic() + minutes * 60
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What only computes gives way to who has a server."""
    if time.monotonic() > item.session.stash[_ENDS]:
        pytest.skip("the minutes of this run are over")
    if _SEVERAL and item.path not in item.config.stash[_WAITING]:
        os.setpriority(os.PRIO_PROCESS, 0, _NICED)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Is this run to be as deep as can be?"""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def deep(request: pytest.FixtureRequest) -> bool:
    """Is a test marked `deepens` to be as long as in `make deeper`? It is, unless this is `make test`."""
    return bool(request.config.getoption("--depth") != USUAL)


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[RunningBroker]:
    """The session's broker; its topics are shared, so take names from `fresh_name`."""
    with running_broker(request.config.getoption("--broker")) as running:
        yield running


@pytest.fixture(scope="session")
def registry_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A Confluent-compatible schema registry: the one given, the broker's own, or an embedded one."""
    given = request.config.getoption("--registry")
    own = request.getfixturevalue("broker").registry_url if request.config.getoption("--broker") == "redpanda" else None
    with running_registry(given or own) as url:
        yield url


@pytest.fixture
def restartable_broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    """A broker of this test's own: `stop()` or `kill()` it, then `start()` it on the same port and data."""
    if request.config.getoption("--broker") != "embedded":
        pytest.skip("only the embedded broker can be stopped and started by a test")
    with EmbeddedBroker() as embedded:
        yield embedded


@pytest.fixture(scope="module")
def _lasting_broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    if request.config.getoption("--broker") != "embedded":
        pytest.skip("only of the embedded broker all topics may be deleted")
    with EmbeddedBroker() as embedded:
        yield embedded


@pytest.fixture
def empty_broker(_lasting_broker: EmbeddedBroker) -> EmbeddedBroker:
    """A broker without topics that goes on running: a file's tests have it one after the other, since a start costs seconds of computing."""
    delete_all_topics(_lasting_broker.bootstrap)
    return _lasting_broker


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
