"""Schema ids: the registry's, remembered on disk, so that a known schema needs no network for months.

Subjects are record names. Who registers: workers, `driftlog topics apply` and `driftlog schemas register`, all with
`register=True`. An edge only looks up, by subject and schema, and remembers: its writes must not depend on a registry, and a
forgotten laptop must not decide what the cloud's schemas are.

A registering process offers each of its schemas once even if it remembers the id: so a registry that was set up anew (a
developer's, a restored one) is filled again instead of being believed from memory. If it is not there, memory will do.

Ids stand in records, so what a `lasting` memory has (a worker's, an agent's) is held against the registry before that is believed anything. One that was made
anew is filled with all of it, in the order of the ids, and has to give each the id that it had. Else it counts as one that is away: memory will do, and nobody
writes ids that others would read as something else.

A registry that is down is asked again after a few seconds only, and an id that it does not know after a minute only: ids
stand in records that anybody may have written, and noise must not become a request per record. Noise can name another id each time,
so there is a bound on how many unknown ones are asked for in a minute; beyond it an id counts as unknown unasked, and whoever
cannot do without keeps the record and tries again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from driftlog_schemas import declarations
from driftlog_schemas.avro_files import full_name
from driftlog_schemas.connection import RegistrySettings, registry_at
from driftlog_schemas.errors import Incompatible, RegistryMadeAnew, RegistryUnreachable, UnknownSchema
from driftlog_schemas.schema_cache import SchemaCache

if TYPE_CHECKING:
    from driftlog_schemas.registry_client import RegistryClient

log = structlog.get_logger()
T = TypeVar("T")

TIMEOUT_SECONDS = 5
QUIET_SECONDS = 5.0
"""How long a registry that did not answer is left alone."""
UNKNOWN_SECONDS = 60.0
"""How long an id that the registry does not know is not asked for again."""
MAX_UNKNOWN = 100
"""How many unknown ids are asked for in that time."""
MAX_HISTORY = 200
"""Versions of a schema that a new one is compared with."""
OURS = "driftlog."
"""What the names of our schemas begin with; a stranger's may come and go."""
BRING_BACK = (
    "bring its records back from a backup, or empty it and start first the worker whose folder has them all "
    "(docs/lost_topics.md); where it is to be another one, give it another address"
)
REMEDY = "a value would be read as something else: give it a new name, and move what is there by a command"


class SchemaIds(Protocol):
    """Ids of schemas, both ways."""

    def id_of(self, text: str) -> int:
        """The id under which `text` is registered. Raises `UnknownSchema`, `RegistryUnreachable`."""
        ...

    def schema_of(self, schema_id: int) -> str:
        """The schema of an id. Raises `UnknownSchema`, `RegistryUnreachable`."""
        ...

    def at_hand(self, schema_id: int) -> bool:
        """Does `schema_of` answer without asking anybody?"""
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

    def at_hand(self, schema_id: int) -> bool:
        return True


class CachedRegistry:
    """A Confluent-compatible registry behind a disk cache."""

    def __init__(
        self, where: RegistrySettings | str, cache: Path, *, register: bool = False, lasting: bool = False
    ) -> None:
        """`lasting`: what is in the cache stands in records that its owner has written or read."""
        self._where = registry_at(where)
        self._shown = self._where.url
        self._cache = SchemaCache(cache, self._where.url)
        self._register = register
        self._held_against = not lasting
        self._lasting = lasting
        self._ids: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._offered: set[str] = set()
        self._unknown: dict[int, float] = {}
        self._quiet_until = 0.0
        self._failure: RegistryUnreachable | None = None
        self._client: RegistryClient | None = None
        for schema_id, text in self._cache.load():
            self._ids[text] = schema_id
            self._texts[schema_id] = text

    @property
    def remembers(self) -> bool:
        """Is anything of what the registry once said in its cache?"""
        return bool(self._texts)

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
        found = self._ask(lambda client: client.lookup(subject, text))
        self._keep(found, text)
        return found

    def schema_of(self, schema_id: int) -> str:
        known = self._texts.get(schema_id)
        if known is not None:
            return known
        now = time.monotonic()
        while self._unknown and next(iter(self._unknown.values())) <= now:  # in the order of asking
            self._unknown.pop(next(iter(self._unknown)), None)  # another thread may have done so
        if schema_id in self._unknown:
            raise UnknownSchema(f"schema id {schema_id} was not registered at {self._shown} a moment ago")
        if len(self._unknown) >= MAX_UNKNOWN:
            raise UnknownSchema(f"schema id {schema_id} is not known, and too many others were asked for in vain")
        try:
            text = self._ask(lambda client: client.schema(schema_id))
        except UnknownSchema:
            self._unknown[schema_id] = now + UNKNOWN_SECONDS
            raise
        self._keep(schema_id, text)
        return text

    def at_hand(self, schema_id: int) -> bool:
        now = time.monotonic()
        quiet = self._failure is not None and now < self._quiet_until
        return quiet or schema_id in self._texts or self._unknown.get(schema_id, 0.0) > now

    def register(self, text: str) -> int:
        """Register a schema under its record name (again is harmless). Raises `Incompatible`, `RegistryUnreachable`."""
        subject = full_name(text)
        if changed := self.changes(text):
            raise Incompatible(f"{subject}: {'; '.join(changed)}", REMEDY)
        schema_id = self._ask(lambda client: client.register(subject, text))
        self._require_same(text, self._ids.get(text, schema_id), schema_id)
        self._offered.add(text)
        self._keep(schema_id, text)
        return schema_id

    def compatible(self, text: str) -> bool:
        """Would the registry take this schema? A subject that is not there yet takes any. Raises `RegistryUnreachable`."""
        subject = full_name(text)
        try:
            return self._ask(lambda client: client.compatible(subject, text))
        except UnknownSchema:
            return True

    def changes(self, text: str) -> list[str]:
        """What a schema declares otherwise than earlier ones of its record, as sentences. Raises `RegistryUnreachable`."""
        return declarations.changes(text, self._history(full_name(text), text)) if declarations.declared(text) else []

    def _history(self, subject: str, text: str) -> Iterator[str]:
        """The registered schemas of a subject, the newest first; none if that is `text` itself."""
        try:
            newest, latest = self._ask(lambda client: client.version(subject))
        except UnknownSchema:
            return
        if declarations.declared(latest) == declarations.declared(text):
            return
        yield latest
        for number in range(newest - 1, max(newest - MAX_HISTORY, 0), -1):
            with suppress(UnknownSchema):  # somebody has deleted it
                yield self._ask(lambda client, number=number: client.version(subject, number))[1]  # type: ignore[misc]

    def _ask(self, question: Callable[[RegistryClient], T]) -> T:
        if self._failure is not None and time.monotonic() < self._quiet_until:
            raise RegistryUnreachable(f"{self._failure} (a moment ago)", self._failure.remedy)
        if self._client is None:
            # An agent that knows its ids never asks, and the HTTP client takes 10 MB.
            from driftlog_schemas.registry_client import RegistryClient

            self._client = RegistryClient(self._where, TIMEOUT_SECONDS)
        try:
            if not self._held_against:
                self._hold_against(self._client)
            return question(self._client)
        except RegistryUnreachable as error:
            self._failure, self._quiet_until = error, time.monotonic() + QUIET_SECONDS
            self._held_against = not self._lasting  # when it is back it may be another one
            raise

    def _hold_against(self, client: RegistryClient) -> None:
        """Does it know what it has said last? If it knows nothing at all, fill it again. Raises `RegistryMadeAnew`, `RegistryUnreachable`."""
        ours = {schema_id: text for schema_id, text in self._texts.items() if _named(text).startswith(OURS)}
        if ours and not self._knows(client, max(ours)):
            if not self._register:
                raise self._made_anew(self._texts[max(ours)], max(ours), "knows no such id")
            self._knows(client, min(ours))
            for schema_id, text in sorted(ours.items()):
                self._require_same(text, schema_id, client.register(full_name(text), text))
            log.warning("schema.registry.filled.again", schemas=len(ours), registry=self._shown)
        self._held_against = True

    def _knows(self, client: RegistryClient, schema_id: int) -> bool:
        """Does it know an id of ours? Raises `RegistryMadeAnew` where that is something else there."""
        try:
            found = _named(client.schema(schema_id))
        except UnknownSchema:
            return False
        if found != full_name(self._texts[schema_id]):
            raise self._made_anew(self._texts[schema_id], schema_id, f"has {found or 'no record'} there")
        return True

    def _require_same(self, text: str, known: int, told: int) -> None:
        if self._lasting and known != told:
            raise self._made_anew(text, known, f"gives it the id {told}")

    def _made_anew(self, text: str, known: int, but: str) -> RegistryMadeAnew:
        fact = f"schema registry {self._shown} was made anew, or is another one: {full_name(text)} was its schema {known}, and it {but}"
        return RegistryMadeAnew(fact, BRING_BACK)

    def _keep(self, schema_id: int, text: str) -> None:
        if self._texts.get(schema_id) == text and self._ids.get(text) == schema_id:
            return
        self._ids[text] = schema_id
        self._texts[schema_id] = text
        self._cache.keep(schema_id, text)


def _named(text: str) -> str:
    """The name of a record's schema; empty for what is none."""
    try:
        return full_name(text)
    except (ValueError, LookupError, TypeError):
        return ""
