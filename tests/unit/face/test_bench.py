"""The command that measures: it finds the benchmarks, takes turns with the baseline, and says so when it cannot."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import faust
import pytest
from typer.testing import CliRunner

from benchmarks import suite
from benchmarks.case import Case, Ground, Sides, Skipped, at_most, ratio_at_least
from benchmarks.rounds import measure
from benchmarks.row import Row, Spread, quantile
from benchmarks.suite import discover, select
from driftlog.cli import bench
from driftlog.cli.extras import installed
from driftlog.cli.root import app
from tests.few import few

run = CliRunner()


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> None:
    """A measurement collects garbage before each turn: not that of thousands of other tests."""
    gc.collect()
    gc.freeze()


def _case(sides: Callable[[Ground], Sides], baseline_name: str = "theirs", rounds: int = 3) -> Case:
    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        yield sides(ground)

    return Case("case", "us", opened, baseline_name, rounds=rounds)


def test_the_list_names_every_case_once() -> None:
    answer = run.invoke(app, ["bench", "--list", "--json"])

    assert answer.exit_code == 0, answer.output
    listed = json.loads(answer.stdout)
    names = [f"{module['benchmark']}/{case}" for module in listed for case in module["cases"]]
    assert {"algebra", "metadata", "text"} <= {module["benchmark"] for module in listed}
    assert "algebra/apply/counter" in names and len(names) == len(set(names))


def test_a_quick_case_gives_both_figures_and_their_ratio() -> None:
    answer = run.invoke(app, ["bench", "algebra/apply/counter", "--quick", "--json"])

    assert answer.exit_code == 0, answer.output
    (row,) = json.loads(answer.stdout)
    assert row["case"] == "algebra/apply/counter" and row["unit"] == "us"
    assert row["ours"]["median"] > 0 and row["baseline"]["median"] > 0 and row["ratio"]["median"] > 0
    assert row["aim"] == "<= 5 us" and row["met"] in (True, False)


@pytest.mark.parametrize("name", few(["algebra", "metadata", "text"], 1))
def test_every_case_of_the_algebra_runs(name: str) -> None:
    outcomes = list(suite.run(select(discover(), [name]), quick=True, say=lambda text: None))

    assert outcomes
    assert [(outcome.name, outcome.error) for outcome in outcomes if outcome.row is None] == []


def test_a_case_that_raises_is_an_outcome_and_the_next_one_runs() -> None:
    good, bad = _case(lambda ground: Sides(lambda: [1.0], lambda: [1.0])), _case(_raises)
    module = suite.Module("made-up", "", (bad, good), None)

    failed, done = suite.run([module], quick=True, say=lambda text: None)

    assert isinstance(failed.error, ZeroDivisionError) and failed.row is None and failed.met is None
    assert done.row is not None


def test_a_case_that_cannot_run_here_is_skipped_with_its_reason() -> None:
    module = suite.Module("made-up", "", (_case(_skips),), None)

    (outcome,) = suite.run([module], quick=True, say=lambda text: None)

    assert outcome.skipped == "no broker here" and outcome.error is None


def _raises(ground: Ground) -> Sides:
    raise ZeroDivisionError


def _skips(ground: Ground) -> Sides:
    raise Skipped("no broker here")


def test_large_measures_once_at_the_sizes_that_the_aims_name() -> None:
    sizes: list[int] = []

    def sides(ground: Ground) -> Sides:
        return Sides(lambda: [float(sizes.append(ground.size(1, 20, 300)) or 1)], lambda: [1.0])

    rows = [measure("a/case", _case(sides), large=large) for large in (True, False)]

    assert [row.rounds for row in rows] == [1, 3]
    assert sizes == [300] * 2 + [20] * 4  # one of each warms up


def test_two_sizes_at_once_are_refused() -> None:
    answer = run.invoke(app, ["bench", "algebra", "--quick", "--large"])

    assert answer.exit_code == 1
    assert answer.stderr.startswith("error: --quick and --large are two sizes;")


def test_an_unknown_name_is_one_clear_line_and_runs_nothing() -> None:
    answer = run.invoke(app, ["bench", "algebra/nothing-like-it"])

    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: there is no benchmark algebra/nothing-like-it;")


def test_without_a_clone_the_command_says_where_the_benchmarks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.driftlog, "__file__", str(tmp_path / "site-packages" / "driftlog" / "__init__.py"))

    answer = run.invoke(app, ["bench"])

    assert answer.exit_code == 1
    assert (
        answer.stderr
        == "error: the benchmarks are not here; they come with the repository: clone it, and run `make bench` there\n"
    )


def test_ours_and_the_baseline_take_turns_and_the_warm_up_does_not_count() -> None:
    turns: list[str] = []
    figures = iter([99.0, 2.0, 4.0, 6.0])

    def ours() -> list[float]:
        turns.append("ours")
        return [next(figures)]

    def theirs() -> list[float]:
        turns.append("theirs")
        return [2.0]

    row = measure("a/case", _case(lambda ground: Sides(ours, theirs)))

    assert turns == ["ours", "theirs"] * 4
    assert row.ours == Spread(2.0, 4.0, 6.0) and row.ratios == Spread(1.0, 2.0, 3.0)


def test_facts_are_read_after_the_last_round() -> None:
    facts: dict[str, object] = {}

    def ours() -> list[float]:
        facts["rounds"] = int(str(facts.get("rounds", 0))) + 1
        return [1.0]

    row = measure("a/case", _case(lambda ground: Sides(ours, facts=facts), baseline_name=""), quick=True)

    assert row.facts == {"rounds": 3} and row.ratio is None


def test_the_folder_of_a_case_is_gone_when_it_has_ended() -> None:
    folders: list[Path] = []

    def sides(ground: Ground) -> Sides:
        folders.append(ground.folder)
        return Sides(lambda: [float(ground.folder.is_dir())], lambda: [1.0])

    row = measure("a/case", _case(sides))

    assert row.ours.low == 1.0 and not folders[0].exists()


def test_a_baseline_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="a baseline needs a name"):
        measure("a/case", _case(lambda ground: Sides(lambda: [1.0], lambda: [1.0]), baseline_name=""))


def test_a_name_chooses_a_benchmark_a_branch_or_a_pattern() -> None:
    modules = discover()

    def chosen(*names: str) -> set[str]:
        return {module.full_name(case) for module in select(modules, names) for case in module.cases}

    assert all(name.startswith("algebra/") for name in chosen("algebra"))
    assert chosen("algebra/apply") == {
        "algebra/apply/counter",
        "algebra/apply/counter+context",
        "algebra/apply/register",
    }
    assert chosen("*/apply/reg*") == {"algebra/apply/register"}
    assert chosen() == chosen("*")


def test_the_quantile_is_the_nearest_rank() -> None:
    samples = [float(n) for n in range(100, 0, -1)]

    assert [quantile(samples, share) for share in (0.0, 0.9, 0.99, 1.0)] == [1.0, 90.0, 99.0, 100.0]
    assert quantile([1.0, 2.0], 0.5) == 1.5


def test_aims_compare_the_ratio_or_the_figure() -> None:
    row = Row("a/case", "us", Spread(1, 2, 3), "theirs", Spread(1, 1, 1), Spread(1, 2, 3))

    assert at_most(2, "us").met(row) and not at_most(1.9, "us").met(row)
    assert ratio_at_least(2).met(row) and not ratio_at_least(2.1).met(row)


def test_a_library_that_is_imported_already_is_installed() -> None:
    assert faust.__name__ == "faust"
    assert installed("faust"), "it stands in for its own module, without a place that it came from"
    assert not installed("no_such_library")
