"""A decision as it was typed, FIELD=JSON, and as an agent takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import typer

from driftlog.cli.edge_arguments import typed


def assignments(given: Sequence[str]) -> dict[str, str]:
    """What was typed, by field."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, raw = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"--set {text}: write FIELD=JSON, for example price=12.5")
        if name in found:
            raise typer.BadParameter(f"--set {name} is given twice")
        found[name] = raw
    return found


def decided(ask: Callable[[dict[str, Any]], httpx.Response], texts: Mapping[str, str]) -> httpx.Response:
    """The agent's answer to a decision as it was typed. It is read as JSON, and what is none is text. Of which type a field is only the agent knows: where it
    refuses a number, say, the same is given once more as text, for what looks like a number may be one. What is refused changes nothing."""
    body = {name: typed(text) for name, text in texts.items()}
    answer = ask(body)
    while (name := str(problem_of(answer).get("field"))) in texts and body[name] != texts[name]:
        body[name] = texts[name]
        again = ask(body)
        if problem_of(again).get("field") == name:
            break
        answer = again
    return answer


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """What an agent says is wrong; empty for nothing, and for what no agent says."""
    try:
        found = dict(answer.json()) if answer.is_error else {}
    except (ValueError, TypeError):
        return {}
    return found if "code" in found else {}
