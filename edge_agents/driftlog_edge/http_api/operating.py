"""How the agent is, and what may be changed of it while it runs."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.http_api import openapi
from driftlog_edge.http_api.durations import seconds
from driftlog_edge.http_api.shapes import OfflineIn, PowerOut, ScopesIn, ScopesOut, SettingsIn, SettingsOut
from driftlog_edge.power.reading import Power


def install(api: FastAPI, agent: EdgeAgent) -> None:
    """The routes."""

    @api.get("/v1/status")
    async def status() -> dict[str, Any]:
        """How the agent is."""
        return agent.status()

    @api.get("/v1/scopes")
    async def show_scopes() -> ScopesOut:
        """The scopes that this replica holds."""
        return ScopesOut(scopes=agent.scopes())

    @api.put("/v1/scopes", responses=openapi.LEAVE)
    async def set_scopes(
        wanted: ScopesIn,
        timeout: str = "5s",  # noqa: ASYNC109  # the promised name of the query parameter
    ) -> ScopesOut:
        """Hold these from now on: new ones are fetched, left ones go from the disk."""
        return ScopesOut(scopes=await agent.hold(wanted.scopes, seconds=seconds(timeout, "timeout")))

    @api.post("/v1/offline", responses=openapi.SET)
    async def set_offline(
        wanted: OfflineIn,
        timeout: str = "5s",  # noqa: ASYNC109  # as above
    ) -> dict[str, Any]:
        """Stay off the network until told otherwise."""
        change = agent.offline if wanted.offline else agent.online
        await change(seconds=seconds(timeout, "timeout"))
        return agent.status()

    @api.get("/v1/power")
    async def show_power() -> PowerOut:
        """What is known of power and network, and what follows from it."""
        return PowerOut.model_validate(agent.power())

    @api.put("/v1/power")
    async def set_power(told: Power) -> PowerOut:
        """Tell it. What is told stands above what the device's own source says, for `power.valid_seconds`; a fact that is left out or null is not told
        any more."""
        return PowerOut.model_validate(agent.set_power(told))

    @api.get("/v1/settings")
    async def show_settings() -> SettingsOut:
        """The settings that may change while the agent runs, as they are now."""
        return SettingsOut.model_validate(agent.settings())

    @api.put("/v1/settings")
    async def change_settings(given: SettingsIn) -> SettingsOut:
        """Change some of them, all at once or none: what is not named stays. It lasts until the agent ends; the next one begins with its file."""
        return SettingsOut.model_validate(agent.change_settings(given))

    @api.post("/v1/encryption/rotate", responses=openapi.ROTATE)
    async def rotate_data_key() -> dict[str, Any]:
        """Encrypt with another data key from now on. What lies under the one before is written anew in the background; see `encryption` in the status."""
        return await agent.rotate_data_key()

    @api.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Alive: a restart would mend nothing. It says so where the store is damaged, for only a person can help then."""
        return "ok" if agent.damage is None else f"{agent.damage}; {agent.damage.remedy}"

    @api.get("/readyz", response_class=PlainTextResponse, responses=openapi.READY)
    async def readyz() -> str:
        """Ready: writes are taken, and the replica has been read to its end at least once. Offline it stays so."""
        agent.ready()
        return "ready"

    @api.get("/metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        """For Prometheus."""
        from driftlog_edge.http_api import metrics  # 5 MB that an agent which nobody scrapes does without

        return Response(metrics.render(agent), media_type=metrics.MEDIA_TYPE)
