"""Schema ids: the registry's, remembered on disk, so that a known schema needs no network for months.

Subjects are record names. Who registers: workers, `driftlog topics apply` and `driftlog schemas register`, all with
`register=True`. An edge only looks up, by subject and schema, and remembers: its writes must not depend on a registry, and a
forgotten laptop must not decide what the cloud's schemas are.

A registering process offers each of its schemas once even if it remembers the id: so a registry that was set up anew (a
developer's, a restored one) is filled again instead of being believed from memory. If it is not there, memory will do.

A registry that is down is asked again after a few seconds only, and an id that it does not know after a minute only: ids
stand in records that anybody may have written, and noise must not become a request per record.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, cast

import httpx
import structlog
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from driftlog_schemas.avro_files import full_name
from driftlog_schemas.errors import Incompatible, RegistryUnreachable, UnknownSchema
from driftlog_schemas.schema_cache import SchemaCache, without_secrets

log = structlog.get_logger()
T = TypeVar("T")

TIMEOUT_SECONDS = 5
QUIET_SECONDS = 5.0
"""How long a registry that did not answer is left alone."""
UNKNOWN_SECONDS = 60.0
"""How long an id that the registry does not know is not asked for again."""
MAX_UNKNOWN = 10_000


class SchemaIds(Protocol):
    """Ids of schemas, both ways."""

    def id_of(self, text: str) -> int:
        """The id under which `text` is registered. Raises `UnknownSchema`, `RegistryUnreachable`."""
        ...

    def schema_of(self, schema_id: int) -> str:
        """The schema of an id. Raises `UnknownSchema`, `RegistryUnreachable`."""
        ...


class FixedIds:
    """Ids derived from the schema itself, without a registry: for one process that talks to itself."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def id_of(self, text: str) -> int:
        schema_id = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") >> 1
        assert self._texts.setdefault(schema_id, text) == text, "two schemas of one id"
        return schema_id

    def schema_of(self, schema_id: int) -> str:
        if schema_id not in self._texts:
            raise UnknownSchema(f"schema {schema_id} was never seen here")
        return self._texts[schema_id]


class CachedRegistry:
    """A Confluent-compatible registry behind a disk cache."""

    def __init__(self, url: str, cache: Path, *, register: bool = False) -> None:
        self._url = url
        self._shown = without_secrets(url)
        self._cache = SchemaCache(cache, url)
        self._register = register
        self._ids: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._offered: set[str] = set()
        self._unknown: dict[int, float] = {}
        self._quiet_until = 0.0
        self._client: SchemaRegistryClient | None = None
        for schema_id, text in self._cache.load():
            self._ids[text] = schema_id
            self._texts[schema_id] = text

    def id_of(self, text: str) -> int:
        known = self._ids.get(text)
        if self._register and text not in self._offered:
            try:
                return self.register(text)
            except RegistryUnreachable as error:
                if known is None:
                    raise
                log.warning("schema.registry.unreachable", error=str(error), subject=full_name(text), id=known)
                return known
        if known is not None:
            return known
        subject = full_name(text)
        found = self._ask(lambda c: int(cast(int, c.lookup_schema(subject, Schema(text, "AVRO")).schema_id)), subject)
        self._keep(found, text)
        return found

    def schema_of(self, schema_id: int) -> str:
        known = self._texts.get(schema_id)
        if known is not None:
            return known
        if self._unknown.get(schema_id, 0.0) > time.monotonic():
            raise UnknownSchema(f"schema id {schema_id} was not registered at {self._shown} a moment ago")
        try:
            text = self._ask(lambda c: str(c.get_schema(schema_id).schema_str), f"schema id {schema_id}")
        except UnknownSchema:
            if len(self._unknown) >= MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[schema_id] = time.monotonic() + UNKNOWN_SECONDS
            raise
        self._keep(schema_id, text)
        return text

    def register(self, text: str) -> int:
        """Register a schema under its record name (again is harmless). Raises `Incompatible`, `RegistryUnreachable`."""
        subject = full_name(text)
        schema_id = self._ask(lambda c: int(c.register_schema(subject, Schema(text, "AVRO"))), subject)
        self._offered.add(text)
        self._keep(schema_id, text)
        return schema_id

    def compatible(self, text: str) -> bool:
        """Would the registry take this schema? A subject that is not there yet takes any. Raises `RegistryUnreachable`."""
        subject = full_name(text)
        try:
            return self._ask(lambda c: bool(c.test_compatibility(subject, Schema(text, "AVRO"))), subject)
        except UnknownSchema:
            return True

    def _ask(self, question: Callable[[SchemaRegistryClient], T], what: str) -> T:
        if time.monotonic() < self._quiet_until:
            raise self._silent(what, "it did not a moment ago")
        try:
            if self._client is None:
                self._client = SchemaRegistryClient({"url": self._url, "timeout": TIMEOUT_SECONDS, "max.retries": 1})
            return question(self._client)
        except SchemaRegistryError as error:
            raise self._refused(error, what) from error
        except (httpx.HTTPError, OSError) as error:
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            raise self._silent(what, str(error) or type(error).__name__) from error
        except (httpx.InvalidURL, ValueError, TypeError, LookupError, AttributeError) as error:
            raise RegistryUnreachable(
                f"{self._shown} does not answer like a schema registry: {error}",
                "give the whole URL with --registry, for example http://127.0.0.1:8081/apis/ccompat/v7",
            ) from error

    def _silent(self, what: str, why: str) -> RegistryUnreachable:
        return RegistryUnreachable(
            f"schema registry {self._shown} does not answer ({why}), and {what} is not known here",
            "check --registry, or start one with `driftlog broker up`",
        )

    def _refused(self, error: SchemaRegistryError, what: str) -> UnknownSchema | Incompatible | RegistryUnreachable:
        status = error.http_status_code
        if status == 404 and error.error_code == SchemaRegistryError.UNKNOWN:
            return RegistryUnreachable(
                f"{self._shown} is no schema registry (404)", "give the whole URL with --registry, path included"
            )
        if status == 404:
            return UnknownSchema(
                f"{what} is not registered at {self._shown}",
                "run `driftlog schemas register --app ...` or start a worker",
            )
        if status in (409, 422):
            return Incompatible(
                f"the registry refuses {what}: {error.error_message}",
                "give every new field a default; never change a type",
            )
        if status in (401, 403):
            return RegistryUnreachable(
                f"schema registry {self._shown} does not let us in ({status})",
                "put the user into the URL: https://USER:PASSWORD@HOST",
            )
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        return RegistryUnreachable(f"schema registry {self._shown}: {error}", "check the registry's log")

    def _keep(self, schema_id: int, text: str) -> None:
        if self._texts.get(schema_id) == text and self._ids.get(text) == schema_id:
            return
        self._ids[text] = schema_id
        self._texts[schema_id] = text
        self._cache.keep(schema_id, text)
