"""A command that is named where a person is told what to do exists, with its options: in documents, errors and their remedies, pages, alerts, charts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import typer

from driftlog.cli.edge_run import command as edge_run
from driftlog.cli.root import app as cli

ROOT = Path(__file__).parents[2]
PLACES = ("README.md", "docs", "driftlog", "schemas", "edge_agents", "streams", "console", "infra", "clients", "docker-compose.yml")  # fmt: skip
_NAMED = re.compile(r"`driftlog ([^`]+)`")
_JOINED = re.compile(r'"\s*\n\s*f?"|\s*\n\s*#?\s*')
"""Where a text goes on in the next line."""
COMMANDS: Any = typer.main.get_command(cli)
_EVERYWHERE = {"--help", "--version"}


def named() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", *PLACES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for place in listed.splitlines():
        if place.endswith((".py", ".md", ".yml", ".yaml", ".service", ".html", ".ts", ".txt", ".json", "Dockerfile")):
            text = _JOINED.sub(lambda found: "" if '"' in found[0] else " ", (ROOT / place).read_text())
            yield from ((place, line) for line in _NAMED.findall(text))


NAMED = sorted(set(named()))


def fault(line: str) -> str:
    """What is wrong with it; empty for nothing. What a program fills in ends what can be known of it."""
    command: Any = COMMANDS
    path: list[str] = []
    words = re.sub(r"[{(].*", "", line).split()
    for word in words:
        if not hasattr(command, "list_commands") or word.startswith("-") or word == "...":
            break
        found = [_below(command, one) for one in word.split("|")]
        if None in found:
            return f"there is no {word} in driftlog {' '.join(path)}"
        command = found[0]
        path.append(word)
    if path == ["edge", "run"]:
        command = edge_run  # read by itself
    options = _EVERYWHERE.union(*((*option.opts, *option.secondary_opts) for option in command.params))
    unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - options
    return f"driftlog {' '.join(path)} has no {', '.join(unknown)}" if unknown else ""


@lru_cache
def _below(group: Any, name: str) -> Any:
    """Found anew it is made anew."""
    return group.get_command(None, name)


@pytest.mark.parametrize(("place", "line"), NAMED, ids=[f"{place}: {line}" for place, line in NAMED])
def test_a_named_command_exists_with_its_options(place: str, line: str) -> None:
    assert fault(line) == ""


def test_what_does_not_exist_is_found() -> None:
    assert len(NAMED) > 150
    assert "nosuch" in fault("edge nosuch") and "--nosuch" in fault("edge run --app shop:app --nosuch")
    assert "show|nosuch" in fault("conflicts show|nosuch")
