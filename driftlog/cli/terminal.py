"""What every command says and how it ends.

A command prints a table for people or, with `--json`, the same as data. It ends with 0 when done, with 1 and one clear line (the
fact, then the next step) when it failed, with 2 and one line for wrong usage. A traceback is a defect of ours and is left to be seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from confluent_kafka import KafkaException

from driftlog.cli.texts import printable
from driftlog.errors import DeclarationError
from driftlog_crdt import AlgebraError
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.errors import ContractError

P = ParamSpec("P")
R = TypeVar("R")

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What the parser raises; typer keeps its own copy of the class and gives it no name."""

Json = Annotated[bool, typer.Option("--json", help="Print data instead of a table.")]
AppOption = Annotated[
    str, typer.Option("--app", envvar="DRIFTLOG_APP", help="MODULE:ATTRIBUTE of the app, for example shop:app.")
]
Bootstrap = Annotated[str | None, typer.Option("--bootstrap", help="HOST:PORT of a Kafka broker; DRIFTLOG_BOOTSTRAP.")]
Registry = Annotated[str | None, typer.Option("--registry", help="URL of the schema registry; DRIFTLOG_REGISTRY.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="DRIFTLOG_CONFIG", help="TOML file with the tables kafka, registry and trust."),
]

Cache = Annotated[
    Path, typer.Option("--schema-cache", envvar="DRIFTLOG_SCHEMA_CACHE", help="Where known schemas are kept.")
]

DEFAULT_CACHE = Path.home() / ".cache" / "driftlog" / "schemas"


def say(line: str) -> None:
    """One line for people, on standard error."""
    typer.echo(printable(line), err=True)


def fail(fact: str, remedy: str = "", code: int = 1) -> NoReturn:
    """End with one line on standard error, and exit code 1 where no other is known for it."""
    line = " ".join(fact.split())
    say(f"error: {line}" + (f"; {remedy}" if remedy else ""))
    raise typer.Exit(code)


def misused(error: Any) -> int:
    """One line about a wrong call, and its exit code. A group that is called without a command shows its help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    line = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "driftlog"
    say(f"error: {line}; see `{command} --help`")
    return 2


def told(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the project's own errors, which carry fact and remedy, into one line and exit code 1. What was typed is text, or wrong usage."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        _require_text(kwargs)
        try:
            return function(*args, **kwargs)
        except (ContractError, DeclarationError, InvalidInput, Refused, AlgebraError) as error:
            fail(str(error), getattr(error, "remedy", ""))
        except KafkaException as error:
            fail(f"the Kafka broker refuses: {error.args[0]}", "see the broker's log")
        except RuntimeError as error:  # component trees carry a remedy; anything else is a defect and stays loud
            remedy = getattr(error, "remedy", None)
            if remedy is None:
                raise
            fail(str(error), remedy, getattr(error, "exit_code", 1))

    return wrapped


def _require_text(typed: Mapping[str, object]) -> None:
    """A shell hands over any bytes; those that are no UTF-8 Python keeps as halves of surrogate pairs, which nobody can be sent. A path may
    be of any bytes."""
    for name, given in typed.items():
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, str) and not value.isascii() and value.encode(errors="ignore").decode() != value:
                raise typer.BadParameter(f"{value!a} is no UTF-8 text", param_hint=repr(name))
