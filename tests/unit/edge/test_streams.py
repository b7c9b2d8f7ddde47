"""A whole collection in one answer: a document a line, a page in memory at a time, taken up where it was cut off."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from driftlog_edge import EdgeAgent
from driftlog_edge.errors import StoreDamaged
from driftlog_edge.http_api import streams

LINES = {"Accept": "text/html;q=0.1, application/x-ndjson"}
PATH = "/v1/documents/Stock/s1"


@pytest.fixture
async def skus(agent: EdgeAgent) -> list[str]:
    """Of the documents that there are, in order."""
    await agent.run("fill", store="s1", prefix="item-", count=230)
    return sorted(f"item-{number}" for number in range(230))


async def lines(http: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    answer = await http.get(PATH, params=params, headers=LINES)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_all_come_each_as_in_a_page(http: httpx.AsyncClient, skus: list[str]) -> None:
    found = await lines(http)
    assert [line["id"] for line in found] == skus
    page = (await http.get(PATH)).json()
    assert len(page["documents"]) == 100 and page["next"] == skus[99]
    assert [line["value"] for line in found[:100]] == [document["value"] for document in page["documents"]]
    assert found[0].keys() == page["documents"][0].keys()


async def test_who_was_cut_off_goes_on_behind_the_last_one(http: httpx.AsyncClient, skus: list[str]) -> None:
    assert [line["id"] for line in await lines(http, after=skus[149])] == skus[150:]
    assert [line["id"] for line in await lines(http, after=skus[9], limit=120)] == skus[10:130]
    assert await lines(http, after=skus[-1]) == []


async def test_what_is_refused_is_a_problem_and_no_line(http: httpx.AsyncClient) -> None:
    for path, code in (("/v1/documents/Stock/s9", "not_held"), ("/v1/documents/Nothing/s1", "undeclared")):
        answer = await http.get(path, headers=LINES)
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    assert (await http.get(PATH, params={"limit": 0}, headers=LINES)).status_code == 422


async def test_what_goes_wrong_on_the_way_is_the_last_line(
    http: httpx.AsyncClient, agent: EdgeAgent, skus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = agent.bounded_page

    async def damaged(kind: str, scope: str, limit: int = 100, after: str = "") -> Any:
        if after:
            raise StoreDamaged("000009.sst cannot be read", "salvage it")
        return await honest(kind, scope, limit, after)

    monkeypatch.setattr(agent, "bounded_page", damaged)
    *documents, last = await lines(http)
    assert [line["id"] for line in documents] == skus[:100]
    assert (last["problem"]["code"], last["problem"]["status"]) == ("store_damaged", 503)


async def test_the_next_page_is_read_when_the_last_one_has_left(
    agent: EdgeAgent, skus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    honest = agent.bounded_page

    async def counted(kind: str, scope: str, limit: int = 100, after: str = "") -> Any:
        asked.append(after)
        return await honest(kind, scope, limit, after)

    monkeypatch.setattr(agent, "bounded_page", counted)
    answer = await streams.streamed(agent, "Stock", "s1", None, "")
    parts = aiter(answer.body_iterator)
    await anext(parts)
    assert asked == [""]
    await anext(parts)
    assert asked == ["", skus[99]]
