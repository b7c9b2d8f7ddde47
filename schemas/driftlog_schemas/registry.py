"""Schema ids: the registry's, kept on disk for ever, so that a known schema needs no network for months.

Subjects are record names. Workers and `driftlog schemas register` register; an edge only looks up. What was once learned (the
id of a schema text, the text of an id) never changes in a registry, so the cache needs no expiry.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Protocol

import httpx
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from driftlog_schemas.avro_files import full_name
from driftlog_schemas.errors import Incompatible, RegistryUnreachable, UnknownSchema

TIMEOUT_SECONDS = 5


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
        self._texts[schema_id] = text
        return schema_id

    def schema_of(self, schema_id: int) -> str:
        if schema_id not in self._texts:
            raise UnknownSchema(f"schema {schema_id} was never seen here")
        return self._texts[schema_id]


class CachedRegistry:
    """A Confluent-compatible registry behind a disk cache."""

    def __init__(self, url: str, cache: Path, *, register: bool = False) -> None:
        self._url = url
        self._cache = cache
        self._register = register
        self._ids: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._client: SchemaRegistryClient | None = None
        cache.mkdir(parents=True, exist_ok=True)
        for path in cache.glob("*.json"):
            entry = json.loads(path.read_text())
            if entry["url"] == url:
                self._ids[entry["schema"]] = entry["id"]
                self._texts[entry["id"]] = entry["schema"]

    def id_of(self, text: str) -> int:
        known = self._ids.get(text)
        if known is not None:
            return known
        subject = full_name(text)
        if self._register:
            schema_id = self.register(text)
        else:
            found = self._ask(lambda c: c.lookup_schema(subject, Schema(text, "AVRO")).schema_id, subject)
            schema_id = int(found)
        self._keep(schema_id, text)
        return schema_id

    def schema_of(self, schema_id: int) -> str:
        known = self._texts.get(schema_id)
        if known is None:
            known = str(self._ask(lambda c: c.get_schema(schema_id).schema_str, f"id {schema_id}"))
            self._keep(schema_id, known)
        return known

    def register(self, text: str) -> int:
        """Register a schema under its record name (again is harmless). Raises `Incompatible`."""
        subject = full_name(text)
        return int(self._ask(lambda c: c.register_schema(subject, Schema(text, "AVRO")), subject))

    def compatible(self, text: str) -> bool:
        """Would the registry take this schema? A subject that is not there yet takes any."""
        subject = full_name(text)
        try:
            return bool(self._ask(lambda c: c.test_compatibility(subject, Schema(text, "AVRO")), subject))
        except UnknownSchema:
            return True

    def _ask(self, call, what: str):  # type: ignore[no-untyped-def]  # the client is untyped
        if self._client is None:
            self._client = SchemaRegistryClient({"url": self._url, "timeout": TIMEOUT_SECONDS, "max.retries": 1})
        try:
            return call(self._client)
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                raise UnknownSchema(
                    f"{what} is not registered at {self._url}",
                    "run `driftlog schemas register --app ...` or start a worker",
                ) from error
            if error.http_status_code in (409, 422):
                raise Incompatible(
                    f"the registry refuses {what}: {error.error_message}",
                    "give every new field a default; never change a type",
                ) from error
            raise RegistryUnreachable(f"schema registry {self._url}: {error}", "check the registry's log") from error
        except (httpx.HTTPError, OSError) as error:
            raise RegistryUnreachable(
                f"schema registry {self._url} does not answer ({error or type(error).__name__}), and {what} is not cached",
                "check --registry, or start one with `driftlog broker up`",
            ) from error

    def _keep(self, schema_id: int, text: str) -> None:
        self._ids[text] = schema_id
        self._texts[schema_id] = text
        name = hashlib.blake2b(f"{self._url} {schema_id} {text}".encode(), digest_size=16).hexdigest()
        temp = self._cache / f".{name}.{os.getpid()}"
        temp.write_text(json.dumps({"url": self._url, "id": schema_id, "schema": text}))
        temp.replace(self._cache / f"{name}.json")
