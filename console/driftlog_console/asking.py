"""Who asks, and what a form says. Every route names the right that it takes; one that names none does not answer (`app`)."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, Request

from driftlog_console.desk import Desk
from driftlog_console.people import Person, Right
from driftlog_console.sessions import COOKIE
from driftlog_edge.errors import NotFound
from driftlog_schemas.messages import Conflict
from driftlog_streams.reading.conflict_lists import Filter

MAX_FORM_BYTES = 256 * 1024
MAX_FIELDS = 2000


class SignInFirst(Exception):
    """Nobody is known to ask."""


class NotAllowed(Exception):
    """Who asks may not do this; the text says what it takes."""


class BadForm(Exception):
    """A form that none of our pages sends."""


class Form:
    """What was sent; a field that is not there is empty."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """The last value of a field."""
        return self._fields.get(name, [""])[-1]

    def texts(self, name: str) -> list[str]:
        """All of them."""
        return self._fields.get(name, [])

    def all(self) -> dict[str, str]:
        """The last value of each field."""
        return {name: values[-1] for name, values in self._fields.items()}

    def number(self, name: str) -> int:
        """Raises `BadForm`."""
        text = self.text(name)
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise BadForm(f"{name}: a number is needed")
        return int(text)


def desk_of(request: Request) -> Desk:
    """The console's."""
    desk: Desk = request.app.state.desk
    return desk


def asker(request: Request) -> Person:
    """Who asks: by session, or by the token itself. Raises `SignInFirst`."""
    desk = desk_of(request)
    request.state.mark = desk.signals.mark  # before anything is looked at
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        person = desk.people.with_token(token.strip())
    else:
        person = desk.sessions.person(request.cookies.get(COOKIE, ""))
    if person is None:
        raise SignInFirst
    return person


def needs(right: Right) -> Any:
    """The person who asks, who has this right somewhere. What they may see of it the page asks by scope."""

    def person(found: Annotated[Person, Depends(asker)]) -> Person:
        if not found.may(right):
            raise NotAllowed(f"{found.name} may not {right.value} here; that is given by `driftlog console people add`")
        return found

    person.right = right  # type: ignore[attr-defined]  # what a test over all routes looks for
    return Depends(person)


def require(person: Person, right: Right, scope: str) -> None:
    """Raise `NotAllowed` unless the person may do this in a scope."""
    if not person.may(right, scope):
        raise NotAllowed(f"{person.name} may not {right.value} in scope {scope!r}")


def conflict_of(desk: Desk, person: Person, right: Right, conflict_id: str) -> Conflict:
    """A conflict, about which the person may do this. Raises `NotFound` also where they do not see its scope: ids can be guessed at. Raises `NotAllowed`."""
    conflict = desk.agent.conflict(conflict_id)
    if not person.sees(conflict.document.scope):
        raise NotFound(f"no conflict {conflict_id!r} is known here")
    require(person, right, conflict.document.scope)
    return conflict


async def form(request: Request) -> Form:
    """The form that was sent. Raises `BadForm`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise BadForm(f"more than {MAX_FORM_BYTES} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadForm("send application/x-www-form-urlencoded")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise BadForm(str(error)) from error
    return Form(fields)


def _wanted(
    collection: str = "",
    scope: str = "",
    field: str = "",
    device: str = "",
    actor: str = "",
    command: str = "",
    since: str = "",
    until: str = "",
) -> Filter:
    asked = {"collection": collection, "scope": scope, "field": field, "device": device}
    return Filter.of(asked | {"actor": actor, "command": command, "since": since, "until": until})


Wanted = Annotated[Filter, Depends(_wanted)]
"""Which conflicts a query asks for. Raises `InvalidInput`."""
Viewer = Annotated[Person, needs(Right.VIEW)]
Decider = Annotated[Person, needs(Right.DECIDE)]
Operator = Annotated[Person, needs(Right.OPERATE)]
TheDesk = Annotated[Desk, Depends(desk_of)]
Sent = Annotated[Form, Depends(form)]
