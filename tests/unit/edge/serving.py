"""The HTTP API of an agent, for one test after the other.

To put its routes together takes longer than most tests do with them, and they are the same for every agent of an app: so they are kept, and ask
whatever agent is there to be asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from fastapi import FastAPI

from driftlog_edge import EdgeAgent
from driftlog_edge.http_api import build
from driftlog_schemas.contract import AppContract


class _Asked:
    """In an agent's place: whatever it is asked, the agent of now answers."""

    def __init__(self, contract: AppContract) -> None:
        self.contract = contract
        self.agent: EdgeAgent | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.agent, name)


_free: list[tuple[_Asked, FastAPI]] = []
"""Of whatever apps."""


@contextmanager
def api_of(agent: EdgeAgent) -> Iterator[FastAPI]:
    """The agent's API, as `build` makes it, to be asked within the context."""
    kept = next((one for one in _free if one[0].contract == agent.contract), None)
    if kept is None:
        asked = _Asked(agent.contract)
        kept = asked, build(cast("EdgeAgent", asked))
    else:
        _free.remove(kept)
    asked, api = kept
    asked.agent = agent
    try:
        yield api
    finally:
        asked.agent = None
        _free.append(kept)
