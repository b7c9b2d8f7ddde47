"""What every command says and how it ends.

A command prints a table for people or, with `--json`, the same as data. It ends with 0 when done, with 1 and one clear line (the
fact, then the next step) when it failed, with 2 and one line for wrong usage. A traceback is a defect of ours and is left to be seen.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar, cast

import structlog
import typer
from confluent_kafka import KafkaException
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from driftlog.errors import DeclarationError
from driftlog_crdt import AlgebraError
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.errors import ContractError

P = ParamSpec("P")
R = TypeVar("R")

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What the parser raises; typer keeps its own copy of the class and gives it no name."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

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

MOST_IN_A_LINE, MOST_ON_A_PAGE = 2_000, 20_000
"""Characters of one text, where many stand beside each other and where one thing is shown. As data (`--json`) all of it is there."""
LEAST_OF_A_COLUMN = 7
"""Characters with its border: what it folds into less is complete, and nobody can read it."""
DEFAULT_CACHE = Path.home() / ".cache" / "driftlog" / "schemas"


def configure_logs() -> None:
    """Log lines go to standard error, for standard output is for results: coloured for who looks, JSON for who collects."""
    looking = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _for_a_terminal,
            structlog.dev.ConsoleRenderer() if looking else structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _for_a_terminal(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line of the log, in which anybody's words may stand."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = printable(value, MOST_ON_A_PAGE)
    return line


def moment(ms: int) -> str:
    """A time in epoch milliseconds, for people and programs alike. One that no calendar has, as a stranger may have written it, as its number."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def printable(text: str, limit: int = MOST_IN_A_LINE) -> str:
    """As much of a text as a person reads. What would drive the terminal is shown as its code: anybody may have written it."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in shown)


def fail(fact: str, remedy: str = "", code: int = 1) -> NoReturn:
    """End with one line on standard error, and exit code 1 where no other is known for it."""
    line = printable(" ".join(fact.split()))
    err.print(f"error: {line}" + (f"; {remedy}" if remedy else ""), markup=False, soft_wrap=True)
    raise typer.Exit(code)


def misused(error: Any) -> int:
    """One line about a wrong call, and its exit code. A group that is called without a command shows its help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    line = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "driftlog"
    err.print(f"error: {line}; see `{command} --help`", markup=False, soft_wrap=True)
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


def emit(data: Any, *, as_json: bool, table: Callable[[], RenderableType]) -> None:
    """Print `data` as JSON, or what `table` makes of it."""
    if as_json:
        sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")
    else:
        out.print(table())


class _Rows(Table):
    """A table, or on a terminal too narrow for its columns each row as lines of their own: a column of three characters is read by nobody."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= LEAST_OF_A_COLUMN * len(self.columns):
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text(str(self.title), style="bold")
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            yield Text()
            for column, cell in zip(self.columns, cells, strict=True):
                yield Text.assemble((f"{column.header}: ", "bold"), cast(Text, cell), overflow="fold")


def rows(title: str, columns: Sequence[str], lines: Iterable[Sequence[object]], limit: int = MOST_IN_A_LINE) -> Table:
    """A plain table. What stands in it is text as it is: brackets in a value are no markup, and nothing drives the terminal. Where the terminal
    is narrow it is folded, never cut: an id that lacks its end is of no use. Only what is longer than any name is.
    """
    result = _Rows(title=Text(printable(title)), title_justify="left")
    for column in columns:
        result.add_column(column, overflow="fold")
    for line in lines:
        result.add_row(*(Text("" if cell is None else printable(str(cell), limit)) for cell in line))
    return result


def facts(title: str, items: Mapping[str, object]) -> Table:
    """A table of names and values."""
    return rows(title, ("what", "value"), items.items(), MOST_ON_A_PAGE)
