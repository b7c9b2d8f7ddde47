"""The last record of a scope says what the whole scope is then: the same as anybody counts who reads the topic, compacted or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from random import Random

import pytest

from driftlog_crdt import canonical
from driftlog_schemas import groups, topics
from driftlog_schemas.digests import document_digest
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.flight import Oversized, Stage
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.core.store_mark import DIGESTS, StoreMark
from driftlog_streams.core.work import OutRecord
from tests.few import few
from tests.unit.streams.cloud import SPACE, Cloud, change, command, count, key, ledger, stock
from tests.unit.streams.test_forgetting import deleted
from tests.unit.streams.test_forgetting_worlds import World
from tests.unit.streams.test_forgotten_recovery import Kept

TOPIC = topics.state_topic("retail")


def of_scope(name: str, scope: str) -> DocumentId:
    return DocumentId("Stock", scope, name)


def states(cloud: Cloud) -> list[OutRecord]:
    return [record for record in cloud.published if record.topic == TOPIC]


def compacted(records: Iterable[OutRecord], *, nulls: bool = True) -> list[OutRecord]:
    """The last record of each key, in their order; `nulls` says whether those without a value are still there."""
    last: dict[bytes, int] = {}
    found = [*records]
    for place, record in enumerate(found):
        last[record.key] = place
    return [r for place, r in enumerate(found) if last[r.key] == place and (nulls or r.value is not None)]


def counted(cloud: Cloud, records: Iterable[OutRecord]) -> dict[str, int]:
    """What a reader counts, from the states alone."""
    digests: dict[str, int] = {}
    for record in compacted(records):
        document = parse_document_key(record.key)
        collection = cloud.rules.collections[document.collection]
        state = collection.type.new() if record.value is None else collection.codec.decode(record.value)
        gone = record.value is None or not collection.type.exists(state)
        digest = 0 if gone else document_digest(record.key, canonical(dict(state.vector)).encode())
        digests[document.scope] = digests.get(document.scope, 0) ^ digest
    return digests


def told(records: Iterable[OutRecord]) -> dict[str, int | None]:
    """What the last record of each scope says."""
    return {parse_document_key(r.key).scope: groups.parse(r.headers).digest for r in records}


def agreed(cloud: Cloud) -> dict[str, int | None]:
    """What is told, if it is what is counted, whoever reads when."""
    cloud.fly()
    known = told(states(cloud))
    assert known == counted(cloud, states(cloud))
    assert told(compacted(states(cloud))) == known
    later = compacted(states(cloud), nulls=False)
    assert told(later) == counted(cloud, later)
    return known


def test_a_document_of_which_only_refused_changes_were_made_adds_nothing_before_and_after_its_purge(
    cloud: Cloud,
) -> None:
    cloud.merge(command("a", count(of_scope("oat", "s1"), 1, 1)))
    alone = agreed(cloud)
    cloud.merge(command("refused", count(of_scope("tea", "s1"), -5, 1)))
    assert agreed(cloud) == alone
    cloud.forget(2, of_scope("tea", "s1"))
    assert agreed(cloud) == alone


def test_each_group_says_of_each_scope_what_it_is_after_it(cloud: Cloud) -> None:
    cloud.merge(command("a", count(of_scope("tea", "s1"), 1, 1), count(of_scope("oat", "s1"), 1, 1)))
    one = agreed(cloud)
    cloud.merge(command("b", count(of_scope("tea", "s1"), 1, 2)))
    cloud.merge(command("c", count(of_scope("tea", "s2"), 1, 1)))
    two = agreed(cloud)
    assert len({one["s1"], two["s1"], two["s2"]}) == 3
    marks = [groups.parse(record.headers).digest for record in states(cloud)]
    assert [mark is not None for mark in marks] == [False, True, True, True], "once for each scope of a group"


def test_flights_under_way_stand_on_one_another_and_a_repeat_changes_nothing(cloud: Cloud) -> None:
    value = cloud.batch(command("a", count(stock(), 1, 1)))
    cloud.merge_value(value)
    first = cloud.seal()
    cloud.merge(command("b", count(ledger(), 1, 1)), command("c", count(stock(), 1, 2)))
    cloud.seal()
    cloud.carry_out()
    assert first.stage is Stage.DONE
    known = agreed(cloud)
    cloud.new_life()
    cloud.merge_value(value, offset=0)
    cloud.merge(command("d", count(stock(), 1, 3)))
    assert agreed(cloud) != known


def test_what_was_taken_back_is_not_counted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.merge(command("a", count(stock(), 1, 1)))
    agreed(cloud)
    cloud.merge(command("b", count(stock(), 1, 2)))
    seal, failed = cloud.merger._at.seal, []

    def once() -> object:
        if not failed:
            failed.append(cloud.merger._at.work)
            raise Oversized("as if")
        return seal()

    monkeypatch.setattr(cloud.merger._at, "seal", once)
    agreed(cloud)
    assert failed


def test_a_document_that_is_published_again_says_it_again(cloud: Cloud) -> None:
    cloud.merge(command("a", count(stock(), 1, 1)))
    known = agreed(cloud)
    cloud.merger.publish_again(key(stock()))
    assert agreed(cloud) == known and len(states(cloud)) == 2


def test_a_purge_leaves_a_record_of_its_scope_that_stays(cloud: Cloud) -> None:
    """The tombstone's record was the newest of its scope. Once it and the purge are compacted away an older one would be, with an older digest."""
    cloud.merge(command("kept", count(stock("oat"), 1, 1)), command("made", count(stock(), 5, 1)))
    cloud.fly()
    cloud.merge(command("gone", deleted(2)))
    before = agreed(cloud)
    cloud.forget(2, stock())
    assert agreed(cloud) == before, "a tombstone adds nothing, so a purge takes nothing"
    null, anchor = states(cloud)[-2:]
    assert null.value is None and anchor.key == key(stock("oat"))
    assert [groups.parse(r.headers).last for r in (null, anchor)] == [False, True]


def test_what_is_purged_and_changed_in_one_flight_says_it_with_what_stays(cloud: Cloud) -> None:
    cloud.merge(command("made", count(stock(), 5, 1)), command("gone", deleted(2)))
    cloud.fly()
    cloud.merge(command("new", count(stock("oat"), 1, 1)))
    cloud.forget(1, stock())
    agreed(cloud)
    assert states(cloud)[-1].key == key(stock("oat"))


def test_the_last_document_of_a_scope_may_go(cloud: Cloud) -> None:
    cloud.merge(command("made", count(stock(), 5, 1)), command("gone", deleted(2)))
    cloud.fly()
    cloud.forget(1, stock())
    assert agreed(cloud) == {stock().scope: 0}


@pytest.mark.parametrize("seed", few(range(8), 3))
def test_whatever_a_partition_forgets_everybody_counts_what_is_told(seed: int) -> None:
    """Worlds of writers, deletes, purges, retired and dropped commands; read to their end at many moments."""
    world, random = World(seed), Random(seed)
    world.live()
    again = Cloud()
    again.devices = world.cloud.devices
    for value in world.log:
        again.merge_value(value)
        if random.random() < 0.3:
            agreed(again)
    agreed(again)


# -- recovery


def recovered(cloud: Cloud, kept: Kept, records: Iterable[OutRecord]) -> Kept:
    restoration, at = Restoration(cloud.rules), kept.mark.position
    found = Recovered(read=kept.mark.positions)
    log = [ChangelogRecord(r.key, r.value, at + n, r.headers) for n, r in enumerate(records, 1)]
    for place in range(0, len(log), 2):
        restoration.take(kept, found, log[place : place + 2])
    restoration.count(kept, found)
    return kept


@pytest.mark.parametrize("old", [False, True], ids=["emptied", "of an older release"])
def test_recovery_comes_to_the_digests_that_were_told(cloud: Cloud, old: bool) -> None:
    for seq in range(1, 6):
        cloud.merge(
            command(f"a{seq}", count(stock(), 1, seq)), command(f"b{seq}", count(of_scope("tea", "s2"), 1, seq))
        )
        cloud.fly()
    cloud.merge(command("gone", change(stock(), "", "delete", None, 6, context={"store-1.1": 5})))
    known = agreed(cloud)
    store = Kept()
    if old:
        store.mark = StoreMark.decode(b"-1,-1,-1,-1")
    recovered(cloud, store, states(cloud))
    assert store.digests == known == {stock().scope: 0, "s2": known["s2"]}
    assert StoreMark.decode(store.mark.encode()) == store.mark == store.mark._replace(digests=DIGESTS)


def test_a_torn_group_is_counted_as_far_as_it_came(cloud: Cloud) -> None:
    cloud.merge(command("a", count(stock(), 1, 1), count(stock("oat"), 1, 1)))
    cloud.fly()
    torn = states(cloud)[:1]
    store = recovered(cloud, Kept(), torn)
    assert store.digests == counted(cloud, torn)


def test_of_what_nobody_can_read_nothing_is_told_until_it_is_counted(cloud: Cloud) -> None:
    cloud.merge(command("a", count(stock(), 1, 1)), command("b", count(of_scope("tea", "s2"), 1, 1)))
    known = agreed(cloud)
    damaged = states(cloud)[0]._replace(value=b"\x00damaged", key=key(stock("oat")))
    store = recovered(cloud, Kept(), [*states(cloud), damaged])
    assert store.digests == {stock().scope: None, "s2": known["s2"]}

    cloud.digests = store.digests
    cloud.new_life()
    cloud.merge(command("c", count(stock(), 1, 2)))
    cloud.fly()
    assert groups.parse(states(cloud)[-1].headers).digest is None

    store.states[key(stock("oat"))] = None
    Restoration(cloud.rules).count(store, Recovered())
    assert store.digests == known


def test_what_only_goes_up_is_in_no_digest() -> None:
    """No device holds what others have written of it."""
    up = dataclasses.replace(SPACE.collections["Ledger"], direction="up")
    cloud = Cloud(declared_space=dataclasses.replace(SPACE, collections={**SPACE.collections, "Ledger": up}))
    cloud.merge(command("sold", count(stock(), 1, 1)))
    cloud.fly()
    before = told(states(cloud))
    cloud.merge(command("read", count(ledger(), 1, 1)))
    cloud.fly()
    cloud.new_life()
    cloud.merge(command("again", count(ledger(), 1, 2)))
    cloud.fly()
    assert told(states(cloud)) == before == {"s1": counted(cloud, states(cloud)[:1])["s1"]}
    assert [cloud.rules.versions.digest(r.key, r.value) for r in states(cloud)[1:]] == [0, 0]
