"""What is typed as a decision is what its field takes: a price that is a text looks like a number."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import typer

from driftlog.cli.decision import assignments, decided

TYPES: dict[str, type] = {"price": str, "name": str, "count": int}


class Agent:
    """Takes only what its fields are declared for, and says of the first other one that it is invalid."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, body: dict[str, Any]) -> httpx.Response:
        self.asked.append(dict(body))
        for field, value in body.items():
            if field not in TYPES or type(value) is not TYPES[field]:
                told = f"takes {TYPES[field].__name__}, not {value!r}" if field in TYPES else "there is no such field"
                return httpx.Response(422, json={"code": "invalid", "field": field, "detail": told})
        return httpx.Response(200, json=body)


@pytest.mark.parametrize(
    ("given", "stands"),
    [
        (["price=12.5"], {"price": "12.5"}),
        (["price=007", "name=true", "count=3"], {"price": "007", "name": "true", "count": 3}),
        (["name=by both"], {"name": "by both"}),
        (['name="12"'], {"name": "12"}),
        (["name=NaN"], {"name": "NaN"}),
        (["name=a=b"], {"name": "a=b"}),
    ],
)
def test_what_looks_like_a_number_is_text_where_the_field_is(given: list[str], stands: dict[str, Any]) -> None:
    answer = decided(Agent(), assignments(given))
    assert (answer.status_code, answer.json()) == (200, stands)


@pytest.mark.parametrize(
    ("given", "why"), [("count=2.5", "not 2.5"), ("count=NaN", "not 'NaN'"), ("colour=1", "no such")]
)
def test_what_no_type_makes_right_is_told_as_it_was_typed(given: str, why: str) -> None:
    agent = Agent()
    answer = decided(agent, assignments([given]))
    assert answer.status_code == 422 and why in answer.json()["detail"]
    assert len(agent.asked) <= 2


def test_what_is_no_problem_of_a_field_is_asked_once() -> None:
    for status, body in ((409, {"code": "refused", "detail": "decided already"}), (502, "<html>")):
        asked: list[Any] = []

        def ask(
            given: dict[str, Any], status: int = status, body: Any = body, asked: list[Any] = asked
        ) -> httpx.Response:
            asked.append(given)
            return httpx.Response(status, json=body)

        assert decided(ask, {"price": "1"}).status_code == status and len(asked) == 1


@pytest.mark.parametrize("given", [["price"], ["=1"], ["price=1", "price=2"]])
def test_what_is_no_assignment_or_comes_twice_is_wrong_usage(given: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        assignments(given)
