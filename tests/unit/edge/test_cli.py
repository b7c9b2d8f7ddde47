"""`driftlog edge ...` against an agent: tables for people, `--json` for programs, one clear line when something is wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from driftlog.cli.edge import app as cli
from driftlog.client import Client
from driftlog_edge import EdgeConfig
from driftlog_edge.asking.watch import Change
from driftlog_schemas.signing import Identity
from tests.load.waiting import until


@pytest.fixture
def edge(url: str) -> Any:
    """Runs `driftlog edge WORDS` against that agent."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, [words[0], "--url", url, *words[1:]])

    return run


def data(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_do_get_and_log(edge: Any) -> None:
    done = data(edge("do", "receive", "store=s1", "sku=green tea/50", "qty=5", "--key", "k1", "--json"))
    assert (done["command_id"], done["result"]) == ("k1", 5)
    again = data(edge("do", "receive", "store=s1", "sku=green tea/50", "qty=5", "--key", "k1", "--json"))
    assert again["dots"] == done["dots"]

    assert data(edge("get", "Stock", "s1", "green tea/50", "--json"))["value"]["on_hand"] == 5
    assert "green tea/50" in edge("get", "Stock", "s1", "green tea/50").stdout
    assert data(edge("log", "--limit", "1", "--json"))[0]["command_id"] == "k1"
    assert "receive" in edge("log").stdout


def test_a_log_of_many_pages_is_shown_in_order_and_as_much_of_it_as_was_asked_for(
    edge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        edge("do", "receive", "store=s1", "sku=tea", "qty=1", "--key", f"page-{number}")

    def settled() -> bool:
        return all(line["status"] == "merged" for line in data(edge("log", "--json")))

    until(settled, "the cloud has answered all", 60)
    whole = data(edge("log", "--json"))
    numbers = [line["number"] for line in whole]
    assert numbers == list(range(1, len(whole) + 1)) and len(whole) >= 5
    monkeypatch.setattr("driftlog_edge.asking.op_log.COMMANDS_BYTES", 1)
    assert data(edge("log", "--json")) == whole
    assert data(edge("log", "--limit", "3", "--json")) == whole[-3:]
    assert data(edge("log", "--limit", "2", "--before", "4", "--json")) == whole[1:3]


def test_what_is_typed_is_read_as_the_command_declares_it(edge: Any) -> None:
    for name in ("42", "007", "1e3", "true", "null", "[1]", '"quoted"'):
        edge("do", "rename", "store=s1", "sku=1", f"name={name}")
        assert data(edge("get", "Stock", "s1", "1", "--json"))["value"]["name"] == name
    boxes = 'boxes=[{"sku": "2", "qty": 3}]'
    assert data(edge("do", "pack", "store=s1", boxes, "--json"))["dots"][0]["document"] == "Stock/s1/2"
    for label, read in (("2", "2"), ("3", 3), ("4", "4")):
        packed = data(edge("do", "pack", "store=s1", boxes, "grade=2", f"label={label}", "--json"))
        assert packed["result"] == ["2", read]
    wrong = edge("do", "receive", "store=s1", "sku=1", "qty=many")
    assert wrong.exit_code == 1 and "receive takes store, sku, qty" in wrong.stderr
    missing = edge("do", "receive")
    assert missing.exit_code == 1 and "see /openapi.json" in missing.stderr
    twice = edge("do", "receive", "store=s1", "sku=1", "qty=1", "qty=2")
    assert twice.exit_code == 2 and "qty is given more than once" in twice.stderr
    assert "nonsense" in edge("do", "nonsense", "a=1").stderr


def test_a_wrapping_key_is_made_for_its_owner_only_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "edge.key"
    made = CliRunner().invoke(cli, ["key", "new", "--out", str(path), "--json"])
    assert data(made) == {"encryption_key_file": str(path)}
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(path.read_text(), validate=False)) == 32
    again = CliRunner().invoke(cli, ["key", "new", "--out", str(path)])
    assert again.exit_code == 1 and "is there already" in again.stderr
    nowhere = CliRunner().invoke(cli, ["key", "new", "--out", str(tmp_path / "none" / "edge.key")])
    assert nowhere.exit_code == 1 and "No such file" in nowhere.stderr


def test_the_data_key_is_shown_and_replaced(url: str) -> None:
    def key(*words: str) -> Result:
        return CliRunner().invoke(cli, ["key", *words, "--url", url])

    before = data(key("show", "--json"))
    assert (before["wrapped_by"], before["problem"]) == (None, "")
    after = data(key("rotate", "--json"))
    assert after["data_key"] != before["data_key"] and after["made_ms"] >= before["made_ms"]
    shown = key("show").stdout
    assert after["data_key"] in shown and "nothing" in shown
    assert "rotating" in key("rotate").stdout


def test_a_watch_tells_each_change_with_the_id_to_take_up_after(edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Client.watch

    def as_if_interrupted(*given: Any) -> Iterator[Change]:
        for change in whole(*given):
            yield change
            if change.document is None or change.document.id == "cup":
                return

    monkeypatch.setattr(Client, "watch", as_if_interrupted)

    def watch(*options: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in edge("watch", *options, "--json").stdout.splitlines()]

    (resync,) = watch("--since", "of another folder")
    assert resync == {"event": "resync", "event_id": resync["event_id"]}
    assert "read everything again" in edge("watch", "--since", "of another folder").stdout
    for sku in ("[1]", "cup"):
        edge("do", "receive", "store=s1", f"sku={sku}", "qty=1")
    first, *rest = watch("--collection", "Stock", "--scope", "s1", "--since", resync["event_id"])
    stock = {"event": "change", "collection": "Stock", "scope": "s1"}
    assert first == {**stock, "id": "[1]", "event_id": first["event_id"]}
    assert rest[-1] == {**stock, "id": "cup", "event_id": rest[-1]["event_id"]}
    assert watch("--since", first["event_id"]) == rest
    assert edge("watch", "--since", first["event_id"]).stdout.splitlines() == [
        f"Stock/s1/{told['id']}" for told in rest
    ]


def test_scopes_are_shown_and_changed(edge: Any) -> None:
    assert data(edge("scopes", "--json")) == {"scopes": ["s1", "s2"]}
    assert data(edge("scopes", "--add", "s3", "--add", "s1", "--json")) == {"scopes": ["s1", "s2", "s3"]}
    assert "s3" in edge("scopes").stdout
    assert data(edge("scopes", "--drop", "s3", "--json")) == {"scopes": ["s1", "s2"]}
    assert "name at least one" in edge("scopes", "--drop", "s1", "--drop", "s2").stderr


def test_init_writes_settings_that_an_agent_takes_and_overwrites_nothing(tmp_path: Path) -> None:
    Identity.create("store-1").save(tmp_path / "till 1.json")
    words = ["init", "--identity", str(tmp_path / "till 1.json"), "--scope", "s1", "--scope", 'ä"2']
    written = tmp_path / "edge.toml"
    made = CliRunner().invoke(cli, [*words, "--out", str(written)])
    assert made.exit_code == 0, made.output
    config = EdgeConfig.load(written)
    assert (config.identity, config.scopes) == (tmp_path / "till 1.json", ["s1", 'ä"2'])
    assert config.data_dir == tmp_path / "till 1.replica"

    before = written.read_text()
    again = CliRunner().invoke(cli, [*words, "--out", str(written)])
    assert (again.exit_code, written.read_text()) == (1, before) and "is there already" in again.stderr
    nobody = CliRunner().invoke(
        cli, ["init", "--identity", "nobody.json", "--scope", "s1", "--out", str(tmp_path / "x")]
    )
    assert nobody.exit_code == 1 and "devices enrol" in nobody.stderr


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        (["--http-port", "99999"], 2, "--http-port"),
        (["--scope", ""], 2, "--scope"),
        (["--identity", "other.json"], 1, "other.json"),
        (["--identity", "."], 1, "."),
    ],
)
def test_init_writes_no_settings_that_no_agent_takes(
    wrong: list[str], code: int, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Identity.create("store-1").save(Path("store-1.json"))
    Path("other.json").write_text('{"name": "no identity"}')
    made = CliRunner().invoke(cli, ["init", "--identity", "store-1.json", "--scope", "s1", *wrong])
    assert made.exit_code == code and field in made.output
    assert not Path("edge.toml").exists()


def test_offline_pending_online_status(edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data(edge("offline", "--json")) == {"offline_by_choice": True, "connection": "OFFLINE", "pending": 0}
    edge("do", "receive", "store=s2", "sku=tea", "qty=1", "--key", "waits")
    found = data(edge("pending", "--json"))
    assert found["pending"] == 1
    assert [c["command_id"] for c in found["commands"]] == ["waits"]
    assert "1 pending, OFFLINE" in edge("pending").stdout
    edge("do", "receive", "store=s2", "sku=tea", "qty=1", "--key", "too")
    with monkeypatch.context() as small:
        small.setattr("driftlog_edge.asking.op_log.COMMANDS_BYTES", 1)
        for limit, ids in (("5", ["waits", "too"]), ("1", ["waits"])):
            found = data(edge("pending", "--limit", limit, "--json"))
            assert [c["command_id"] for c in found["commands"]] == ids

    assert data(edge("online", "--json"))["offline_by_choice"] is False
    status = data(edge("status", "--json"))
    assert (status["device_id"], status["replica"]) == ("store-1", status["lives"][-1]["replica"])
    assert status["replica"] in edge("status").stdout


def test_brackets_in_a_value_are_no_markup(edge: Any) -> None:
    edge("do", "rename", "store=s1", "sku=odd", "name=[trust] [bold]x[/bold]")
    assert "[trust] [bold]x[/bold]" in edge("get", "Stock", "s1", "odd").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("get", "Stock", "s1", "nothing"), "not_found: there is no Stock/s1/nothing here"),
        (("get", "Nonsense", "s1", "tea"), "undeclared: 'Nonsense' is not declared"),
        (("do", "sell", "store=s1", "sku=none", "qty=1"), "refused: 0 left"),
        (("do", "receive", "store=s1", "sku=tea"), "invalid: qty"),
        (("do", "receive", "store=s1", "sku=tea", "qty=NaN"), "invalid: qty"),
        (("do", "receive", "store=s1", "sku=tea", "qty=1e400"), "invalid: qty"),
        (("do", "receive", "store=s1", "sku=tea", "qty=" + "9" * 5000), "invalid: qty"),
        (("do", "receive", "store=s1", "sku=tea", r'qty="\ud800"'), "invalid: qty"),
        (("do", "receive", "store=elsewhere", "sku=tea", "qty=1"), "invalid: this device does not hold scope"),
    ],
)
def test_what_the_agent_refuses_is_one_line(edge: Any, words: tuple[str, ...], told: str) -> None:
    result = edge(*words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert told.split(":")[0] in result.stderr and told.split(": ")[1] in result.stderr


@pytest.mark.parametrize(
    "words",
    [("status",), ("pending",), ("log",), ("offline",), ("online",), ("watch",), ("get", "A", "b", "c"), ("do", "x")],
)
def test_without_an_agent_every_command_says_so_in_one_line(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [words[0], "--url", "http://127.0.0.1:9", *words[1:]])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "no agent answers at http://127.0.0.1:9" in result.stderr
    assert "driftlog edge run" in result.stderr


@pytest.mark.parametrize(
    "name", ["run", "status", "get", "do", "pending", "log", "watch", "offline", "online", "scopes", "init"]
)
def test_help_shows_an_example(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: driftlog edge {name}" in result.stdout


def test_the_review_list(url: str) -> None:
    def review(*words: str) -> Any:
        return CliRunner().invoke(cli, ["review", words[0], "--url", url, *words[1:]])

    assert data(review("list", "--json")) == []
    for decide in ("apply", "drop"):
        refused = review(decide, "nobody")
        assert refused.exit_code == 1
        assert "not on the review list" in refused.stderr


def test_what_is_no_text_is_refused_by_name_and_nothing_is_sent(edge: Any) -> None:
    """Bytes that are no UTF-8, as a shell hands them over and Python keeps them."""
    before = data(edge("log", "--json"))
    for words, name in (
        (("get", "Stock", "s1", "\udcff"), "id"),
        (("get", "Stock", "s1\udcff", "tea"), "scope"),
        (("do", "receive", "store=s1", "sku=\udcff", "qty=1"), "arguments"),
        (("do", "receive", "store=s1", "sku=tea", "qty=1", "--key", "k\udcff"), "key"),
        (("scopes", "--add", "s1\udcff"), "add"),
    ):
        result = edge(*words)
        assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
        assert f"'{name}'" in result.output and "is no UTF-8 text" in result.output
    assert data(edge("log", "--json")) == before
    assert data(edge("do", "receive", "store=s1", "sku=grüner €", "qty=1", "--json"))["result"] == 1
