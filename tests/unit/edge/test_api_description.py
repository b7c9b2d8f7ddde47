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
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from driftlog_edge.http_api import build
from driftlog_edge.http_api.access import LOOPBACK, Access
from tests.unit.edge.conftest import served
from tests.unit.edge.shop import CONTRACT

EXAMPLES = 40
"""Per operation."""
EXCLUDED = [
    positive_data_acceptance,  # what is well-formed may still be refused, and is told why
    allow_header_conformance,  # POST of a name and GET of an id are two templates of one path
]
TOKEN = "a-token-that-nobody-guesses"
DURATION = re.compile(r"(\d+(\.\d+)?(ms|s|m|h)?)?\Z")


class _Undisturbed:
    contract = CONTRACT


described = build(_Undisturbed()).openapi()  # type: ignore[arg-type]  # only the contract is looked at
del described["paths"]["/v1/commands/change_then_fail"]  # a defect of the app's own function is a 500
api = schemathesis.openapi.from_dict(described)
api.config.checks.not_a_server_error.expected_statuses = ["2xx", "3xx", "4xx", "503", "504", "507"]
"""The last three say what the description says: no network, not yet, no room."""


@api.hook
def filter_query(context: HookContext, query: dict[str, Any] | None) -> bool:
    """A name that a call does not know is no fault."""
    return set(query or ()) <= {parameter.name for parameter in context.operation.query}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An agent that asks for its token."""
    with served(tmp_path_factory.mktemp("edge"), Access(TOKEN, LOOPBACK)) as address:
        yield address


@api.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_an_operation_answers_as_described(case: Case, guarded: str) -> None:
    if "timeout" in {one.name for one in case.operation.query} and DURATION.match(str(case.query.get("timeout", ""))):
        case.query["timeout"] = "20ms"  # a watch does not end else, and offline a merge is not waited for either
    case.call_and_validate(
        base_url=guarded,
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=20,
        excluded_checks=EXCLUDED if case.path.startswith("/v1/commands/") else EXCLUDED[:1],
    )
