"""Whatever a caller sends, the API answers as its own description says: no undocumented answer, no error of ours, `/v1/watch` included.

schemathesis draws the requests from `/openapi.json`: what fits, what nearly fits and what does not, other methods, and calls without the token. It
looks at status, media type, headers and body of each answer. What JSON itself does not allow (lone surrogates, infinity, endless
depth) is in `test_closed_api`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from driftlog_edge.http_api import build
from driftlog_edge.http_api.access import LOOPBACK, Access
from tests.unit.edge.conftest import served
from tests.unit.edge.shop import CONTRACT

if TYPE_CHECKING:
    from schemathesis import Case

TOKEN = "a-token-that-nobody-guesses"
DURATION = re.compile(r"(\d+(\.\d+)?(ms|s|m|h)?)?\Z")


class _Undisturbed:
    contract = CONTRACT


described = build(_Undisturbed()).openapi()  # type: ignore[arg-type]  # only the contract is looked at
OPERATIONS = [(method, path) for path, methods in described["paths"].items() for method in methods]
SERVER_ERRORS = {
    "/v1/commands/change_then_fail": {"failed", "timeout"},  # a defect of the app's own function, and it says so
    "/v1/documents/{collection}/{scope}/{id}": {"offline", "timeout"},
    "/readyz": {"not_ready"},
    "/v1/scopes": {"timeout"},
    "/v1/offline": {"timeout"},
} | {path: {"timeout"} for path in described["paths"] if path.startswith("/v1/commands/") and "fail" not in path}
"""What these requests can give reason for: nobody fills the disk, nor comes with too many at once."""


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


@pytest.mark.parametrize(
    ("method", "path"), OPERATIONS, ids=[f"{method.upper()} {path}" for method, path in OPERATIONS]
)
def test_an_operation_answers_as_described(method: str, path: str, guarded: str) -> None:
    from tests.unit.edge.described_requests import meet

    meet(described, method, path, lambda case: _look_at_the_answer(case, guarded))


def _look_at_the_answer(case: Case, guarded: str) -> None:
    from tests.unit.edge.described_requests import ALWAYS_EXCLUDED, EXCLUDED_FROM_COMMANDS

    if "timeout" in {one.name for one in case.operation.query} and DURATION.match(str(case.query.get("timeout", ""))):
        case.query["timeout"] = "20ms"  # a watch does not end else, and offline a merge is not waited for either
    for part in (case.body, case.path_parameters, case.query):
        _held(part)
    answer = case.call_and_validate(
        base_url=guarded,
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=20,
        excluded_checks=EXCLUDED_FROM_COMMANDS if case.path.startswith("/v1/commands/") else ALWAYS_EXCLUDED,
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
    by_people = {"post /v1/deferred/{command_id}", "post /v1/rejected/{command_id}"}
    assert says == {
        "503": {f"get {document}"},
        "504": writes | {f"get {document}", "put /v1/scopes", "post /v1/offline"} | by_people,
        "507": writes | {"put /v1/scopes", "post /v1/encryption/rotate"} | by_people,
    }
