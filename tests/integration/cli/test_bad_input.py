"""What cannot be done is told in one line that says what and how to mend it, exit 1, and nothing has changed.

First without any server (most mistakes are made before one is reached), then on a real broker and registry.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driftlog.testing.servers import RunningBroker
from driftlog_schemas.signing import Identity
from driftlog_schemas.state_codec import namespace
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.admin_clients import admin_of
from tests.integration.cli.shell import Shell

NO_BROKER = ("no Kafka broker answers at 127.0.0.1:1", "--bootstrap", "driftlog broker up")
NO_REGISTRY = ("schema registry http://127.0.0.1:1 does not answer", "--registry")
NO_AGENT = ("agent answers at http://127.0.0.1:1", "driftlog edge run")


@pytest.fixture
def stocked(alone: Shell) -> Shell:
    """A folder with modules, identities and settings, good and bad."""
    alone.declare("retail", module="shop")
    write = alone.folder.joinpath
    write("broken.py").write_text("import json\nx = 1 / 0\n")
    write("unfinished.py").write_text("def f(:\n")
    write("needy.py").write_text("import no_such_package\n")
    write("empty.py").write_text("x = 1\n")
    write("quitter.py").write_text("raise SystemExit\n")
    write("bad_field.py").write_text(
        "from driftlog import App, Counter, Document\napp = App('shop')\nspace = app.space('retail')\n"
        "@space.collection(scope='store', id='sku')\nclass Stock(Document):\n    store: str\n    on_hand: Counter\n"
    )
    Identity.create("store-1").save(write("store-1.json"))
    write("foreign.json").write_text("{}")
    write("foreign.json").chmod(0o600)
    Identity.create("store-1").save(write("open.json"))
    write("open.json").chmod(0o644)
    good = {"data_dir": "replica", "identity": "store-1.json", "scopes": ["s1"], "http_port": 1}
    for name, changed in {
        "good": {},
        "unknown_key": {"colour": "red"},
        "wrong_type": {"http_port": "many"},
        "out_of_range": {"http_port": 70000},
        "no_scopes": {"scopes": []},
        "bad_durability": {"durability": "perhaps"},
        "no_identity": {"identity": "nobody.json"},
        "foreign_identity": {"identity": "foreign.json"},
        "open_identity": {"identity": "open.json"},
        "no_folder": {"data_dir": "shop.py/replica"},
    }.items():
        settings = {**good, "http_port": 0, **changed}
        write(f"{name}.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    write("missing_key.toml").write_text('identity = "store-1.json"\n')
    write("not_toml.toml").write_text("nonsense\n")
    write("not_text.toml").write_bytes(b'data_dir = "\xff"\n')
    return alone


NOBODY_ANSWERED = 75
"""How a worker ends that has waited in vain: whoever starts it may do so again (see docs/exit_codes.md)."""
SHOP = ("--app", "shop:app")
EDGE = ("edge", "run", *SHOP, "--config")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        # an app that cannot be loaded
        (("topics", "plan", "--app", "shop"), ("'shop' does not name an app", "MODULE:ATTRIBUTE")),
        (("topics", "plan", "--app", "nowhere:app"), ("no module 'nowhere'", "run in its folder")),
        (
            ("topics", "apply", "--app", "broken:app"),
            ("'broken'", "ZeroDivisionError", "broken.py:2", "mend that line"),
        ),
        (("schemas", "check", "--app", "unfinished:app"), ("'unfinished'", "SyntaxError", "unfinished.py")),
        (("schemas", "register", "--app", "needy:app"), ("'needy'", "no_such_package", "install")),
        (("worker", "--app", "empty:app"), ("'empty'", "'app'", 'App("shop")')),
        (("worker", "--app", "quitter:app"), ("'quitter'", "SystemExit", "quitter.py:1")),
        (("worker", "--app", "shop:retail"), ("'retail'", "write shop:app")),
        (("edge", "run", "--app", "shop:nothing"), ("'nothing'", "write shop:app")),
        (("conflicts", "list", "--app", "bad_field:app"), ("'bad_field'", "Stock", "sku")),
        (("worker", *SHOP, "--space", "garden"), ("'garden'", "it has retail", "--space")),
        # no broker, no registry, no agent
        (("topics", "plan", *SHOP), NO_BROKER),
        (("topics", "apply", *SHOP), NO_BROKER),
        (("worker", *SHOP, "--wait", "1s"), NO_BROKER),
        (("devices", "list"), NO_REGISTRY),
        (("devices", "enrol", "store-2"), NO_REGISTRY),
        (("conflicts", "list", *SHOP), NO_BROKER),
        (("schemas", "check", *SHOP), NO_REGISTRY),
        (("schemas", "register", *SHOP), NO_REGISTRY),
        (("schemas", "check", *SHOP, "--registry", "nonsense"), ("nonsense", "--registry")),
        (("edge", "status"), NO_AGENT),
        (("edge", "get", "Stock", "s1", "tea"), NO_AGENT),
        (("edge", "do", "receive", "store=s1"), NO_AGENT),
        (("edge", "pending"), NO_AGENT),
        (("edge", "watch"), NO_AGENT),
        (("edge", "offline"), NO_AGENT),
        (("edge", "online"), NO_AGENT),
        (("edge", "status", "--url", "nonsense"), ("nonsense", "--url")),
        (("edge", "status", "--url", "http://[::1"), ("http://[::1", "--url")),
        (("conflicts", "resolve", "abc", "--accept"), NO_AGENT),
        (("conflicts", "resolve", "abc", "--accept", "--edge", "nonsense"), ("nonsense", "--edge")),
        # an agent's settings
        (("edge", "run", *SHOP), ("data_dir", "--config")),
        ((*EDGE, "nowhere.toml"), ("nowhere.toml", "--config")),
        ((*EDGE, "."), ("Is a directory", "--config")),
        ((*EDGE, "not_toml.toml"), ("not_toml.toml", "line 1")),
        ((*EDGE, "not_text.toml"), ("not_text.toml", "not TOML")),
        ((*EDGE, "missing_key.toml"), ("data_dir", "missing_key.toml")),
        ((*EDGE, "unknown_key.toml"), ("colour", "unknown_key.toml")),
        ((*EDGE, "wrong_type.toml"), ("http_port", "integer", "wrong_type.toml")),
        ((*EDGE, "out_of_range.toml"), ("http_port", "65535")),
        ((*EDGE, "no_scopes.toml"), ("scopes",)),
        ((*EDGE, "bad_durability.toml"), ("durability", "'disk' or 'os'")),
        ((*EDGE, "no_identity.toml"), ("nobody.json does not exist", "driftlog devices enrol")),
        ((*EDGE, "foreign_identity.toml"), ("foreign.json", "device_id is missing")),
        ((*EDGE, "open_identity.toml"), ("open.json can be read by every user", "chmod 600")),
        ((*EDGE, "no_folder.toml"), ("shop.py/replica", "data_dir")),
        (("worker", *SHOP, "--wait", "0s"), NO_BROKER),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0].islower() else "",
)
def test_what_cannot_be_done_is_told_in_one_line(stocked: Shell, words: tuple[str, ...], told: tuple[str, ...]) -> None:
    before = stocked.contents()
    ended = stocked.run(*words)
    ended.assert_one_line(NOBODY_ANSWERED if words[0] == "worker" and told is NO_BROKER else 1, *told)
    assert ended.out == ""
    assert stocked.contents() == before


def test_a_wrong_setting_in_the_environment_is_named(stocked: Shell) -> None:
    stocked.run(*EDGE, "good.toml", http_port="many").assert_one_line(1, "http_port", "integer")
    stocked.run("worker", *SHOP, workers="many").assert_one_line(2, "DRIFTLOG_WORKERS")


def test_a_port_that_is_taken_is_told_before_anything_is_opened(stocked: Shell) -> None:
    before = stocked.contents()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        stocked.run(*EDGE, "good.toml", "--http-port", port).assert_one_line(1, port, "--http-port")
        stocked.run("worker", *SHOP, "--metrics-address", port).assert_one_line(1, port, "--metrics-address")
        broker = stocked.run("broker", "up", "--port", port, "--data", "servers")
        broker.assert_one_line(1, port, "--port")
    after = stocked.contents()
    assert {name for name in after if not name.startswith("servers/")} == set(before)


class Busy:
    """A process that is left running; `await_line` returns when its log or its answer shows that it is up."""

    def __init__(self, shell: Shell, log: Path, *words: str) -> None:
        self.log = log
        self._process = shell.start(*words, log=log)

    def await_(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not ready():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def __enter__(self) -> Busy:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(40)


def test_a_replica_that_another_agent_holds_is_left_to_it(stocked: Shell, tmp_path: Path) -> None:
    with Busy(stocked, tmp_path / "edge.log", *EDGE, "good.toml") as holder:
        holder.await_((stocked.folder / "replica" / "LOCK").exists)
        ended = stocked.run(*EDGE, "good.toml")
        ended.assert_one_line(1, "replica is held by another process", "data_dir")


# -- with a broker and a registry


@pytest.fixture
def cluster(broker: RunningBroker) -> Callable[[], dict[str, int]]:
    """Topic -> partitions, now."""
    return lambda: TopicsAdmin(broker.bootstrap).partition_counts()


def settings_of(broker: RunningBroker, topic: str) -> dict[str, str]:
    return dict(TopicsAdmin(broker.bootstrap).existing([topic])[topic].settings)


@pytest.fixture
def applied(shell: Shell, app: str) -> str:
    """The app, with its topics and schemas."""
    shell.run("topics", "apply", "--app", app).assert_done()
    return app


def space_of(shell: Shell, app: str) -> str:
    text = (shell.folder / f"{app.partition(':')[0]}.py").read_text()
    return text.partition("app.space('")[2].partition("'")[0]


@pytest.mark.broker
@pytest.mark.parametrize("words", [("topics", "plan"), ("topics", "apply"), ("worker", "--wait", "1s")], ids=" ".join)
def test_another_partition_count_is_refused_and_nothing_is_touched(
    shell: Shell, applied: str, cluster: Callable[[], dict[str, int]], words: tuple[str, ...]
) -> None:
    app = shell.declare(space_of(shell, applied), module="wider", partitions=5, collection="Shelf")
    before, files = cluster(), shell.contents()
    ended = shell.run(*words, "--app", app)
    ended.assert_one_line(1, "has 2 partitions, the app declares 5", "declare partitions=2")
    assert cluster() == before
    assert shell.contents() == files


@pytest.mark.broker
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("worker", "--wait", "1s"), ("does not exist", "driftlog topics apply")),
        (("conflicts", "list"), ("does not exist", "driftlog topics apply")),
        (("topics", "apply", "--registry", "http://127.0.0.1:1"), NO_REGISTRY),
        (("topics", "apply", "--replication", "9"), ("the broker refuses to make topic", "replicat")),
    ],
    ids=lambda value: " ".join(value) if value[0].islower() else "",
)
def test_an_app_without_topics_gets_none_by_a_failure(
    shell: Shell, app: str, cluster: Callable[[], dict[str, int]], words: tuple[str, ...], told: tuple[str, ...]
) -> None:
    files = shell.contents()
    shell.run(*words, "--app", app).assert_one_line(1, *told)
    assert not [name for name in cluster() if name.startswith(space_of(shell, app))]
    assert shell.contents() == files


@pytest.mark.broker
def test_a_schema_that_breaks_readers_is_refused_before_anything_is_changed(
    shell: Shell, applied: str, cluster: Callable[[], dict[str, int]], broker: RunningBroker
) -> None:
    text = (shell.folder / f"{applied.partition(':')[0]}.py").read_text()
    collection = text.partition("class ")[2].partition("(")[0]
    space = space_of(shell, applied)
    breaking = shell.declare(space, module="breaking", collection=collection, price="str", default="''")
    before, settings = cluster(), settings_of(broker, f"{space}.state")
    for words in (("schemas", "check"), ("schemas", "register"), ("topics", "apply")):
        ended = shell.run(*words, "--app", breaking)
        ended.assert_one_line(
            1, f"{namespace(space)}.{collection}", "would be read as something else", "give it a new name"
        )
    assert (cluster(), settings_of(broker, f"{space}.state")) == (before, settings)
    shell.run("schemas", "check", "--app", applied).assert_done()


@pytest.mark.broker
def test_a_worker_without_a_registry_says_so(shell: Shell, applied: str) -> None:
    ended = shell.run("worker", "--app", applied, "--registry", "http://127.0.0.1:1", "--wait", "1s")
    ended.assert_one_line(NOBODY_ANSWERED, *NO_REGISTRY)


@pytest.mark.broker
def test_a_url_that_is_no_registry_is_told_what_is_missing(shell: Shell, applied: str, registry_url: str) -> None:
    stripped = registry_url.partition("/apis")[0] + "/nothing"
    shell.run("devices", "list", "--registry", stripped).assert_one_line(1, "is no schema registry", "whole URL")


@pytest.mark.broker
def test_a_data_folder_that_another_worker_holds_is_left_to_it(shell: Shell, applied: str, tmp_path: Path) -> None:
    words = ("worker", "--app", applied, "--data-dir", "stores", "--slot", "a")
    with Busy(shell, tmp_path / "worker.log", *words) as holder:
        holder.await_((shell.folder / "stores" / "slot-a.lock").exists)
        shell.run(*words).assert_one_line(1, "slot a of data folder stores is held", "--slot or --data-dir")


DEVICE_ERRORS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("enrol", "no good name"), ("'no good name' cannot name a device", "store-1")),
    (("enrol", "NEW", "--out", "corner_shop.py"), ("corner_shop.py exists already", "--out")),
    (("enrol", "NEW", "--out", "corner_shop.py/x.json"), ("cannot be written", "another file")),
    (("show", "NEW"), ("is not enrolled", "driftlog devices list")),
    (("revoke", "NEW"), ("is not enrolled", "driftlog devices list")),
    (("wipe", "NEW"), ("is not enrolled", "driftlog devices list")),
]


@pytest.mark.broker
@pytest.mark.parametrize(("words", "told"), DEVICE_ERRORS, ids=[" ".join(words) for words, _ in DEVICE_ERRORS])
def test_a_device_is_not_changed_by_a_failure(
    shell: Shell, applied: str, fresh_name: Callable[[str], str], words: tuple[str, ...], told: tuple[str, ...]
) -> None:
    new = fresh_name("store")
    files, devices = shell.contents(), shell.run("devices", "list", "--json").data
    shell.run("devices", *(new if word == "NEW" else word for word in words)).assert_one_line(1, *told)
    assert shell.contents() == files
    assert shell.run("devices", "list", "--json").data == devices


@pytest.mark.broker
def test_enrolling_again_into_a_folder_that_takes_no_file_costs_no_line(
    shell: Shell, applied: str, fresh_name: Callable[[str], str]
) -> None:
    name = fresh_name("store")
    shell.run("devices", "enrol", name, "--out", "one.json").assert_done()
    shell.run("devices", "enrol", name, "--out", "one.json/two.json").assert_one_line(1, "cannot be written")
    assert shell.run("devices", "show", name, "--json").data["version"] == 1


# -- with an agent that has no way to the cloud


@pytest.fixture
def agent(stocked: Shell, tmp_path: Path) -> Iterator[Shell]:
    """The same shell, with an agent that runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with Busy(stocked, tmp_path / "edge.log", *EDGE, "good.toml", "--http-port", str(port)) as running:
        shell = Shell(stocked.folder, edge_url=url)
        running.await_(lambda: shell.run("edge", "status").code == 0)
        yield shell


AGENT_ERRORS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("edge", "get", "Nothing", "s1", "tea"), ("'Nothing' is not declared", "declared: Stock")),
    (("edge", "get", "Stock", "s1", "tea"), ("not_found", "Stock/s1/tea")),
    (("edge", "get", "Stock", "s1", "a/b?c#d%"), ("not_found",)),
    (("edge", "get", "Stock", "s1", "tea", "--consistency", "perfect"), ("consistency", "'eventual'")),
    (("edge", "do", "nothing"), ("'nothing' is not declared", "receive")),
    (("edge", "do", "receive", "store=s1"), ("sku", "qty")),
    (("edge", "do", "receive", "store=s1", "sku=tea", "qty=many"), ("qty",)),
    (("edge", "do", "receive", "store=s1", "sku=tea", "qty=1", "colour=red"), ("colour",)),
    (("edge", "do", "receive", "store=s1", "sku=tea", "qty=1", "--wait", "long"), ("wait", "'disk'")),
    (("conflicts", "resolve", "nothing", "--accept"), ("'nothing'", "driftlog conflicts list")),
]


def test_an_agent_refuses_in_one_line_and_writes_nothing(agent: Shell) -> None:
    seen: list[Any] = []
    for words, told in AGENT_ERRORS:
        ended = agent.run(*words)
        assert ended.code == 1, ended
        assert len(ended.err.splitlines()) == 1, ended
        assert all(part in ended.err for part in told), (told, ended)
        seen.append(agent.run("edge", "pending", "--json").data["pending"])
    assert seen == [0] * len(AGENT_ERRORS)


def test_something_else_at_an_agents_address_is_told(stocked: Shell, registry_url: str) -> None:
    other = registry_url.partition("/apis")[0]
    for words in (("edge", "status"), ("conflicts", "resolve", "abc", "--accept")):
        stocked.run(*words, "--url", other).assert_one_line(1, "is no edge agent", "check --")


def test_admin_is_reachable(broker: RunningBroker) -> None:
    """The sanity of the checks above: the broker that they look at is the one that the commands used."""
    assert admin_of(broker.bootstrap).list_topics(timeout=10).brokers
