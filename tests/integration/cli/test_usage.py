"""Wrong calls, with no server anywhere: one line that says what is wrong and where to look, exit 2; and every command shows how."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from driftlog.cli.root import GROUPS, app
from driftlog_schemas.signing import Identity
from tests.integration.cli.shell import Shell

WITHOUT_DATA = {"broker fetch", "conflicts export", "edge init", "edge openapi", "edge run", "worker"}
"""Those run until they are stopped, or bring a file, or write nothing but data: JSON, or the --format that one asks for."""


def _commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command there is."""
    names = command.list_commands(None) if hasattr(command, "list_commands") else []
    if not names:
        yield words
    for name in names:
        yield from _commands(command.get_command(None, name), (*words, name))


COMMANDS = [" ".join(words) for words in _commands(typer.main.get_command(app))]
GROUPED = sorted({words.rpartition(" ")[0] for words in COMMANDS} - {""})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonsense"], ("nonsense", "driftlog --help")),
        (["--nonsense"], ("--nonsense", "driftlog --help")),
        (["topics", "nonsense"], ("nonsense", "driftlog topics --help")),
        (["topics", "plan"], ("--app", "driftlog topics plan --help")),
        (["topics", "plan", "--app"], ("--app",)),
        (["topics", "plan", "extra", "--app", "shop:app"], ("extra",)),
        (["topics", "apply", "--app", "shop:app", "--replication", "0"], ("--replication",)),
        (["topics", "apply", "--app", "shop:app", "--replication", "many"], ("--replication",)),
        (["schemas", "check", "--nonsense"], ("--nonsense",)),
        (["devices", "enrol"], ("device",)),
        (["devices", "show"], ("device",)),
        (["parked", "retry", "--app", "shop:app"], ("ID",)),
        (["conflicts", "resolve", "abc"], ("--set FIELD=JSON", "--accept")),
        (["conflicts", "resolve", "abc", "--accept", "--set", "price=1"], ("--set FIELD=JSON", "--accept")),
        (["conflicts", "resolve", "abc", "--set", "price"], ("price", "FIELD=JSON")),
        (["worker", "--app", "shop:app", "--workers", "many"], ("--workers",)),
        (["worker", "--app", "shop:app", "--workers", "0"], ("--workers",)),
        (["worker", "--app", "shop:app", "--wait", "soon"], ("wait", "number")),
        (["worker", "--app", "shop:app", "--slot", "a b"], ("slot",)),
        (["worker", "--app", "shop:app", "--log-level", "loud"], ("--log-level", "warning")),
        (["worker", "--app", "shop:app", "--metrics-address", "70000"], ("metrics_address", "HOST:PORT")),
        (["edge", "do"], ("command",)),
        (["edge", "do", "sell", "nonsense"], ("nonsense", "NAME=VALUE")),
        (["edge", "get", "Stock", "s1"], ("id",)),
        (["broker", "up", "--port", "many"], ("--port",)),
        (["broker", "up", "--port", "70000"], ("--port",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_gets_one_line_and_exit_2(alone: Shell, words: list[str], told: tuple[str, ...]) -> None:
    alone.declare("retail", module="shop")
    before = alone.contents()
    ended = alone.run(*words)
    ended.assert_one_line(2, "--help", *told)
    assert ended.out == ""
    assert alone.contents() == before


def test_called_with_nothing_it_lists_its_commands(alone: Shell) -> None:
    ended = alone.run()
    assert ended.code == 2
    assert all(name in ended.err for name in GROUPS)


@pytest.mark.parametrize("group", GROUPED)
def test_a_group_called_with_nothing_lists_its_commands(group: str) -> None:
    said = CliRunner().invoke(app, group.split()).output
    names = [words.rpartition(" ")[2] for words in COMMANDS if words.rpartition(" ")[0] == group]
    assert all(name in said for name in names)


@pytest.mark.parametrize("group", [group for group in GROUPED if "..." not in GROUPS.get(group, ("", "", "..."))[2]])
def test_what_a_group_says_of_itself_names_all_that_it_can_do(group: str) -> None:
    said = GROUPS[group][2].rpartition(": ")[2].removesuffix(".").split(", ")
    names = [words.rpartition(" ")[2] for words in COMMANDS if words.rpartition(" ")[0] == group]
    assert sorted(said) == sorted(names)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_shows_an_example_and_gives_data(words: str) -> None:
    said = " ".join(CliRunner().invoke(app, [*words.split(), "--help"], terminal_width=300).output.split())
    assert f"Example: driftlog {words}" in said
    assert ("--json" in said) != (words in WITHOUT_DATA)


def test_the_walk_finds_what_is_known_to_be_there() -> None:
    assert {"devices rotate-key", "operator rotate", "edge review drop", "doctor", "bench"} <= set(COMMANDS)


def test_the_settings_of_an_agent_have_the_addresses_that_the_environment_has(alone: Shell) -> None:
    Identity.create("store-1").save(alone.folder / "store-1.json")
    words = ("edge", "init", "--identity", "store-1.json", "--scope", "s1")
    alone.run(*words).assert_done()
    made = tomllib.loads((alone.folder / "edge.toml").read_text())
    assert (made["bootstrap"], made["registry"]) == ("127.0.0.1:1", "http://127.0.0.1:1")
    alone.run(*words, "--out", "other.toml", "--bootstrap", "kafka:9092").assert_done()
    assert tomllib.loads((alone.folder / "other.toml").read_text())["bootstrap"] == "kafka:9092"


def test_the_settings_of_an_agent_have_how_a_secured_broker_lets_in_but_no_password(alone: Shell) -> None:
    Identity.create("store-1").save(alone.folder / "store-1.json")
    (alone.folder / "ca.pem").write_text("")
    (alone.folder / "shared.toml").write_text(
        '[kafka]\nsecurity_protocol = "sasl_ssl"\nsasl_mechanism = "PLAIN"\nsasl_username = "till"\nsasl_password = "hidden"\nca_file = "ca.pem"\n'
        '[registry]\nurl = "https://registry:8081"\nca_file = "ca.pem"\n'
        '[trust]\nroot = "HRa2ZijH43rtgAK/YSFRuFRBLmugQRpp5ljaVLjNpf8="\n'
    )
    alone.run(
        "edge",
        "init",
        "--identity",
        "store-1.json",
        "--scope",
        "s1",
        "--config",
        "shared.toml",
        "--registry",
        "https://registry:8081",
    ).assert_done()
    written = (alone.folder / "edge.toml").read_text()
    made = tomllib.loads(written)
    assert made["kafka"] == {
        "security_protocol": "sasl_ssl",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "till",
        "ca_file": "ca.pem",
    }
    assert made["registry"] == {"url": "https://registry:8081", "ca_file": "ca.pem"}
    assert made["trust"] == {"root": "HRa2ZijH43rtgAK/YSFRuFRBLmugQRpp5ljaVLjNpf8="}
    assert "hidden" not in written
    assert "DRIFTLOG_KAFKA__SASL_PASSWORD" in written
