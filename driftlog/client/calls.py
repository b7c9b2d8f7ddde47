"""What each method of a client sends, and what it makes of the answer: values and functions, no I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

from driftlog.client.failures import failure
from driftlog_edge.asking.answers import DEFAULT_TIMEOUT, Answer, Call, Consistency, Durability, Reading, Wait
from driftlog_schemas.contract import DocumentClass, InvalidInput, Json
from driftlog_schemas.identity import DocumentId

T = TypeVar("T")

Changes = Sequence[tuple[str, str, Sequence[Json]]]
"""(field, op, args), one after another"""


Kind = type[DocumentClass] | str


class WriteOptions(TypedDict, total=False):
    """Of every write; see `EdgeAgent.run_with`."""

    command_id: str
    wait: Wait
    durability: Durability | None
    seconds: float
    session: str
    actor: str


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One request. Sent twice it has one effect."""

    method: str
    path: str
    parse: Callable[[Any], T]
    """Of the answer's JSON."""
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    body: Any = None
    seconds: float = DEFAULT_TIMEOUT
    """How long the caller waits."""
    command_id: str = ""
    again: bool = True
    """Would it be answered the second time as the first? Then a client sends it until it is answered."""


def run(command: str, arguments: Mapping[str, Any], options: WriteOptions) -> Ask[Answer]:
    return _write(f"/v1/commands/{_part(command)}", dict(arguments), options)


def write(document: DocumentId, changes: Changes, options: WriteOptions) -> Ask[Answer]:
    body = [{"field": name, "op": op, "args": list(args)} for name, op, args in changes]
    return _write(_document(document), body, options)


def resolve(
    conflict_id: str, values: Mapping[str, Json] | None, command_id: str, actor: str, how: str, reason: str
) -> Ask[Answer]:
    options: WriteOptions = {"command_id": command_id, "actor": actor}
    path = f"/v1/conflicts/{_part(conflict_id)}/resolve"
    asked = _write(path, {"accept": True} if values is None else dict(values), options)
    return replace(asked, params={"how": how, "reason": reason})  # it is answered from the disk


def run_many(calls: Sequence[Call], options: WriteOptions) -> Ask[list[Answer | Exception]]:
    body = [
        {
            "name": call.command,
            "arguments": dict(call.arguments),
            "id": call.command_id or str(uuid.uuid4()),
            "actor": call.actor,
        }
        for call in calls
    ]
    return Ask("POST", "/v1/commands", _outcomes, _params(options), body=body, seconds=_seconds(options))


def command(command_id: str) -> Ask[Answer]:
    return Ask("GET", f"/v1/commands/{_part(command_id)}", answer)


def read(
    document: DocumentId, consistency: Consistency, session: str, max_age: float | None, seconds: float
) -> Ask[Reading]:
    params = {"consistency": consistency, "session": session, "timeout": _duration(seconds)}
    if max_age is not None:
        params["max_age"] = _duration(max_age)
    return Ask("GET", _document(document), reading, params, seconds=seconds)


def page(collection: str, scope: str, limit: int, after: str) -> Ask[tuple[list[tuple[str, Reading]], str | None]]:
    """The documents, and after which id there are more."""
    path = f"/v1/documents/{_part(collection)}/{_part(scope)}"
    return Ask("GET", path, _page, {"limit": limit, "after": after})


def conflicts(after: str, *, everything: bool) -> Ask[tuple[list[dict[str, Any]], str | None]]:
    params = {"after": after, "all": everything}
    return Ask("GET", "/v1/conflicts", lambda found: (found["conflicts"], found["next"]), params)


def conflict(conflict_id: str) -> Ask[dict[str, Any]]:
    return Ask("GET", f"/v1/conflicts/{_part(conflict_id)}", dict)


def review(after: int) -> Ask[tuple[list[dict[str, Any]], int | None]]:
    return Ask("GET", "/v1/review", lambda found: (found["commands"], found["next"]), {"after": after})


def review_decide(command_id: str, decision: str) -> Ask[Answer]:
    return Ask(
        "POST", f"/v1/review/{_part(command_id)}", answer, body={decision: True}, command_id=command_id, again=False
    )


def scopes() -> Ask[list[str]]:
    return Ask("GET", "/v1/scopes", lambda found: list(found["scopes"]))


def hold(wanted: Sequence[str], seconds: float) -> Ask[list[str]]:
    params, body = {"timeout": _duration(seconds)}, {"scopes": list(wanted)}
    return Ask("PUT", "/v1/scopes", lambda found: list(found["scopes"]), params, body=body, seconds=seconds)


def status() -> Ask[dict[str, Any]]:
    return Ask("GET", "/v1/status", dict)


def offline(wanted: bool, seconds: float) -> Ask[None]:
    params, body = {"timeout": _duration(seconds)}, {"offline": wanted}
    return Ask("POST", "/v1/offline", lambda _: None, params, body=body, seconds=seconds)


def watch(collection: str, scope: str, last_id: str) -> tuple[dict[str, str], dict[str, str]]:
    """Query and headers."""
    return {"collection": collection, "scope": scope}, {"Last-Event-ID": last_id} if last_id else {}


def name_of(kind: Kind) -> str:
    """The collection that is meant."""
    return kind if isinstance(kind, str) else kind.__driftlog__.name


# -- answers


def answer(found: Mapping[str, Any]) -> Answer:
    dots = tuple((dot["document"], dot["replica"], dot["seq"]) for dot in found["dots"])
    code, reason, waits = (found.get(name) or "" for name in ("code", "reason", "waiting_for"))
    id, status, result, session = (found[name] for name in ("command_id", "status", "result", "session"))
    return Answer(id, status, result, dots, session, code, reason, waits, found.get("waiting_until"))


def reading(found: Mapping[str, Any]) -> Reading:
    """The typed document stays with the agent: a client has the value as JSON."""
    return Reading(
        id=found["id"],
        value=found["value"],
        document=None,
        version=found["version"],
        pending=found["pending"],
        synced_at=found["synced_at"],
        age_seconds=found["age_seconds"],
        stale=found["stale"],
        conflicts=tuple(found["conflicts"]),
        session=found["session"],
    )


def _page(found: Mapping[str, Any]) -> tuple[list[tuple[str, Reading]], str | None]:
    documents = [reading(one) for one in found["documents"]]
    return [(one.id, one) for one in documents], found["next"]


def _outcomes(found: Sequence[Mapping[str, Any]]) -> list[Answer | Exception]:
    return [answer(one["answer"]) if one.get("answer") else failure(one["problem"]) for one in found]


# -- requests


def _write(path: str, body: Any, options: WriteOptions) -> Ask[Answer]:
    command_id = options.get("command_id") or str(uuid.uuid4())
    headers = {b"Idempotency-Key": _header("command_id", command_id)}
    if actor := options.get("actor"):
        headers[b"Driftlog-Actor"] = _header("actor", actor)
    return Ask("POST", path, answer, _params(options), headers, body, _seconds(options), command_id)


def _header(field: str, text: str) -> bytes:
    """As a header carries it. Raises `InvalidInput`."""
    if not text.isprintable() or text != text.strip():
        raise InvalidInput(field, "cannot be sent: use printable text without spaces around it")
    return text.encode()


def _params(options: WriteOptions) -> dict[str, str]:
    params = {"wait": options.get("wait", "disk"), "timeout": _duration(_seconds(options))}
    if session := options.get("session"):
        params["session"] = session
    if durability := options.get("durability"):
        params["durability"] = durability
    return params


def _seconds(options: WriteOptions) -> float:
    return options.get("seconds", DEFAULT_TIMEOUT)


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}s"


def _document(document: DocumentId) -> str:
    return "/v1/documents/" + "/".join(map(_part, document))


def _part(text: str) -> str:
    return quote(text, safe="")
