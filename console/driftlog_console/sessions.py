"""Who is signed in with a browser: a random cookie in place of the token, for half a day.

They are in memory only: a console that starts again asks everybody to sign in again. What a person may do is looked up at each request.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

from driftlog_console.people import People, Person

COOKIE = "driftlog_console"
SECONDS = 12 * 3600.0
MOST = 1000


class _Session(NamedTuple):
    name: str
    digest: str
    """Of the token that began it: another token ends it."""
    until: float


class Sessions:
    """See the module. `now` is a clock that only grows, in seconds."""

    def __init__(self, people: People, now: Callable[[], float]) -> None:
        self._people = people
        self._now = now
        self._sessions: dict[str, _Session] = {}

    def begin(self, person: Person) -> str:
        """The cookie's value. The oldest session ends where there are too many."""
        while len(self._sessions) >= MOST:
            del self._sessions[next(iter(self._sessions))]
        key = secrets.token_urlsafe(32)
        self._sessions[key] = _Session(person.name, person.digest, self._now() + SECONDS)
        return key

    def person(self, key: str) -> Person | None:
        """Whose session it is, as the list has them now. Raises `PeopleProblem`."""
        session = self._sessions.get(key)
        if session is None:
            return None
        person = self._people.named(session.name)
        if person is None or person.digest != session.digest or self._now() >= session.until:
            del self._sessions[key]
            return None
        return person

    def end(self, key: str) -> None:
        """Sign out."""
        self._sessions.pop(key, None)
