"""A chain whose row has no room for what was sealed before any answer came: it would be refused for ever, for it goes again byte for byte."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.ports import Sealed
from driftlog_schemas import row_room
from driftlog_schemas.batch_codec import batch_digest, decode_body
from driftlog_schemas.messages import ChainRow, Notice
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.row_room import has_room, told_by
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

COMMANDS = 9


class BoundedCloud(Cloud):
    """A cloud whose rows are as long as a worker's may be."""

    def merge(self, sealed: Sealed, public_key: bytes | None = None) -> ChainRow:
        body = self._envelopes.open(sealed.value).body
        batch = decode_body(body)
        row = self.rows.get((batch.replica, batch.partition))
        if row is not None and batch.number == row.last + 1:
            kept = tuple(entry for entry in row.entries if entry.number >= batch.floor)
            if not has_room(len(kept), told_by(kept), batch.commands):
                notice = Notice(batch.number, batch_digest(body)[:8], self._logged(batch, sealed), "window_full", "")
                return self.publish_row(replace(row, notice=notice))
            self.rows[batch.replica, batch.partition] = replace(row, entries=kept, told=None)
        return super().merge(sealed, public_key)


@pytest.mark.slow
async def test_it_goes_on_under_a_new_life_and_each_command_counts_once(
    config: EdgeConfig, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_room, "MAX_ENTRIES", 4)
    monkeypatch.setattr("driftlog_edge.outgoing.outbox.SEALED_OPS", 1)
    cloud = BoundedCloud(ids)
    route = CloudRoute(cloud)
    route.merging = False
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        for number in range(COMMANDS):
            await agent.run("receive", command_id=f"c{number}", store="s1", sku="tea", qty=10**number)
        await until(lambda: len(route.sent) == COMMANDS)
        route.work_off()
        await until(lambda: agent.status()["pending"] == 0)
        lives = agent.status()["lives"]
        assert (await agent.read("Stock", "s1", "tea")).value["on_hand"] == int("1" * COMMANDS)
    assert {life["why"] for life in lives[1:]} == {"crowded"}
    took = Counter(command.id for batch in cloud.batches for command in batch.commands)
    assert took == {f"c{number}": 1 for number in range(COMMANDS)}
