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

CHECK_USER = "check user, password, database and what the user may do there"
_NOT_LET_IN = (
    ("authentication failed", CHECK_USER),
    ("no password supplied", CHECK_USER),
    (
        "no encryption",
        "it lets nobody in without TLS: name its authority as postgres.ca_file, or set postgres.tls to require",
    ),
    ("does not support SSL", 'turn on ssl there; postgres.tls = "disable" goes without, on a network that you trust'),
    ("certificate verify failed", "postgres.ca_file must hold the authority that has signed the server's certificate"),
    (
        "does not match host name",
        "connect by a name that the server's certificate has, or set postgres.tls to verify-ca",
    ),
    ("root certificate file", "name the file of the server's authority as postgres.ca_file"),
    ("certificate required", "give postgres.certificate_file and postgres.key_file: it wants to know who we are"),
    ("certificate file", "check postgres.certificate_file"),
    ("private key file", "check postgres.key_file: it must be there, for its owner only"),
)
"""What libpq says of a server that does not let us in, and never will of itself; the first that fits."""

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
        raise SetupProblem(f"PostgreSQL at {settings.shown} refuses: {_line(error)}", CHECK_USER) from error
    except _GONE as error:
        raise Superseded(
            f"somebody has taken the tables away ({_line(error)}): put them back, or have them built anew by --rebuild"
        ) from error
    except (psycopg.OperationalError, errors.ReadOnlySqlTransaction) as error:
        remedy = _remedy(_line(error))
        if remedy is not None:
            raise SetupProblem(f"PostgreSQL at {settings.shown} refuses: {_line(error)}", remedy) from error
        raise SinkAway(f"PostgreSQL at {settings.shown} does not take it: {_line(error)}", "see its log") from error
    except psycopg.InterfaceError as error:  # the connection is closed
        raise SinkAway(
            f"the connection to PostgreSQL at {settings.shown} is gone: {_line(error)}", "see its log"
        ) from error
    except psycopg.Error as error:  # a trigger that raises, a column that somebody has altered: nothing was written
        raise SinkAway(
            f"PostgreSQL at {settings.shown} does not take it: {_line(error)}",
            "undo what was changed in the tables by hand, or have them built anew by --rebuild",
        ) from error


def _remedy(line: str) -> str | None:
    """What to do about a connection that was not made; None where the server is only away. libpq names no codes while it connects."""
    return next((remedy for words, remedy in _NOT_LET_IN if words in line), None)


def _line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())


def lock_number(*names: str) -> int:
    """The number of an advisory lock: 63 bits, the same for the same names."""
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
