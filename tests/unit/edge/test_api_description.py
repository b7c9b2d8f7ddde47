"""Whatever a caller sends, the API answers as its own description says: no undocumented answer, no error of ours, `/v1/watch` included.

schemathesis draws the requests from `/openapi.json`: what fits, what nearly fits and what does not, other methods, and calls without the token. It
looks at status, media type, headers and body of each answer. What JSON itself does not allow (lone surrogates, infinity, endless
depth) is in `test_closed_api`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, HookContext
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from driftlog_edge.http_api import build
from driftlog_edge.http_api.access import LOOPBACK, Access
from tests.unit.edge.conftest import served
from tests.unit.edge.shop import CONTRACT

EXAMPLES = settings.default.max_examples // 4
"""Per operation: 2, 15, 75 or 2,500, as the profile says (see tests/README.md)."""
EXCLUDED = [
    not_a_server_error,  # looked at below, more closely
    positive_data_acceptance,  # what is well-formed may still be refused, and is told why
    allow_header_conformance,  # POST of a name and GET of an id are two templates of one path
]
TOKEN = "a-token-that-nobody-guesses"
DURATION = re.compile(r"(\d+(\.\d+)?(ms|s|m|h)?)?\Z")


class _Undisturbed:
    contract = CONTRACT


described = build(_Undisturbed()).openapi()  # type: ignore[arg-type]  # only the contract is looked at
api = schemathesis.openapi.from_dict(described)
SERVER_ERRORS = {
    "/v1/commands/change_then_fail": {"failed", "timeout"},  # a defect of the app's own function, and it says so
    "/v1/documents/{collection}/{scope}/{id}": {"offline", "timeout"},
    "/readyz": {"not_ready"},
    "/v1/scopes": {"timeout"},
    "/v1/offline": {"timeout"},
} | {path: {"timeout"} for path in described["paths"] if path.startswith("/v1/commands/") and "fail" not in path}
"""What these requests can give reason for: nobody fills the disk, nor comes with too many at once."""


@api.hook
def filter_query(context: HookContext, query: dict[str, Any] | None) -> bool:
    """A name that a call does not know is no fault."""
    return set(query or ()) <= {parameter.name for parameter in context.operation.query}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An agent that asks for its token."""
    with served(tmp_path_factory.mktemp("edge"), Access(TOKEN, LOOPBACK)) as address:
        yield address


def _held(part: Any) -> None:
    """Every other request is about a scope that is held: nobody draws its name, and no request for another gets far."""
    for name in ("store", "shop", "scope"):
        if isinstance(part, dict) and isinstance(given := part.get(name), str) and len(given) % 2:
            part[name] = "s1"


@api.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_an_operation_answers_as_described(case: Case, guarded: str) -> None:
    if "timeout" in {one.name for one in case.operation.query} and DURATION.match(str(case.query.get("timeout", ""))):
        case.query["timeout"] = "20ms"  # a watch does not end else, and offline a merge is not waited for either
    for part in (case.body, case.path_parameters, case.query):
        _held(part)
    answer = case.call_and_validate(
        base_url=guarded,
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=20,
        excluded_checks=EXCLUDED if case.path.startswith("/v1/commands/") else EXCLUDED[:2],
    )
    if answer.status_code >= 500:
        assert answer.json()["code"] in SERVER_ERRORS.get(case.operation.path, ()), answer.text
    if answer.status_code >= 400 and answer.status_code != 405:
        described_as = case.operation.definition.raw["responses"][str(answer.status_code)]["description"]
        assert f"`{answer.json()['code']}`" in described_as


def test_only_what_can_wait_for_the_cloud_or_for_room_says_so() -> None:
    says: dict[str, set[str]] = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            for status in operation["responses"].keys() & {"504", "507"}:
                says.setdefault(status, set()).add(f"{method} {path}")
            if "`offline`" in operation["responses"]["503"]["description"]:
                says.setdefault("503", set()).add(f"{method} {path}")
    document = "/v1/documents/{collection}/{scope}/{id}"
    commands = {
        f"post {path}"
        for path, operations in described["paths"].items()
        if path.startswith("/v1/commands/") and "post" in operations
    }
    writes = commands | {f"post {document}", "post /v1/conflicts/{id}/resolve", "post /v1/review/{command_id}"}
    assert says == {
        "503": {f"get {document}"},
        "504": writes | {f"get {document}", "put /v1/scopes", "post /v1/offline", "post /v1/deferred/{command_id}"},
        "507": writes | {"put /v1/scopes", "post /v1/encryption/rotate", "post /v1/deferred/{command_id}"},
    }
