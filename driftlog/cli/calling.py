"""Asking a running agent from the command line: its answer, or one line that says why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import httpx
import typer
from tenacity import Retrying, stop_after_delay

from driftlog.cli.terminal import fail
from driftlog.client.place import connect
from driftlog.client.sending import retrying

Url = Annotated[str, typer.Option("--url", envvar="DRIFTLOG_EDGE_URL", help="Where the agent listens.")]
PATIENCE_SECONDS = 30
"""No answer is waited for any longer."""


def call(
    method: str,
    url: str,
    path: str,
    away_seconds: float = 0.0,
    to_mend: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> dict[str, Any]:
    """What the agent answers; anything else ends the command with one line. `away_seconds`: it is asked again for so long where none answers, so
    only for what may be asked twice. `to_mend`: by the code of a problem, the remedy where the agent names none."""
    answer, found = _asked(method, url, path, options, away_seconds)
    return _good(answer, found, url, to_mend)


def call_if_found(method: str, url: str, path: str, **options: Any) -> dict[str, Any] | None:
    """The same; None where the agent has nothing of that name."""
    answer, found = _asked(method, url, path, options)
    return None if found.get("code") == "not_found" else _good(answer, found, url)


def _asked(
    method: str, url: str, path: str, options: dict[str, Any], away_seconds: float = 0.0
) -> tuple[httpx.Response, dict[str, Any]]:
    try:
        for attempt in Retrying(**retrying(stop_after_delay(away_seconds))):
            with attempt, connect(url, timeout=PATIENCE_SECONDS) as agent:
                answer = agent.request(method, path, **options)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"no agent answers at {url}: {error}", "start one with `driftlog edge run`, or check --url")
    try:
        return answer, dict(answer.json())
    except (ValueError, TypeError):
        return answer, {}


def _good(
    answer: httpx.Response, found: dict[str, Any], url: str, to_mend: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    if answer.is_error and "code" in found:
        fail(words(found), found.get("remedy") or to_mend.get(found["code"], ""))
    if answer.is_error or not found:
        fail(f"what answers at {url} is no edge agent ({answer.status_code})", "check --url")
    return found


def words(problem: Mapping[str, Any]) -> str:
    """What an agent says is wrong, with its code, and the field where that is one's fault."""
    detail, field = str(problem.get("detail") or problem.get("title", "")), str(problem.get("field") or "")
    named = detail if not field or detail.startswith(f"{field}:") else f"{field}: {detail}"
    return f"{problem['code']}: {named}"
