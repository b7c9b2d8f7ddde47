"""Commands and changes of single documents, and what became of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI, Query

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.answers import Durability, Wait
from driftlog_edge.http_api import openapi
from driftlog_edge.http_api.durations import seconds
from driftlog_edge.http_api.parameters import Actor, IdempotencyKey, Limit
from driftlog_edge.http_api.path_parts import Part
from driftlog_edge.http_api.shapes import AnswerOut, ChangeIn, LineOut, LogOut
from driftlog_schemas.identity import DocumentId


def install(api: FastAPI, agent: EdgeAgent) -> None:
    """The routes."""

    @api.post("/v1/commands/{name}", response_model_exclude_none=False, responses=openapi.WRITE)
    async def run_command(
        name: Part,
        arguments: Annotated[dict[str, Any], Body(default_factory=dict)],
        idempotency_key: IdempotencyKey = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        timeout: str = "5s",  # noqa: ASYNC109  # the promised name of the query parameter
        session: str = "",
        driftlog_actor: Actor = "",
    ) -> AnswerOut:
        """Run a declared command."""
        answer = await agent.run_with(
            name,
            arguments,
            command_id=idempotency_key,
            wait=wait,
            durability=durability,
            seconds=seconds(timeout, "timeout"),
            session=session,
            actor=driftlog_actor,
        )
        return AnswerOut.of(answer)

    @api.get("/v1/log")
    async def show_log(
        limit: Limit = 100,
        pending: bool = False,
        before: Annotated[int, Query(ge=0)] = 0,
        after: Annotated[int, Query(ge=0)] = 0,
    ) -> LogOut:
        """A page of this device's commands, the last of them (`before` a number); with `pending`, of those that wait, the first (`after` a number).
        It ends before `limit` where they are large: go by `next`."""
        page = await (agent.log.pending(limit, after) if pending else agent.log.last(limit, before))
        return LogOut(commands=[LineOut.of(line) for line in page.lines], next=page.next)

    @api.get("/v1/commands/{command_id}", responses=openapi.FIND)
    async def command_status(command_id: Part) -> AnswerOut:
        """What became of a command."""
        return AnswerOut.of(agent.command(command_id))

    @api.post("/v1/documents/{collection}/{scope}/{id}", responses=openapi.WRITE)
    async def write_document(
        collection: Part,
        scope: Part,
        id: Part,
        changes: list[ChangeIn],
        idempotency_key: IdempotencyKey = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        timeout: str = "5s",  # noqa: ASYNC109  # as above
        session: str = "",
        driftlog_actor: Actor = "",
    ) -> AnswerOut:
        """Change one document without a declared command."""
        answer = await agent.write(
            DocumentId(collection, scope, id),
            [(c.field, c.op, c.args) for c in changes],
            command_id=idempotency_key,
            wait=wait,
            durability=durability,
            seconds=seconds(timeout, "timeout"),
            session=session,
            actor=driftlog_actor,
        )
        return AnswerOut.of(answer)
