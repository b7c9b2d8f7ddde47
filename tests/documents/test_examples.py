"""What the documents show is run: Python blocks compile to an app that works, shown commands exist and take the shown options."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from driftlog import App
from driftlog.cli.root import app as cli
from driftlog.fields.handle import FieldHandle
from driftlog_schemas.signing import Identity

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*/README.md"))]
README = (ROOT / "README.md").read_text()
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^    (driftlog \S.*?)(?:  +#.*)?$", re.MULTILINE)


def python_blocks() -> Iterator[tuple[str, str]]:
    for path in DOCUMENTS:
        for number, block in enumerate(_PYTHON.findall(path.read_text())):
            yield f"{path.relative_to(ROOT)}#{number}", block


def commands() -> Iterator[str]:
    for path in DOCUMENTS:
        yield from (found for found in _COMMAND.findall(path.read_text()) if "|" not in found)


BLOCKS, COMMANDS = dict(python_blocks()), sorted(set(commands()))


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
def test_python_in_documents_runs(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)
    exec(compile(block, "shown", "exec", dont_inherit=True), module.__dict__)
    apps = [value for value in vars(module).values() if isinstance(value, App)]
    assert all(one.contract.spaces for one in apps)


def test_the_readme_shows_an_app() -> None:
    module = types.ModuleType("shown")
    sys.modules["shown"] = module
    try:
        exec(compile(BLOCKS["README.md#0"], "shown", "exec", dont_inherit=True), module.__dict__)
    finally:
        del sys.modules["shown"]
    assert module.app.contract.command("sell").validate({"store": "s", "sku": "x", "qty": 1})["qty"] == 1


def test_the_readme_lists_every_way_to_change_a_field() -> None:
    kinds = [FieldHandle]
    for kind in kinds:
        kinds += kind.__subclasses__()
    changes = {name for kind in kinds for name in kind.mutators}
    assert {name for name in changes if f"`{name}(" not in README} == set()


def test_the_settings_shown_are_those_that_init_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = (one for one in COMMANDS if one.startswith("driftlog edge init"))
    (shown,) = re.findall(r"`edge\.toml`, as `init` writes it:\n\n```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DRIFTLOG_")]:
        monkeypatch.delenv(name)
    Identity.create("store-1").save(Path("store-1.json"))
    made = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert made.exit_code == 0, made.output
    assert Path("edge.toml").read_text() == shown


@pytest.mark.parametrize("line", COMMANDS)
def test_shown_commands_exist_with_their_options(line: str) -> None:
    words = shlex.split(line)[1:]
    shown = CliRunner().invoke(cli, [*_command(words), "--help"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0, shown.output
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.output, f"{line}: no {option}"


def _command(words: list[str]) -> list[str]:
    """The leading words that name a command, however deep its group."""
    command: Any = typer.main.get_command(cli)
    path: list[str] = []
    for word in words:
        if word.startswith("-") or not hasattr(command, "list_commands"):
            break
        command = command.get_command(None, word)
        assert command is not None, f"there is no command {[*path, word]}"
        path.append(word)
    return path


EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*/*.py")) if not path.name.startswith("test_")]
"""Their own tests run in `integration/test_app_suite.py`."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.parent.name + "/" + p.name)
def test_examples_declare_an_app(example: Path) -> None:
    spec = importlib.util.spec_from_file_location("example", example)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["example"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["example"]
    contract = module.app.contract
    assert contract.spaces and all(space.collections for space in contract.spaces.values())
