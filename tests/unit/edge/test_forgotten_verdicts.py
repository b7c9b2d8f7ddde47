"""A chain holds a command of ours by another copy of the folder, and its row has forgotten what became of it: that copy was told.

Accepted or put off looks the same in batches and row. Whether its dots were merged is what tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_edge.link.renewing import Renewing
from driftlog_edge.ports import Family, Unreachable
from driftlog_edge.store.command_log import Status
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Refused, Verdict
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.row_columns import short_name
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import COLLECTIONS, Replica
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
)

__all__ = ["folders"]


def told_to_one(folders: Folders, cloud: Cloud, code: str = "") -> tuple[Replica, Replica]:
    """Two copies that have both sealed the command `late`. The first was told what became of it (refused with `code`, or accepted),
    went on, and the row has forgotten it but for what a row keeps of what was rejected."""
    first = folders.open("a")
    receive(first, "late", 1)
    (sealed,) = first.ship()
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    if code:
        cloud.rejects["late"] = code
    before = cloud.merge(sealed)
    cloud.rejects.clear()
    pull(one, cloud)
    one.do("receive", "more", store="s1", sku="milk", qty=1)
    (following,) = one.ship()
    row = cloud.merge(following)
    assert row.last == 2
    refused = {
        short_name(outcome.command_id): Refused(1, outcome.code)
        for outcome in before.entries[0].outcomes
        if outcome.verdict is Verdict.REJECTED
    }
    cloud.publish_row(replace(row, floor=2, entries=row.entries[1:], refused=refused, refused_from=1))
    receive(other, "own", 10)
    return one, other


@pytest.mark.parametrize("code", ["expired", ""], ids=["put off", "accepted"])
def test_it_counts_once(folders: Folders, cloud: Cloud, code: str) -> None:
    one, other = told_to_one(folders, cloud, code)
    for replica in (other, one, other):
        pull(replica, cloud)
        settle(replica, cloud)
        assert replica.entry("late").status is Status.MERGED
    pull(one, cloud)
    assert merged(cloud) == one.on_hand("tea") == other.on_hand("tea") == 11


def test_what_was_rejected_is_told_as_such_in_the_copy_too(folders: Folders, cloud: Cloud) -> None:
    """Its dots are seen like those of what was accepted: only the row tells."""
    one, other = told_to_one(folders, cloud, "oversold")
    assert one.entry("late").status is Status.REJECTED
    for replica in (other, other):
        pull(replica, cloud)
        settle(replica, cloud)
    told = other.entry("late")
    assert (told.status, told.code) == (Status.REJECTED, "oversold")
    assert merged(cloud) == other.on_hand("tea") == 10


def test_where_the_row_no_longer_tells_what_was_rejected_a_person_decides(folders: Folders, cloud: Cloud) -> None:
    _, other = told_to_one(folders, cloud, "oversold")
    (row,) = [row for row in cloud.rows.values() if row.floor == 2]
    cloud.publish_row(replace(row, refused={}, refused_from=2))
    pull(other, cloud)
    end_and_renew(other, cloud)
    assert (other.entry("late").status, other.entry("late").code) == (Status.REVIEW, "maybe_counted")


def test_what_comes_behind_it_does_not_wait_for_dots_that_nobody_has_seen(folders: Folders, cloud: Cloud) -> None:
    _, other = told_to_one(folders, cloud, "expired")
    old = other.lives.replica
    other.do("reprice", "price", store="s1", sku="tea", price=3)
    pull(other, cloud)
    end_and_renew(other, cloud)
    batches = [decode_body(BatchCodec(FixedIds()).open(sealed.value).body) for sealed in other.ship()]
    (priced,) = [op for batch in batches for c in batch.commands for _, op in c.ops if op.field == "price"]
    assert old not in (priced.context or {})


def folded(cloud: Cloud, replica: Replica) -> None:
    """The first copy's life is part of the past of what it wrote."""
    assert COLLECTIONS["Stock"].document.fold(cloud.states[TEA], {replica.lives.replica: ""})
    cloud.publish_group("retail", S1, [TEA], number=20_000)
    pull(replica, cloud, STATE)


def unreadable(cloud: Cloud, replica: Replica) -> None:
    """A newer release has written the row."""
    row = replica.views.generations.key(replica.journal, TEA)
    raw = replica.journal.get(Family.CONFIRMED, row)
    replica.journal.stage({(Family.UNREAD, row): raw, (Family.CONFIRMED, row): None}, sync=True)
    replica.commit()
    replica.views.forget(document_key(TEA))


@pytest.mark.parametrize("hidden", [folded, unreadable])
def test_where_no_dot_tells_a_person_decides(
    folders: Folders, cloud: Cloud, hidden: Callable[[Cloud, Replica], None]
) -> None:
    _, other = told_to_one(folders, cloud)
    pull(other, cloud)
    hidden(cloud, other)
    end_and_renew(other, cloud)
    assert (other.entry("late").status, other.entry("late").code) == (Status.REVIEW, "maybe_counted")
    assert other.lives.newest.review == 1


async def test_the_states_are_read_before_they_are_asked() -> None:
    """All that the topic had when the row was read: what a row has forgotten was merged and published before."""
    ends = {RECEIPTS: 5, STATE: 7}
    read = {RECEIPTS: 5, STATE: 6}
    met: list[Mapping[str, int]] = []

    async def asked(places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int]:
        if places[0][0] == STATE:
            asyncio.get_running_loop().call_later(0.01, read.update, {STATE: 7})
        return {place: ends[place[0]] for place in places}

    def history(*args: object) -> list[bytes]:
        met.append(dict(read))
        raise Unreachable("that is enough")

    renewal = SimpleNamespace(
        early=lambda *place: False,
        closed=lambda space: False,
        begin=lambda *place: {},
        over=lambda *place: True,
        ending=lambda *place: "store-1.one",
        unknown=lambda *place: (0, 1),
    )
    nothing: Any = None
    route: Any = SimpleNamespace(history=history)
    asker: Any = SimpleNamespace(ends=asked)
    old: Any = renewal
    renewing = Renewing(
        old,
        nothing,
        route,
        lambda: None,
        lambda: asker,
        lambda topic, partition: read[topic],
        "store-1",
        nothing,
        lambda: None,
        nothing,
    )
    with pytest.raises(Unreachable):
        await renewing._renew("retail", S1)
    assert met == [ends]
