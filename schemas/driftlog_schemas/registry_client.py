"""A few questions to a Confluent-compatible schema registry, each with a typed answer.

What answers at a URL may be something else: a proxy's page, another API, a registry that is starting. So nothing is believed that does
not look like the answer: either a registry says yes or no, or it is `RegistryUnreachable`, with the reason. Every question
may be asked twice without harm, and is, once, when a kept connection turns out to be closed.

Source: Confluent's "Schema Registry API Reference"; its error codes begin with the HTTP status: 40401 is "subject not found".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from driftlog_schemas.connection import RegistrySettings
from driftlog_schemas.errors import Incompatible, RegistryUnreachable, UnknownSchema

_WHOLE_URL = "give the whole URL with --registry, for example http://127.0.0.1:8081/apis/ccompat/v7"
_HEADERS = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
_STALE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""How a connection fails that the other side closed while it was kept."""


class RegistryClient:
    """One registry over HTTP or HTTPS. Raises `BadSetting` for a password or certificate that cannot be read."""

    def __init__(self, where: RegistrySettings, timeout: float) -> None:
        self._url = self._shown = where.url.rstrip("/")
        self._http = httpx.Client(headers=_HEADERS, timeout=timeout, auth=where.user(), verify=where.tls())

    def lookup(self, subject: str, text: str) -> int:
        """The id of a schema. Raises `UnknownSchema`, `RegistryUnreachable`."""
        answer = self._ask("POST", f"subjects/{quote(subject, safe='')}", subject, {"schema": text})
        return self._whole_number(answer, "id")

    def schema(self, schema_id: int) -> str:
        """The schema of an id. Raises `UnknownSchema`, `RegistryUnreachable`."""
        answer = self._ask("GET", f"schemas/ids/{schema_id}", f"schema id {schema_id}")
        text = answer.get("schema")
        if type(text) is not str:
            raise self._foreign("no text in its field schema")
        return text

    def register(self, subject: str, text: str) -> int:
        """The id under which a schema now is registered. Raises `Incompatible`, `RegistryUnreachable`."""
        answer = self._ask("POST", f"subjects/{quote(subject, safe='')}/versions", subject, {"schema": text})
        return self._whole_number(answer, "id")

    def version(self, subject: str, version: int | None = None) -> tuple[int, str]:
        """A version of a subject, or its newest, and its number. Raises `UnknownSchema`, `RegistryUnreachable`."""
        which = "latest" if version is None else version
        answer = self._ask("GET", f"subjects/{quote(subject, safe='')}/versions/{which}", subject)
        text = answer.get("schema")
        if type(text) is not str:
            raise self._foreign("no text in its field schema")
        return self._whole_number(answer, "version"), text

    def compatible(self, subject: str, text: str) -> bool:
        """Would it be taken? Raises `UnknownSchema` for a new subject, `RegistryUnreachable`."""
        path = f"compatibility/subjects/{quote(subject, safe='')}/versions/latest"
        verdict = self._ask("POST", path, subject, {"schema": text}).get("is_compatible")
        if type(verdict) is not bool:
            raise self._foreign("no verdict in its field is_compatible")
        return verdict

    def _ask(self, method: str, path: str, what: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        url = f"{self._url}/{path}"
        try:
            try:
                answer = self._http.request(method, url, json=body)
            except _STALE:
                answer = self._http.request(method, url, json=body)
        except httpx.HTTPError as error:
            raise RegistryUnreachable(
                f"schema registry {self._shown} does not answer ({str(error) or type(error).__name__}),"
                f" and {what} is not known here",
                "check --registry, or start one with `driftlog broker up`",
            ) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise self._foreign(str(error)) from error
        try:
            content = answer.json()
        except (ValueError, RecursionError):
            content = None
        if not answer.is_success:
            raise self._refusal(answer.status_code, content if isinstance(content, dict) else {}, what)
        if not isinstance(content, dict):
            raise self._foreign("no JSON object")
        return content

    def _refusal(self, status: int, content: dict[str, Any], what: str) -> Exception:
        code, message = content.get("error_code"), str(content.get("message", ""))
        if status == 404 and type(code) is int and str(code).startswith("404"):
            return UnknownSchema(
                f"{what} is not registered at {self._shown}",
                "run `driftlog schemas register --app ...` or start a worker",
            )
        if status in (409, 422):
            return Incompatible(
                f"the registry refuses {what}: {message or status}",
                "give every new field a default; never change a type",
            )
        if status in (401, 403):
            return RegistryUnreachable(
                f"schema registry {self._shown} does not let us in ({status})",
                "give registry.username and registry.password_file",
            )
        if status < 500:
            return RegistryUnreachable(f"{self._shown} is no schema registry ({status})", _WHOLE_URL)
        return RegistryUnreachable(
            f"schema registry {self._shown} fails: {message or 'no reason given'} ({status})",
            "check the registry's log",
        )

    def _whole_number(self, answer: dict[str, Any], name: str) -> int:
        value = answer.get(name)
        if type(value) is not int:
            raise self._foreign(f"no whole number in its field {name}")
        return value

    def _foreign(self, why: str) -> RegistryUnreachable:
        return RegistryUnreachable(f"{self._shown} does not answer like a schema registry: {why}", _WHOLE_URL)
