"""How every program reaches Kafka and the schema registry: one model, the same tables for agent, worker and command line.

    [kafka]     bootstrap, security_protocol, sasl_mechanism, sasl_username, sasl_password_file, ca_file, certificate_file, key_file
    [registry]  url, username, password_file, ca_file
    [trust]     root

A secret comes from a file or from the environment (`DRIFTLOG_KAFKA__SASL_PASSWORD`), is read when a client is made, and is shown by
nothing: models hide it, errors never repeat what was given. A combination in which a part would be ignored is refused, because what
is ignored here is usually the protection that somebody meant to have. Where a bare address is enough, a text will do: it stands
for the settings with only that address.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from driftlog_schemas.errors import BadSetting

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
RECONNECT_MS = 500
"""librdkafka tries a broker again after so long at first, its own default being 100. It waits longer only while nothing listens: a port that takes
connections and closes them, as a proxy before a dead broker does, it would try as often for ever."""
DEFAULT_REGISTRY = "http://127.0.0.1:8081/apis/ccompat/v7"

REVEAL = {"reveal": True}
"""The context of `model_dump_json` for a child process that needs the secrets: they go through a pipe, never into a log."""

Mechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def wrong(field: str, fact: str, remedy: str) -> PydanticCustomError:
    """A validator's refusal; `settings.bad` makes one line of it."""
    return PydanticCustomError("setting", "{fact}", {"field": field, "fact": fact, "remedy": remedy})


class Table(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secrets: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _files_exist(self) -> Self:
        for name in self.files:
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise wrong(name, f"there is no file {path}", "name one that is there")
        return self


def _revealed(value: SecretStr | None, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    if value is not None and info.context == REVEAL:
        return value.get_secret_value()
    return handler(value)


def secret_of(field: str, given: SecretStr | None, path: Path | None) -> str:
    """The secret, given or in its file; `field` is what the setting of the file is called. Raises `BadSetting`."""
    if given is not None:
        return given.get_secret_value()
    assert path is not None, "validated"
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadSetting(
            f"setting {field}: {path} cannot be read: {why}", "run as its owner, or name another"
        ) from error


class KafkaSettings(Table):
    """A Kafka cluster and how it lets us in."""

    bootstrap: str = Field(default=DEFAULT_BOOTSTRAP, min_length=1)
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    sasl_mechanism: Mechanism | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None
    ca_file: Path | None = None
    """PEM; without it, what the system trusts."""
    certificate_file: Path | None = None
    key_file: Path | None = None

    files = ("sasl_password_file", "ca_file", "certificate_file", "key_file")
    _reveal = field_serializer("sasl_password", mode="wrap")(_revealed)

    @property
    def encrypted(self) -> bool:
        return self.security_protocol.endswith("ssl")

    @property
    def authenticated(self) -> bool:
        return self.security_protocol.startswith("sasl")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        protocol = self.security_protocol
        for name in ("ca_file", "certificate_file", "key_file"):
            if getattr(self, name) is not None and not self.encrypted:
                raise wrong(name, f"{protocol} uses no TLS", "set security_protocol to ssl or sasl_ssl")
        for name in ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_password_file"):
            if getattr(self, name) is not None and not self.authenticated:
                raise wrong(name, f"{protocol} uses no SASL", "set security_protocol to sasl_ssl")
        for name, other in (("certificate_file", "key_file"), ("key_file", "certificate_file")):
            if getattr(self, name) is None and getattr(self, other) is not None:
                raise wrong(name, f"it is missing, and {other} is given", "give both, or none")
        if self.authenticated:
            for name in ("sasl_mechanism", "sasl_username"):
                if getattr(self, name) is None:
                    raise wrong(name, f"{protocol} needs it", "give it, or set security_protocol to plaintext or ssl")
            _one_secret(self, "sasl_password", "sasl_password_file", f"{protocol} needs a password")
        return self

    def password(self) -> str:
        """Raises `BadSetting`."""
        return secret_of("kafka.sasl_password_file", self.sasl_password, self.sasl_password_file)

    def client(self) -> dict[str, Any]:
        """What a client of librdkafka is configured with. Raises `BadSetting`."""
        found: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "reconnect.backoff.ms": RECONNECT_MS}
        if self.security_protocol != "plaintext":
            found["security.protocol"] = self.security_protocol
        if self.authenticated:
            found |= {"sasl.mechanism": self.sasl_mechanism, "sasl.username": self.sasl_username}
            found["sasl.password"] = self.password()
        for name, path in (
            ("ssl.ca.location", self.ca_file),
            ("ssl.certificate.location", self.certificate_file),
            ("ssl.key.location", self.key_file),
        ):
            if path is not None:
                found[name] = str(path)
        return found

    def reader(self) -> dict[str, Any]:
        """The same for one that reads. Raises `BadSetting`.

        What is written in a transaction is read where it stands, however that ends: none of ours is in one, and behind a stranger's that
        stays open nobody else would ever come to the end.
        """
        return {**self.client(), "isolation.level": "read_uncommitted"}

    def asker(self) -> dict[str, Any]:
        """The same for one that asks where partitions end, and the like. Raises `BadSetting`.

        It is connected to every broker, by a setting that librdkafka has and does not list. One that connects when it needs to forgets all pauses where a
        question waits for a broker that is away, and the others still name it: it tried one that refused thousands of times a second (2.16), on a whole core.
        """
        return {**self.client(), "enable.sparse.connections": False}

    def tls(self) -> ssl.SSLContext | None:
        """The same for clients that use Python's TLS; None where there is none. Raises `BadSetting`."""
        if not self.encrypted:
            return None
        context = _trusting("kafka.ca_file", self.ca_file)
        if self.certificate_file is not None:
            try:
                context.load_cert_chain(self.certificate_file, self.key_file)
            except OSError as error:  # ssl.SSLError is one too
                raise BadSetting(
                    f"setting kafka.certificate_file: {self.certificate_file} and its key cannot be used: {error}",
                    "give a certificate and its private key as PEM",
                ) from error
        return context


class RegistrySettings(Table):
    """A schema registry and how it lets us in. User and password may stand in the URL; they are taken out of it."""

    url: str = DEFAULT_REGISTRY
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ca_file: Path | None = None

    files = ("password_file", "ca_file")
    _reveal = field_serializer("password", mode="wrap")(_revealed)

    @model_validator(mode="before")
    @classmethod
    def _user_out_of_the_url(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            return given
        try:
            parts = urlsplit(given["url"])
            username, password = parts.username, parts.password
        except ValueError:  # no URL at all; whoever asks it will say so
            return {**given, "url": given["url"].rpartition("@")[2]}
        if username is None:
            return given
        if "username" in given or "password" in given:
            raise wrong("username", "the URL names a user too", "name the user in one place")
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        found = {**given, "url": bare, "username": unquote(username)}
        return found if password is None else {**found, "password": unquote(password)}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise wrong("ca_file", f"{self.url} uses no TLS", "write the URL with https:")
        if self.username is not None:
            _one_secret(self, "password", "password_file", "the user needs a password")
        for name in ("password", "password_file"):
            if self.username is None and getattr(self, name) is not None:
                raise wrong("username", f"it is missing, and {name} is given", "give both, or none")
        return self

    def user(self) -> tuple[str, str] | None:
        """Name and password. Raises `BadSetting`."""
        if self.username is None:
            return None
        return self.username, secret_of("registry.password_file", self.password, self.password_file)

    def tls(self) -> ssl.SSLContext | bool:
        """What the HTTP client verifies with; False where there is no TLS to verify. Raises `BadSetting`."""
        if self.ca_file is not None:
            return _trusting("registry.ca_file", self.ca_file)
        return not self.url.startswith("http:")  # else each client would parse all of the system's authorities: 20 ms


class TrustSettings(Table):
    """Whose device registry is believed."""

    root: str | None = None
    """The root's public key: a file, or base64. Unset: the first one that is met is pinned in the data folder."""


def kafka_at(where: KafkaSettings | str) -> KafkaSettings:
    """The settings, or those with only an address."""
    return where if isinstance(where, KafkaSettings) else KafkaSettings(bootstrap=where)


def registry_at(where: RegistrySettings | str) -> RegistrySettings:
    """The settings, or those with only a URL."""
    return where if isinstance(where, RegistrySettings) else RegistrySettings(url=where)


def _one_secret(table: Table, plain: str, file: str, fact: str) -> None:
    given = [name for name in (plain, file) if getattr(table, name) is not None]
    if not given:
        raise wrong(file, fact, f"write it to a file and name that, or give {plain} in the environment")
    if len(given) == 2:
        raise wrong(file, f"{plain} is given too", "keep the password in one place")


def _trusting(field: str, ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one too
        raise BadSetting(f"setting {field}: {ca_file} cannot be used: {error}", "give certificates as PEM") from error
