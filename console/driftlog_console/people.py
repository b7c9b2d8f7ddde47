"""Who may use the console, and for what.

A person has a name, scopes, and what they may do: *view*, *decide* (conflicts and reviews of these scopes), *operate* (what the cloud has set
aside), *reveal* (see the fields of these scopes that the declaration masks). Without more words a person may only view. Who somebody is, a token says; only its digest is kept, in a file of mode 0600 that is read
again whenever it changes. So who is taken off the list is out at the next request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from driftlog_console.errors import PeopleProblem
from driftlog_schemas import bounds

FILE = "people.json"
FIRST, FIRST_TOKEN = "operator", "operator.token"
EVERYTHING = "*"
TOKEN_BYTES = 32
MOST = 10_000
_NAME = re.compile(r"[^\W_][\w .'@+-]{0,62}\Z")


class Right(StrEnum):
    """What a person may do besides looking."""

    VIEW = "view"
    DECIDE = "decide"
    OPERATE = "operate"
    REVEAL = "reveal"


@dataclass(frozen=True, slots=True)
class Person:
    """One line of the list."""

    name: str
    digest: str
    """Of the token, hexadecimal sha-256."""
    rights: tuple[Right, ...] = (Right.VIEW,)
    scopes: tuple[str, ...] = (EVERYTHING,)

    def may(self, right: Right, scope: str = "") -> bool:
        """Is this allowed, in this scope if one is named?"""
        return right in (*self.rights, Right.VIEW) and (not scope or self.sees(scope))

    def sees(self, scope: str) -> bool:
        """Is the scope among theirs?"""
        return EVERYTHING in self.scopes or scope in self.scopes

    def may_undo(self, decider: str) -> bool:
        """Is a decision of this person theirs to undo, while nobody saw it: their own, or anybody's for who may decide in all scopes?"""
        return self.may(Right.DECIDE) and (self.name == decider or EVERYTHING in self.scopes)


_LINES = TypeAdapter(list[Person])


class People:
    """The list in a console's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read_at = 0, 0
        self._people: dict[str, Person] = {}

    def all(self) -> list[Person]:
        """By name. Raises `PeopleProblem`."""
        self._refresh()
        return sorted(self._people.values(), key=lambda person: person.name)

    def named(self, name: str) -> Person | None:
        """As the list has them now. Raises `PeopleProblem`."""
        self._refresh()
        return self._people.get(name)

    def with_token(self, token: str) -> Person | None:
        """Whose token this is. Raises `PeopleProblem`."""
        self._refresh()
        digest = _digest(token)
        found = [person for person in self._people.values() if hmac.compare_digest(person.digest, digest)]
        return found[0] if found else None

    def add(self, name: str, rights: Sequence[Right] = (), scopes: Sequence[str] = (EVERYTHING,)) -> str:
        """Put a person on the list, or give them other rights and a new token; the token, which is told only now. Raises `PeopleProblem`."""
        self._refresh()
        if not _NAME.match(name):
            raise PeopleProblem(
                f"{name!r} cannot name a person", "use 1 to 63 letters, digits, spaces, or any of . ' @ + - _"
            )
        for scope in scopes:
            if not scope or len(scope.encode()) > bounds.MAX_SCOPE:
                raise PeopleProblem(f"scope {scope[:40]!r} cannot be one", f"use 1 to {bounds.MAX_SCOPE} bytes")
        if name not in self._people and len(self._people) >= MOST:
            raise PeopleProblem(f"{MOST} people are on the list", "take somebody off it first")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        kept = tuple(right for right in Right if right in rights or right is Right.VIEW)
        self._people[name] = Person(name, _digest(token), kept, tuple(scopes) or (EVERYTHING,))
        self._write()
        return token

    def first(self) -> Path | None:
        """Where nobody is on the list: a person who may do everything, and the file with their token. Raises `PeopleProblem`."""
        if self.all():
            return None
        path = self._path.with_name(FIRST_TOKEN)
        _write_private(path, self.add(FIRST, list(Right)) + "\n")
        return path

    def remove(self, name: str) -> None:
        """Take a person off the list. Raises `PeopleProblem`."""
        self._refresh()
        if self._people.pop(name, None) is None:
            raise PeopleProblem(f"there is nobody called {name!r}", "see `driftlog console people list`")
        self._write()

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
            if (found.st_mtime_ns, found.st_ino) == self._read_at:
                return
            people = _LINES.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            self._people, self._read_at = {}, (0, 0)
            return
        except (OSError, ValidationError) as error:
            raise PeopleProblem(
                f"the list {self._path} cannot be read: {type(error).__name__}", "mend it, or remove it and add people"
            ) from error
        self._people = {person.name: person for person in people}
        self._read_at = found.st_mtime_ns, found.st_ino

    def _write(self) -> None:
        people = sorted(self._people.values(), key=lambda person: person.name)
        _write_private(self._path, json.dumps([asdict(person) for person in people], indent=1))
        found = self._path.stat()
        self._read_at = found.st_mtime_ns, found.st_ino


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, for its owner's eyes."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        raise PeopleProblem(f"{path} cannot be written: {error.strerror}", "check the folder") from error


def _digest(token: str) -> str:
    """A token is long and random, so a plain digest of it tells nothing."""
    return hashlib.sha256(token.encode()).hexdigest()
