"""What every command says and how it ends.

A command prints a table for people or, with `--json`, the same as data. It ends with 0 when done, with 1 and one clear line (the
fact, then the next step) when it failed, with 2 and one line for wrong usage. A traceback is a defect of ours and is left to be seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer

from driftlog.cli.failures import Failure, failure_of, misuse
from driftlog.cli.texts import no_text, printable
from driftlog_schemas.bounds import MAX_SCOPE
from driftlog_schemas.home import home
from driftlog_schemas.rhythm import milliseconds

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

DEFAULT_CACHE = home() / ".cache" / "driftlog" / "schemas"


DAY_MS = 24 * 3600 * 1000
LONGEST_MS = 36_500 * DAY_MS
"""A hundred years: no number of milliseconds that is made of it is too great for a record or a topic."""


def say(line: str) -> None:
    """One line for people, on standard error."""
    typer.echo(printable(line), err=True)


def fail(fact: str, remedy: str = "", code: int = 1) -> NoReturn:
    """End with one line on standard error, and exit code 1 where no other is known for it."""
    say(Failure(fact, remedy).line)
    raise typer.Exit(code)


def misused(error: Any) -> int:
    """One line about a wrong call, and its exit code. A group that is called without a command shows its help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    say(misuse(error))
    return 2


def one_space(spaces: Collection[str], given: str | None) -> str:
    """The space that a command is about: the one that was `given`, else the app's only one. Raises `BadParameter`."""
    name = given if given is not None else next(iter(spaces)) if len(spaces) == 1 else ""
    if name not in spaces:
        raise typer.BadParameter(f"name one of the app's spaces with --space: {', '.join(spaces)}")
    return name


def duration_ms(option: str, text: str) -> int:
    """What was typed as a duration, in milliseconds; 0 for nothing. Raises `BadParameter`."""
    found = milliseconds(text)
    if text and not 0 < found <= LONGEST_MS:
        raise typer.BadParameter(
            f"{text!r}: write for example 365d or 12h, at most {LONGEST_MS // DAY_MS}d", param_hint=repr(option)
        )
    return found


def require_scopes(scopes: Collection[str]) -> None:
    """Raises `BadParameter` where one of these can be no scope."""
    for scope in scopes:
        if not 0 < len(scope.encode()) <= MAX_SCOPE:
            raise typer.BadParameter(
                f"{scope[:40]!r} can be no scope; use 1 to {MAX_SCOPE} bytes", param_hint="'--scope'"
            )


def told(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the project's own errors, which carry fact and remedy, into one line and exit code 1. What was typed is text, or wrong usage."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if (wrong := no_text(kwargs)) is not None:
            raise typer.BadParameter(wrong[1], param_hint=repr(wrong[0]))
        try:
            return function(*args, **kwargs)
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            fail(*failure)

    return wrapped
