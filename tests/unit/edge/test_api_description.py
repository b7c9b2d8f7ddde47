"""Whatever a caller sends, the API answers as its own description says: no undocumented answer, no error of ours, `/v1/watch` included.

Requests are drawn from `/openapi.json` itself: each operation with parameters and bodies that fit, nearly fit, or are noise.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftlog_edge.http_api import build
from tests.unit.edge.shop import CONTRACT

EXAMPLES = 40
"""Per operation."""
NOISE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**150), 10**150),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["", "s1", "tea", "Stock", "0", "-1", "5s", "true", "a/b", "\x00", "\ud800", "x" * 600, "🂡", "../.."]
    ),
)
NAMED = {
    "collection": st.sampled_from(["Stock", "Ledger", "Nothing"]),
    "scope": st.sampled_from(["s1", "s2", "elsewhere"]),
}
JSON = st.recursive(
    NOISE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner), max_leaves=8
)
UNSUPPORTED = frozenset({405, 404})


def fitting(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema allows, roughly; the API has to find out itself."""
    if "$ref" in schema:
        node: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        return fitting(node, document)
    if "anyOf" in schema:
        return st.one_of([fitting(one, document) for one in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    match schema.get("type"):
        case "object":
            known = {name: fitting(one, document) for name, one in schema.get("properties", {}).items()}
            required = {name: known[name] for name in schema.get("required", ()) if name in known}
            return st.fixed_dictionaries(required, optional={n: s for n, s in known.items() if n not in required})
        case "array":
            return st.lists(fitting(schema.get("items", {}), document), max_size=4)
        case "integer":
            return st.integers(0, 1000)
        case "boolean":
            return st.booleans()
        case "string":
            return st.sampled_from(
                ["s1", "s2", "tea", "Stock", "Ledger", "set", "increment", "on_hand", "name", "5s", ""]
            )
    return JSON


def requests(path: str, operation: dict[str, Any], document: dict[str, Any], noise: bool) -> st.SearchStrategy[Any]:
    """(path, query, headers, body bytes) of one operation, with noise in it or none."""

    def drawn(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        return st.one_of(fitting(schema, document), NOISE) if noise else fitting(schema, document)

    parameters = operation.get("parameters", [])
    by_place = {
        place: {
            p["name"]: NAMED[p["name"]] if p["name"] in NAMED else drawn(p.get("schema", {}))
            for p in parameters
            if p["in"] == place
        }
        for place in ("path", "query", "header")
    }
    body = st.just(b"")
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = fitting(schema, document).map(lambda v: json.dumps(v).encode())
    if noise:
        body = st.one_of(
            body,
            JSON.map(lambda v: json.dumps(v).encode()),
            st.binary(max_size=30),
        )
    return st.tuples(
        st.fixed_dictionaries(by_place["path"]).map(lambda values: filled(path, values)),
        st.fixed_dictionaries({}, optional=by_place["query"]).map(texts),
        st.fixed_dictionaries({}, optional=by_place["header"]).map(texts),
        body,
    )


def filled(path: str, values: dict[str, Any]) -> str:
    for name, value in values.items():
        path = path.replace("{" + name + "}", quote(str(value).encode("utf-8", "replace"), safe="") or "%20")
    return path


def texts(values: dict[str, Any]) -> dict[str, bytes]:
    """As a client can send them: visible ASCII."""
    return {n: bytes(b for b in str(value).encode("latin-1", "ignore") if 32 < b < 127) for n, value in values.items()}


def described() -> dict[str, Any]:
    return dict(build(_Undisturbed()).openapi())  # type: ignore[arg-type]  # only the contract is looked at


class _Undisturbed:
    contract = CONTRACT


DOCUMENT = described()
OPERATIONS = [
    (path, method)
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    if path != "/v1/commands/change_then_fail"  # a defect of the app is a 500, and said so
]


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=[f"{m} {p}" for p, m in OPERATIONS])
def test_an_operation_answers_as_described(path: str, method: str, url: str) -> None:
    operation = DOCUMENT["paths"][path][method]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.booleans().flatmap(lambda noise: requests(path, operation, DOCUMENT, noise)))
    def answers(request: Any) -> None:
        path_, query, headers, body = request
        target = path_ + "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())
        with http.stream(method, target, headers=headers, content=body) as answer:
            status, kind = answer.status_code, answer.headers.get("content-type", "")
            content = b"" if kind.startswith("text/event-stream") else answer.read()
        assert str(status) in operation["responses"] or (status in UNSUPPORTED and "{" in path), (status, content)
        assert status < 500 or status in (503, 504, 507), content
        if status >= 400:
            assert kind == "application/problem+json", content
            assert {"type", "title", "status", "detail", "code"} <= json.loads(content).keys()
        else:
            assert kind.partition(";")[0] in operation["responses"][str(status)]["content"]

    with httpx.Client(base_url=url, timeout=20, trust_env=False) as http:
        answers()
