"""What people always pick, as pages show it: to whom it may be shown, with every exception, and as text whatever it holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from driftlog.cli import conflict_rules
from driftlog.cli.root import app as cli
from driftlog_console.masking import HIDDEN
from driftlog_console.people import Right
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus
from tests.unit.console.conftest import TEA, Console, conflict, version
from tests.unit.edge.shop import app

LARGER = "/inbox/rule?collection=Stock&field=price&rule=larger"
HOSTILE = "<script>alert(1)</script>"


def decided(document: DocumentId, stood: Any, lost: Any, picked: Any, place: str = "price") -> Conflict:
    """Between two, by Anna."""
    versions = version(stood, seen=3), version(lost, "store-2.b2c3d4e5", 2)
    by = version(picked, "store-1.abcdefgh", 9, actor="Anna", how="page")
    return replace(conflict(document, place, *versions, status=ConflictStatus.RESOLVED), decided_by=by)


def nearly_always_the_larger(name: str, scope: str = "s1", count: int = 24) -> list[Conflict]:
    """Of the last one the smaller was picked."""
    document = DocumentId("Stock", scope, "")
    pairs = [(n, n + 9) if n % 2 else (n + 9, n) for n in range(count)]
    ones = [decided(document._replace(id=f"{name}-{n}"), *pair, max(pair)) for n, pair in enumerate(pairs, 1)]
    return [*ones, decided(document._replace(id=f"{name}-odd"), 777, 333, 333)]


async def test_a_rule_is_proposed_with_its_numbers_examples_and_exceptions(console: Console) -> None:
    await console.opened(*nearly_always_the_larger("tea"))
    async with console.client() as anna:
        page = (await anna.get("/inbox/rules")).text
        assert "The larger number stands" in page and "explains 24 of 25 (96 %), 1 exception" in page
        assert LARGER.replace("&", "&amp;") in page and "/inbox/rules" in (await anna.get("/inbox?which=decided")).text
        run = (await anna.get(LARGER)).text
    assert "<b>24 of 25</b>" in run and "price_larger: Custom[int]" in run
    assert run.index("tea-odd") < run.index("tea-1<") and "777</b>, otherwise" in run
    assert run.count("the same</td>") == 24


async def test_below_the_bound_nothing_is_proposed_and_why_is_said(console: Console) -> None:
    await console.opened(*nearly_always_the_larger("tea", count=8))
    async with console.client() as anna:
        assert "nothing: fewer than 10 decisions" in (await anna.get("/inbox/rules")).text
        assert "It is not proposed: there are fewer than 10 decisions" in (await anna.get(LARGER)).text


async def test_a_dry_run_comes_in_pages_and_what_is_no_rule_is_refused(console: Console) -> None:
    await console.opened(*nearly_always_the_larger("tea"))
    async with console.client() as anna:
        first, second = (
            (await anna.get(f"{LARGER}&limit=20")).text,
            (await anna.get(f"{LARGER}&limit=20&start=20")).text,
        )
        assert "Next page" in first and "Next page" not in second
        assert second.count("the same</td>") == 5
        assert (await anna.get(LARGER.replace("larger", "louder"))).status_code == 422
        assert (await anna.get(LARGER.replace("price", "name"))).status_code == 404
        assert (await anna.get(LARGER.replace("larger", "ranked"))).status_code == 404


async def test_decisions_of_other_scopes_are_not_in_it(console: Console) -> None:
    await console.opened(*nearly_always_the_larger("tea"), *nearly_always_the_larger("salt", "s2", 12))
    async with console.client("bob", scopes=("s2",)) as bob:
        page, run = (await bob.get("/inbox/rules")).text, (await bob.get(LARGER)).text
    assert "13 decisions looked at" in page and "tea-" not in page + run and "salt-odd" in run


async def test_masked_values_are_in_no_rule_for_who_may_not_see_them(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_console.desk.masks_of", lambda contract: {"Stock": {"price": "all"}})
    await console.opened(*nearly_always_the_larger("tea"))
    async with console.client() as anna, console.client("olga", Right.REVEAL) as olga:
        page = (await anna.get("/inbox/rules")).text
        assert "25 more are about values that anna may not see" in page and "larger" not in page
        assert (await anna.get(LARGER)).status_code == 404
        assert "777</b>, otherwise" in (await olga.get(LARGER)).text
        assert HIDDEN not in (await olga.get(LARGER)).text


async def test_what_a_stranger_wrote_is_text(console: Console) -> None:
    ones = [decided(TEA._replace(id=f"{HOSTILE}{n}"), "weak", HOSTILE, HOSTILE, "name") for n in range(12)]
    await console.opened(*ones)
    async with console.client() as anna:
        for path in ("/inbox/rules", "/inbox/rule?collection=Stock&field=name&rule=ranked"):
            page = (await anna.get(path)).text
            assert HOSTILE not in page and "&lt;script&gt;alert(1)" in page, path


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[Conflict]:
    """What the command line reads."""
    found: list[Conflict] = []

    def read(target: str, settings: object, cache: Path) -> tuple[AppContract, list[Conflict]]:
        return app.contract, found

    monkeypatch.setattr(conflict_rules, "read_all", read)
    return found


def said(*words: str) -> SimpleNamespace:
    result = CliRunner().invoke(cli, ["conflicts", "rules", "--app", "shop:app", *words])
    return SimpleNamespace(code=result.exit_code, out=result.output)


def test_the_command_line_says_the_same(known: list[Conflict]) -> None:
    known += nearly_always_the_larger("tea")
    one_field = ("--collection", "Stock", "--field", "price")
    (found,) = json.loads(said("--json").out)
    assert (found["collection"], found["field"], found["decisions"]) == ("Stock", "price", 25)
    assert (found["proposal"]["rule"], found["proposal"]["agreeing"]) == ("larger", 24)
    assert found["proposal"]["declare"][-1].startswith("price_larger: Custom[int]")
    run = json.loads(said(*one_field, "--rule", "larger", "--json").out)
    assert run["exceptions"] == [known[-1].id]
    (odd,) = (line for line in run["judged"] if not line["agrees"])
    assert (odd["conflict"]["id"], odd["chosen"]["value"]) == (known[-1].id, 777)
    assert len(run["judged"]) == 25
    text = said(*one_field, "--rule", "larger")
    assert text.code == 0 and "def larger(base, left, right)" in text.out and "777" in text.out
    assert "larger" in said().out


def test_the_command_line_says_what_is_missing(known: list[Conflict]) -> None:
    assert json.loads(said("--json").out) == []
    assert said("--rule", "larger").code == 2
    none = said("--rule", "larger", "--collection", "Stock", "--field", "price")
    assert none.code == 1 and "Stock.price" in none.out


def test_what_a_stranger_wrote_does_not_drive_the_terminal(known: list[Conflict]) -> None:
    known += [decided(TEA._replace(id=f"\x1b[2J{n}"), "weak", "\x1b[2J", "\x1b[2J", "name") for n in range(12)]
    for words in ((), ("--collection", "Stock", "--field", "name", "--rule", "ranked")):
        found = said(*words)
        assert found.code == 0 and "\x1b[2J" not in found.out
