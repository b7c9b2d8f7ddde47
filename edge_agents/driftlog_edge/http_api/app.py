"""The HTTP API of an agent, put together. Each route parses, calls the agent and shapes the answer; nothing is decided here."""

from __future__ import annotations

from typing import Any, cast

from fastapi import Depends, FastAPI

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.http_api import bulk, deciding, openapi, operating, problems, reading, watching, writing
from driftlog_edge.http_api.bodies import Bodies
from driftlog_edge.http_api.direct import DirectRoute, as_declared
from driftlog_edge.http_api.path_parts import ExactNames
from driftlog_schemas.contract import AppContract
from driftlog_schemas.left_out import without


class _Nobody:
    """Stands where an agent would, for who only wants the API's description."""

    def __init__(self, contract: AppContract) -> None:
        self.contract = contract


def description(contract: AppContract) -> dict[str, Any]:
    """The OpenAPI document of agents that run this app."""
    return build(cast("EdgeAgent", _Nobody(contract))).openapi()


def build(agent: EdgeAgent) -> FastAPI:
    """The API of a running agent."""
    api = FastAPI(
        title="Driftlog edge agent",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(as_declared)],
    )
    api.router.route_class = DirectRoute
    problems.install(api)
    openapi.install(api, agent.contract)
    api.add_middleware(Bodies)
    api.add_middleware(ExactNames)
    # The framework looks whether what a route takes is a model of pydantic's first version, and imports that version to tell.
    with without("pydantic.v1"):
        for routes in (writing, bulk, reading, watching, deciding, operating):
            routes.install(api, agent)
    return api
