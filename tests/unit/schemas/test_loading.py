"""Loading an app: whatever is wrong with the user's module is told in one line that names it, and how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftlog_schemas.errors import LoadError
from driftlog_schemas.loading import load_contract

SHOP = """
from driftlog import App
app = App("shop")
retail = app.space("retail", partitions=2)
other = 7
"""

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, fresh_name: Callable[[str], str]) -> Iterator[Write]:
    """Writes a module of this text and says its name; it is forgotten afterwards."""
    name = fresh_name("shop").replace("-", "_")
    path = sys.path[:]

    def made(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield made
    sys.modules.pop(name, None)
    sys.path[:] = path


def failure(target: str, folder: Path) -> LoadError:
    with pytest.raises(LoadError) as caught:
        load_contract(target, folder)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_an_app_is_found_in_the_folder(write: Write, tmp_path: Path) -> None:
    contract = load_contract(f"{write(SHOP)}:app", tmp_path)
    assert (contract.name, list(contract.spaces)) == ("shop", ["retail"])


@pytest.mark.parametrize("target", ["", "shop", "shop:", ":app", ":"])
def test_a_target_that_names_no_app_is_told_the_form(target: str, tmp_path: Path) -> None:
    assert "MODULE:ATTRIBUTE" in failure(target, tmp_path).remedy


@pytest.mark.parametrize("module", ["no_such_module", "no_such.module", "driftlog.no_such_module"])
def test_a_module_that_is_not_there_is_named_with_the_folder(module: str, tmp_path: Path) -> None:
    error = failure(f"{module}:app", tmp_path)
    assert repr(module) in str(error)
    assert str(tmp_path) in str(error)


@pytest.mark.parametrize("module", [".shop", "..", "shop/app", "a b", "shop.py"])
def test_a_text_that_is_no_module_name_is_refused(module: str, tmp_path: Path) -> None:
    assert module in str(failure(f"{module}:app", tmp_path))


def test_what_the_module_needs_and_is_not_installed_is_named(write: Write, tmp_path: Path) -> None:
    name = write("import no_such_package_at_all\n")
    error = failure(f"{name}:app", tmp_path)
    assert "no_such_package_at_all" in str(error)
    assert f"{name}.py:1" in str(error)
    assert error.remedy == "install what it needs"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\ny = 1 / 0\n", ("ZeroDivisionError", ".py:2")),
        ("def f(:\n", ("SyntaxError", ".py")),
        ("from driftlog import App\napp = App('no such name')\n", ("is not a name", ".py:2")),
        ("from driftlog import NoSuchField\n", ("NoSuchField", ".py:1")),
        ("raise SystemExit(3)\n", ("SystemExit", ".py:1")),
        ("raise ValueError('two\\nlines')\n", ("two lines", ".py:1")),
    ],
)
def test_an_error_inside_the_module_is_told_with_its_line(
    write: Write, tmp_path: Path, text: str, told: tuple[str, str]
) -> None:
    name = write(text)
    error = failure(f"{name}:app", tmp_path)
    assert name in str(error)
    for part in told:
        assert part in str(error)


@pytest.mark.parametrize("attribute", ["nothing", "other", "retail", "App"])
def test_an_attribute_that_is_no_app_is_told_which_one_is(write: Write, tmp_path: Path, attribute: str) -> None:
    name = write(SHOP)
    error = failure(f"{name}:{attribute}", tmp_path)
    assert repr(attribute) in str(error)
    assert error.remedy == f"write {name}:app"


def test_a_module_without_any_app_is_told_how_to_declare_one(write: Write, tmp_path: Path) -> None:
    assert "App(" in failure(f"{write('x = 1')}:app", tmp_path).remedy
