"""Many commands in one request, for bulk loads: a request costs more than the command in it.

Each is answered by itself, as the route of one command would answer it: status, and the answer or the problem. They run in the order of
the list and share their syncs. Only what is wrong with the list itself is refused as a whole, and then none of it has run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import structlog
from fastapi import Body, FastAPI
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.answers import MAX_CALLS, Answer, Call, Durability, Wait
from driftlog_edge.http_api import problems
from driftlog_edge.http_api.bodies import MAX_BODY_BYTES
from driftlog_edge.http_api.durations import seconds
from driftlog_edge.http_api.shapes import AnswerOut

log = structlog.get_logger()

PART_BYTES = 64 << 10
"""Of an answer that are shaped before others may run."""


class CallIn(BaseModel):
    """One command of a list."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="The command's.")
    arguments: dict[str, Any] = {}
    id: str = Field(
        "", min_length=1, description="The intent's, as the header `Idempotency-Key` of the route of one command."
    )
    actor: str = Field("", description="As the header `Driftlog-Actor`.")


class OutcomeOut(BaseModel):
    """What came of one command: `answer` or `problem`, never both."""

    status: int = Field(description="What the route of one command would have answered with.")
    answer: AnswerOut | None = None
    problem: dict[str, Any] | None = None


def install(api: FastAPI, agent: EdgeAgent) -> None:
    """The route."""

    @api.post("/v1/commands", response_model=list[OutcomeOut])
    async def run_commands(
        commands: Annotated[
            list[CallIn],
            Body(
                max_length=MAX_CALLS, description=f"At most {MAX_CALLS} commands, and {MAX_BODY_BYTES} bytes with all."
            ),
        ],
        wait: Wait = "disk",
        durability: Durability | None = None,
        timeout: str = "5s",  # noqa: ASYNC109  # the promised name of the query parameter
        session: str = "",
    ) -> Response:
        """Run declared commands one after another. Each has its own answer, in the order of the list; what is refused changes nothing for the others."""
        outcomes = await agent.run_many(
            [Call(c.name, c.arguments, c.id, c.actor) for c in commands],
            wait=wait,
            durability=durability,
            seconds=seconds(timeout, "timeout"),
            session=session,
        )
        return _Outcomes(outcomes)


class _Outcomes(Response):
    """The answers, shaped and sent in parts: a command of five hundred changes is answered with as many dots, and there may be a thousand of
    them."""

    media_type = "application/json"

    def __init__(self, outcomes: Sequence[Answer | Exception]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._outcomes = outcomes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        part = b"["
        for number, outcome in enumerate(self._outcomes):
            part += (b"," if number else b"") + _outcome(outcome).model_dump_json(exclude_unset=True).encode()
            if len(part) > PART_BYTES:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                part = b""
                await asyncio.sleep(0)  # others run, also where whoever reads this keeps up
        await send({"type": "http.response.body", "body": part + b"]"})


def _outcome(outcome: Answer | Exception) -> OutcomeOut:
    if isinstance(outcome, Answer):
        return OutcomeOut(status=200, answer=AnswerOut.of(outcome))
    problem = problems.told(outcome)
    if problem["status"] == 500:
        log.error("command failed", error=repr(outcome), exc_info=outcome)
    return OutcomeOut(status=problem["status"], problem=problem)
