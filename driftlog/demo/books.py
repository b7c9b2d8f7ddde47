"""The day's end in SQL: the read model as tables, and the retail example's report over all stores.

A PostgreSQL of the demo's own, which goes with it: 15 MB from where Kafka comes from, kept in the same cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from driftlog.cli.extras import missing
from driftlog.demo.cast import Cast, example
from driftlog.demo.processes import DemoFailed
from driftlog.demo.story import EXPECTED
from driftlog_infra import EmbeddedPostgres
from driftlog_infra.pins import pinned

PROJECT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query has given."""

    question: str
    query: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def at_hand() -> bool:
    """Is the extra installed, and is there a PostgreSQL for this machine?"""
    return missing("postgres") is None and bool(pinned(EmbeddedPostgres.artifact))


def close_books(cast: Cast) -> list[Answer]:
    """The report, from tables that are made now. Raises `DemoFailed`, `InfraError`."""
    server = cast.more(EmbeddedPostgres())
    cast.run(
        "project",
        *("project", "--once", "--app", cast.app, "--postgres", server.url),
        *("--bootstrap", cast.bootstrap, "--registry", cast.registry, "--schema-cache", str(cast.folder / "tables")),
        seconds=PROJECT_SECONDS,
        DRIFTLOG_POSTGRES__PASSWORD=server.password_file.read_text(),
    )
    answers = [_asked(server, question, query) for question, query in report(example() / "report.sql")]
    _check(answers[0])
    return answers


def report(file: Path) -> Iterator[tuple[str, str]]:
    """Its questions, each a comment above a statement; paragraphs without a statement are for the reader."""
    for paragraph in file.read_text().split("\n\n"):
        lines = paragraph.strip().splitlines()
        question = " ".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
        query = "\n".join(line for line in lines if not line.startswith("--")).removesuffix(";")
        if query:
            yield question, query


def _asked(server: EmbeddedPostgres, question: str, query: str) -> Answer:
    import psycopg  # of an extra

    with psycopg.connect(server.conninfo) as connection:
        cursor = connection.execute(query.encode())
        columns = [column.name for column in cursor.description or ()]
        return Answer(question, query, columns, [[_plain(cell) for cell in row] for row in cursor.fetchall()])


def _plain(cell: Any) -> object:
    return format(cell, "f") if isinstance(cell, Decimal) else cell


def _check(stores: Answer) -> None:
    """The tables are to say what was counted by hand."""
    store, pieces = (stores.columns.index(name) for name in ("store", "pieces"))
    found = {row[store]: int(str(row[pieces])) for row in stores.rows}
    wanted: dict[object, int] = {}
    for (name, _), count in EXPECTED.items():
        wanted[name] = wanted.get(name, 0) + count
    if found != wanted:
        raise DemoFailed(f"the tables say {found}, and {wanted} was counted", "this is a defect: please report it")
