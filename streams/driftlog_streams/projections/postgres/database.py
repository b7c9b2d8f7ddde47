"""One connection, and what its errors mean: is the server away, or does it refuse what we are?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import errors

from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.errors import SinkAway, Superseded
from driftlog_streams.projections.postgres.settings import PostgresSettings

Database: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

CONNECT_SECONDS = 10
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that is cut off is noticed within half a minute."""
_SERVERS_KEEPALIVE = {
    "tcp_keepalives_idle": 15,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""And so are we by the server, which gives our locks to others then; by itself it would wait for hours."""
_REFUSED = (
    errors.InvalidPassword,
    errors.InvalidAuthorizationSpecification,
    errors.InvalidCatalogName,
    errors.InsufficientPrivilege,
)


def connect(settings: PostgresSettings) -> Database:
    """A connection whose every statement is a transaction of its own unless `transaction` is used. Raises `SinkAway`, `SetupProblem`, `BadSetting`."""
    with told(settings):
        given = {**settings.client(), **_KEEPALIVE, "connect_timeout": CONNECT_SECONDS}
        connection = psycopg.connect(**given, autocommit=True)
        for name, value in _SERVERS_KEEPALIVE.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, str(value)])
        return connection


_GONE = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)


@contextmanager
def told(settings: PostgresSettings) -> Iterator[None]:
    """Whatever PostgreSQL says of what is done inside, as an error of ours."""
    try:
        yield
    except _REFUSED as error:
        raise _refusal(settings, error) from error
    except _GONE as error:
        raise Superseded(f"somebody has taken the tables away: {_line(error)}") from error
    except (psycopg.OperationalError, errors.ReadOnlySqlTransaction) as error:
        if "authentication failed" in str(error) or "no password supplied" in str(
            error
        ):  # while connecting libpq names no code
            raise _refusal(settings, error) from error
        raise SinkAway(f"PostgreSQL at {settings.shown} does not take it: {_line(error)}", "see its log") from error
    except psycopg.InterfaceError as error:  # the connection is closed
        raise SinkAway(
            f"the connection to PostgreSQL at {settings.shown} is gone: {_line(error)}", "see its log"
        ) from error


def _refusal(settings: PostgresSettings, error: psycopg.Error) -> SetupProblem:
    return SetupProblem(
        f"PostgreSQL at {settings.shown} refuses: {_line(error)}",
        "check user, password, database and what the user may do there",
    )


def _line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())


def lock_number(*names: str) -> int:
    """The number of an advisory lock: 63 bits, the same for the same names."""
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
