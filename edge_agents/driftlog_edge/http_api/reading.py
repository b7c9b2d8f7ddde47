"""Documents, one or many, and how fresh they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Header, Query
from fastapi.responses import Response

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.answers import Consistency
from driftlog_edge.http_api import openapi, streams
from driftlog_edge.http_api.durations import seconds
from driftlog_edge.http_api.path_parts import Part
from driftlog_edge.http_api.shapes import PageOut, ReadingOut


def install(api: FastAPI, agent: EdgeAgent) -> None:
    """The routes."""

    @api.get("/v1/documents/{collection}/{scope}/{id}", responses=openapi.READ)
    async def read_document(
        collection: Part,
        scope: Part,
        id: Part,
        consistency: Consistency = "eventual",
        session: str = "",
        max_age: str = "",
        timeout: str = "5s",  # noqa: ASYNC109  # the promised name of the query parameter
    ) -> ReadingOut:
        """One document, and how fresh it is."""
        reading = await agent.read(
            collection,
            scope,
            id,
            consistency=consistency,
            session=session,
            max_age=seconds(max_age, "max_age") if max_age else None,
            seconds=seconds(timeout, "timeout"),
        )
        return ReadingOut.of(reading)

    @api.get(
        "/v1/documents/{collection}/{scope}",
        response_model=PageOut,
        responses={200: {"content": {streams.MEDIA_TYPE: {"schema": openapi.LINE}}}, **openapi.LIST},
    )
    async def list_documents(
        collection: Part,
        scope: Part,
        limit: Annotated[
            int | None, Query(ge=1, le=1000, description="Of a page 100 if not given; of lines, all.")
        ] = None,
        after: str = "",
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> PageOut | Response:
        """A page of documents in id order. It ends before `limit` where they are large: go by `next`. With `Accept: application/x-ndjson` all that there are,
        one a line; who was cut off goes on with `after` the last id, and a last line with `problem` says what went wrong on the way; one with `evicted`,
        how many documents are not among them because they made room on the disk."""
        if streams.wanted(accept):
            return await streams.streamed(agent, collection, scope, limit, after)
        found, more, evicted = await agent.bounded_page(collection, scope, limit or 100, after)
        following = found[-1][0] if more else None
        shown = [ReadingOut.of(reading) for _, reading in found]
        return PageOut(documents=shown, next=following, evicted=evicted)
