"""The digests of a store that recovery fills: changed with each state that is taken, and counted from the states where they are unknown.

One is unknown when a record is there whose version nobody can tell (damaged, or its schema cannot be had now). The store remembers that, and the next
recovery counts the scope's documents; so it does for all scopes of a store that an older release has left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

import structlog

from driftlog_schemas.digests import UNTOLD
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.identity import parse_document_key
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.store_mark import DIGESTS, StoreMark

log = structlog.get_logger()


class Digested(Protocol):
    """A store with digests beside its states."""

    @property
    def mark(self) -> StoreMark: ...
    def get(self, key: bytes) -> bytes | None: ...
    def digest(self, scope: str) -> int | None: ...
    def unknown_digests(self) -> list[str]: ...
    def documents(self) -> Iterable[tuple[bytes, bytes]]: ...


class DigestCounting:
    """See the module."""

    def __init__(self, rules: SpaceRules) -> None:
        self._versions = rules.versions

    def changed(self, store: Digested, states: Mapping[bytes, bytes | None]) -> dict[str, int | None]:
        """The digests once these are in the store; nothing where it has to be counted anyway."""
        if store.mark.digests != DIGESTS:
            return {}
        digests: dict[str, int | None] = {}
        for key, value in states.items():
            scope = _scope(key)
            if scope is None:
                continue
            known = digests[scope] if scope in digests else store.digest(scope)
            stored, after = store.get(key), self._digest(key, value)
            before = 0 if stored is None else self._digest(key, stored)
            digests[scope] = None if known is None or before is None or after is None else known ^ before ^ after
        return digests

    def counted(self, store: Digested) -> dict[str, int | None]:
        """The digests that were unknown, of the documents as they are. A walk over all of them, if there are any."""
        every = store.mark.digests != DIGESTS
        digests: dict[str, int | None] = dict.fromkeys([] if every else store.unknown_digests(), 0)
        for key, value in store.documents() if every or digests else ():
            scope = _scope(key)
            if scope is None or not (every or scope in digests):
                continue
            known, digest = digests.get(scope, 0), self._digest(key, value)
            digests[scope] = None if known is None or digest is None else known ^ digest
        return digests

    def _digest(self, key: bytes, value: bytes | None) -> int | None:
        try:
            return self._versions.digest(key, value)
        except (*UNTOLD, RegistryUnreachable) as error:
            log.warning("a state's version cannot be told", key=key.decode(errors="replace"), error=str(error))
            return None


def _scope(key: bytes) -> str | None:
    beginning, _, name = key.rpartition(b"/")
    return _scope_of(beginning) if name.isascii() else _parsed(key)


@lru_cache(maxsize=1 << 12)
def _scope_of(beginning: bytes) -> str | None:
    """Documents of one scope come one after the other, and their keys begin alike."""
    return _parsed(beginning + b"/")


def _parsed(key: bytes) -> str | None:
    try:
        return parse_document_key(key).scope
    except ValueError:
        return None
