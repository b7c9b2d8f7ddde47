"""What is read directly is read as the framework reads it: the same call of the agent, and the same answer to the byte.

The agent stands in for itself: it answers with what it was asked, so an answer tells how a request was understood.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import example, given
from hypothesis import strategies as st

from driftlog_edge.asking.answers import Answer, Call, Page, Reading
from driftlog_edge.http_api import build
from driftlog_edge.http_api.direct import Direct
from driftlog_schemas.contract import InvalidInput, Refused
from tests.unit.edge.shop import CONTRACT

Asked = tuple[str, str, bytes, list[tuple[bytes, bytes]], bytes]


class _Echo:
    contract = CONTRACT

    async def run_with(self, command: str, arguments: dict[str, Any], **options: Any) -> Answer:
        if command == "refused":
            raise Refused("no", "says the app")
        return _echo([command, arguments, options])

    async def write(self, document: Any, changes: Any, **options: Any) -> Answer:
        return _echo([document, changes, options])

    async def run_many(self, calls: list[Call], **options: Any) -> list[Answer | Exception]:
        return [InvalidInput("a", "b") if call.command == "bad" else _echo([call, options]) for call in calls]

    async def read(self, collection: str, scope: str, id: str, **options: Any) -> Reading:
        return Reading(
            id=id,
            value={"asked": repr((collection, scope, id, options))},
            document=None,
            version={"r": 1},
            pending=0,
            synced_at=None,
            age_seconds=None,
            stale=False,
            conflicts=(),
            session="",
        )

    async def bounded_page(self, *asked: Any) -> Page:
        return Page([("id", await self.read(*map(str, asked[:3])))], more=True, evicted=1)


def _echo(asked: Any) -> Answer:
    return Answer("c", "pending", json.loads(json.dumps(asked)), (("D/s/i", "r", 1),), "")


DIRECT = build(_Echo())  # type: ignore[arg-type]  # what these requests ask of an agent
GENERAL = build(_Echo())  # type: ignore[arg-type]
for _route in GENERAL.routes:
    if isinstance(_route, APIRoute) and isinstance(_route.app, Direct):
        _route.app = _route.app.general


def answered(api: FastAPI, asked: Asked) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body."""
    method, path, query, headers, body = asked
    said: list[Any] = []
    given = False

    async def receive() -> Any:
        nonlocal given
        if given:
            await asyncio.Event().wait()  # whoever asks stays connected
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path, safe="/%").encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
    }
    asyncio.run(api(scope, receive, send))
    start, *parts = said
    return start["status"], dict(start["headers"]), b"".join(part.get("body", b"") for part in parts)


NAMES = st.sampled_from(["receive", "refused", "a/b", "ü", "", "42"])
OPTIONS = {
    "wait": ["disk", "merged", "", "soon"],
    "durability": ["os", "disk", "none", ""],
    "timeout": ["5s", "500ms", "", "x", " 5s"],
    "session": ["", "token", "ü"],
    "consistency": ["causal", "strong", "STRONG"],
    "max_age": ["", "3s", "-1"],
    "limit": ["1", "0", " 7", "7.0", "1e2", "many"],
    "after": ["", "a/b", "ü"],
    "unknown": ["1"],
}
PAIRS = st.sampled_from([(name, value) for name, values in OPTIONS.items() for value in values])
QUERIES = st.one_of(
    st.lists(PAIRS, max_size=4).map(lambda pairs: urlencode(pairs).encode()),
    st.sampled_from([b"wait", b"&&", b"wait=disk;timeout=5s", b"timeout=%ff", b"wait=disk&wait=disk"]),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"idempotency-key", b"driftlog-actor", b"idempotency_key", b"content-type", b"x-other"]),
        st.sampled_from([b"", b"k1", "ü".encode("latin-1"), "ü".encode(), b"text/plain"]),
    ),
    max_size=3,
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["receive", "bad", 3]),
        "arguments": st.sampled_from([{}, {"a": [1]}, []]),
        "id": st.sampled_from(["", "k", None]),
        "more": st.just(1),
    },
)
CHANGES = st.fixed_dictionaries(
    {}, optional={"field": st.just("f"), "op": st.sampled_from(["add", 1]), "args": st.just([1])}
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.one_of(
    st.one_of(VALUES, st.lists(CALLS, max_size=3), st.lists(CHANGES, max_size=3)).map(lambda v: json.dumps(v).encode()),
    st.sampled_from(
        [b"", b"{", b"{}", b' {"a":1} ', b'{"a":1,"a":2}', b"\xff", '{"a":"ü"}'.encode("utf-16"), b"\xef\xbb\xbf{}"]
    ),
)
REQUESTS = st.one_of(
    st.tuples(st.just("POST"), NAMES.map(lambda name: f"/v1/commands/{name}"), QUERIES, HEADERS, BODIES),
    st.tuples(st.just("POST"), st.just("/v1/commands"), QUERIES, HEADERS, BODIES),
    st.tuples(st.sampled_from(["GET", "POST"]), st.just("/v1/documents/Stock/s1/tea"), QUERIES, HEADERS, BODIES),
    st.tuples(st.just("GET"), st.just("/v1/documents/Stock/s1"), QUERIES, HEADERS, st.just(b"")),
)


@given(REQUESTS)
@example(("POST", "/v1/commands/receive", b"", [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")], b"{}"))
@example(("POST", "/v1/commands/receive", b"session=\xc3\xbc", [(b"driftlog-actor", b"\xfc")], b"{}"))
@example(("POST", "/v1/commands/receive", b"", [], b"null"))
@example(("POST", "/v1/commands", b"", [], b'[{"name":"receive"},{"name":"bad"}]'))
@example(("POST", "/v1/documents/Stock/s1/tea", b"", [], b'[{"field":"f","op":"add","args":[1]}]'))
@example(("GET", "/v1/documents/Stock/s1", b"limit= 7&after=", [], b""))
def test_a_request_is_understood_and_answered_as_the_framework_would(asked: Asked) -> None:
    assert answered(DIRECT, asked) == answered(GENERAL, asked)


@pytest.mark.parametrize(
    "asked",
    [
        ("POST", "/v1/commands/receive", b"", [(b"idempotency-key", b"k")], b'{"qty":1}'),
        ("POST", "/v1/commands/receive", b"wait=merged&timeout=2s", [], b"{}"),
        ("POST", "/v1/commands", b"", [], b'[{"name":"receive"}]'),
        ("POST", "/v1/documents/Stock/s1/tea", b"", [], b'[{"field":"f","op":"add","args":[1]}]'),
        ("GET", "/v1/documents/Stock/s1/tea", b"consistency=causal&session=t", [], b""),
        ("GET", "/v1/documents/Stock/s1", b"limit=7", [], b""),
    ],
)
def test_what_is_usual_is_read_directly(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    async def general(*_: Any) -> None:
        raise AssertionError("the general way")

    for route in DIRECT.routes:
        if isinstance(route, APIRoute) and isinstance(route.app, Direct):
            monkeypatch.setattr(route.app, "general", general)
    assert answered(DIRECT, asked)[0] == 200
