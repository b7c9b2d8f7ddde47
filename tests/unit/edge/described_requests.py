"""Requests as an API's description has them, drawn by schemathesis: its examples, the edges of each parameter, and random ones.

Its pytest plugin draws the edges while tests are collected, in every process of a run, although one of them runs the file. So a test calls `meet` instead,
and imports this module when it runs: the library alone takes half a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, HookContext
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation.hypothesis.builder import HypothesisTestConfig, HypothesisTestMode, create_test
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

QUICKLY = settings.get_current_profile_name() == "quick"
"""Then the edges of the parameters are left out, most of a run's two and a half thousand requests."""
EXAMPLES = settings.default.max_examples // 4
"""Per operation: 1, 15, 75 or 2,500, as the profile says (see tests/README.md)."""
ALWAYS_EXCLUDED = [
    not_a_server_error,  # looked at by the test, more closely
    positive_data_acceptance,  # what is well-formed may still be refused, and is told why
]
EXCLUDED_FROM_COMMANDS = [*ALWAYS_EXCLUDED, allow_header_conformance]
"""POST of a name and GET of an id are two templates of one path."""

_READ: dict[int, tuple[dict[str, Any], Any]] = {}

load_all_checks()


def meet(described: dict[str, Any], method: str, path: str, answer: Callable[[Case], None]) -> None:
    """Hand `answer` one request after the other to an operation of `described`. Raises what it raises, for the smallest such request."""
    api = _read(described)

    @settings(settings.default, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    def each(case: Case) -> None:
        answer(case)

    modes = set(HypothesisTestMode) - ({HypothesisTestMode.COVERAGE} if QUICKLY else set())
    create_test(
        operation=api[path][method],
        test_func=each,
        config=HypothesisTestConfig(project=api.config, modes=sorted(modes)),
    )()


def _read(described: dict[str, Any]) -> Any:
    """The library's view of it: of one that was read already, the same."""
    if id(described) not in _READ:
        api = schemathesis.openapi.from_dict(described)
        api.hook(filter_query)
        _READ[id(described)] = described, api
    return _READ[id(described)][1]


def filter_query(context: HookContext, query: dict[str, Any] | None) -> bool:
    """A name that a call does not know is no fault."""
    return set(query or ()) <= {parameter.name for parameter in context.operation.query}
