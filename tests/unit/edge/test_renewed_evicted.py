"""A new life and documents that made room: what comes along is judged by what the cloud has of them, so it is fetched first."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from driftlog_edge.errors import Evicted
from driftlog_edge.link.renewing import Renewing
from driftlog_edge.outgoing.taking_along import Rebased
from driftlog_edge.ports import Family
from driftlog_edge.store.evicted import Trace, back
from driftlog_edge.store.lives import Life
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.test_eviction import Room
from tests.unit.edge.test_renewal import (
    RECEIPTS,
    S1,
    STATE,
    TEA,
    Folders,
    end_and_renew,
    folders,
    merged,
    pull,
    receive,
    settle,
    ship,
)

__all__ = ["folders"]


def test_a_write_comes_along_whose_document_made_room_for_another_copys_dots_covered_it(
    folders: Folders, cloud: Cloud, ids: FixedIds
) -> None:
    one = folders.open("a")
    receive(one, "shared", 1)
    settle(one, cloud)
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    receive(other, "theirs", 100)  # under the dot that the first copy gives to its next
    receive(one, "mine", 10)
    ship(one, cloud)
    pull(other, cloud, STATE)
    row = other.views.generations.key(other.journal, TEA)
    value = other.store.get(Family.CONFIRMED, row)
    assert value is not None and Room(other, ids).make() == ["tea"]
    ship(other, cloud)
    pull(other, cloud, RECEIPTS)
    with pytest.raises(Evicted) as found:
        end_and_renew(other, cloud)
    assert found.value.document == TEA

    other.journal.stage(back(row, value, Trace()), sync=True)
    other.commit()
    other.take_along(S1)
    settle(other, cloud)
    assert merged(cloud) == 111


async def test_what_comes_along_is_fetched_first_where_it_is_evicted() -> None:
    steps: list[Any] = [Evicted.of(TEA), Rebased(Life("store-1.two", 0)), None]
    happened: list[str] = []

    def step(*place: object) -> Generator[None, None, Rebased | None]:
        following = steps.pop(0)
        yield
        if isinstance(following, Evicted):
            raise following
        return cast("Rebased | None", following)

    async def written() -> None:
        happened.append("written")

    async def bring(document: DocumentId, seconds: float) -> None:
        assert document == TEA and not committer.turn.locked()
        happened.append("brought")

    renewal: Any = SimpleNamespace(survey=lambda *place: [], step=step, staged=lambda *args: None, ended=lambda *at: [])
    committer: Any = SimpleNamespace(stage=lambda writes, sync: written(), turn=asyncio.Lock())
    nothing: Any = None
    renewing = Renewing(renewal, committer, nothing, nothing, nothing, nothing, "store-1", nothing, lambda: None, bring)
    await renewing._take_along("retail", S1)
    assert happened == ["brought", "written"] and not steps
