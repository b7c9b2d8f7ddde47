"""A collection of a scope in one answer, a document a line (`Accept: application/x-ndjson`), whatever its size.

It is read a page at a time, and the next page when the last one has left: a slow reader holds up itself, and memory holds one page. Each line is as the
same document in a page, so who was cut off goes on with `after` the last id that came. Documents that change meanwhile are shown as their page finds
them: it is a walk through the replica as it is, not a snapshot. What goes wrong when the answer has begun is told by a last line that is a `problem`, and
what was passed over because it is evicted by one that counts it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from driftlog_crdt import AlgebraError
from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.answers import Page
from driftlog_edge.errors import EdgeError
from driftlog_edge.http_api import problems
from driftlog_edge.http_api.shapes import ReadingOut
from driftlog_schemas.contract import InvalidInput

MEDIA_TYPE = "application/x-ndjson"
AT_ONCE = 100
"""Documents of a page; fewer where they are large."""


def wanted(accept: str) -> bool:
    """Does this header ask for lines?"""
    return MEDIA_TYPE in (kind.partition(";")[0].strip() for kind in accept.split(","))


async def streamed(agent: EdgeAgent, collection: str, scope: str, limit: int | None, after: str) -> StreamingResponse:
    """The answer; `limit` documents, or all. Raises as `EdgeAgent.page` while nothing of it has gone out."""
    most = AT_ONCE if limit is None else min(limit, AT_ONCE)
    rest = lines(agent, collection, scope, limit, await agent.bounded_page(collection, scope, most, after))
    return StreamingResponse(rest, media_type=MEDIA_TYPE)


async def lines(agent: EdgeAgent, collection: str, scope: str, limit: int | None, page: Page) -> AsyncIterator[bytes]:
    """A page of them, then the next; at the end how many are evicted, if any."""
    sent = evicted = 0
    while True:
        if page.documents:
            yield b"".join(ReadingOut.of(reading).model_dump_json().encode() + b"\n" for _, reading in page.documents)
        sent, evicted = sent + len(page.documents), evicted + page.evicted
        if not page.more or sent == limit:
            if evicted:
                yield json.dumps({"evicted": evicted}).encode() + b"\n"
            return
        most = AT_ONCE if limit is None else min(limit - sent, AT_ONCE)
        try:
            page = await agent.bounded_page(collection, scope, most, page.documents[-1][0])
        except (EdgeError, InvalidInput, AlgebraError) as error:
            yield json.dumps({"problem": problems.told(error)}).encode() + b"\n"
            return
