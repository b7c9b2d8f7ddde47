"""How PostgreSQL is reached: the table `[postgres]`, beside `[kafka]` and `[registry]`, with the same rules for secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, model_validator

from driftlog_schemas.connection import Table, secret_of, wrong

TlsMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
APPLICATION = "driftlog project"


class PostgresSettings(Table):
    """A database, and how it lets us in."""

    url: str = Field(default="postgresql://127.0.0.1:5432/postgres", min_length=1)
    """As libpq takes it (an address, or `host=... dbname=...`), without a password."""
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    tls: TlsMode | None = None
    """libpq's `sslmode`; `verify-full` where there is a `ca_file`, else as the URL says."""
    ca_file: Path | None = None
    """PEM."""
    certificate_file: Path | None = None
    key_file: Path | None = None

    files = ("password_file", "ca_file", "certificate_file", "key_file")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            found = conninfo_to_dict(self.url)
        except ProgrammingError:
            raise wrong("url", "it is no address of a PostgreSQL", "write postgresql://HOST:PORT/DATABASE") from None
        if found.get("password") is not None:
            raise wrong("url", "a password stands in it", "write it to a file and name that as password_file")
        if self.password is not None and self.password_file is not None:
            raise wrong("password_file", "password is given too", "keep the password in one place")
        for name, other in (("certificate_file", "key_file"), ("key_file", "certificate_file")):
            if getattr(self, name) is None and getattr(self, other) is not None:
                raise wrong(name, f"it is missing, and {other} is given", "give both, or none")
        if self.ca_file is not None and self.tls not in (None, "verify-ca", "verify-full"):
            raise wrong("tls", f"{self.tls} believes any certificate, and ca_file is given", "set it to verify-full")
        return self

    def client(self) -> dict[str, Any]:
        """What `psycopg.connect` is given. Raises `BadSetting`."""
        found: dict[str, Any] = {"conninfo": self.url, "application_name": APPLICATION}
        if self.username is not None:
            found["user"] = self.username
        if self.password is not None or self.password_file is not None:
            found["password"] = secret_of("postgres.password_file", self.password, self.password_file)
        mode = self.tls or ("verify-full" if self.ca_file is not None else None)
        files = {"sslrootcert": self.ca_file, "sslcert": self.certificate_file, "sslkey": self.key_file}
        found |= {name: str(path) for name, path in files.items() if path is not None}
        return found if mode is None else {**found, "sslmode": mode}

    @property
    def shown(self) -> str:
        """For people: where, and which database."""
        found = conninfo_to_dict(self.url)
        return f"{found.get('host', 'localhost')}:{found.get('port', 5432)}/{found.get('dbname', '')}"
