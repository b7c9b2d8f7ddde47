"""The way back in: a partition that must be read again is, beside what readers have, and takes its place at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import pytest

from driftlog_crdt import DELETE, DOCUMENT
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import NotFound
from driftlog_edge.incoming import returning
from driftlog_edge.incoming.landmarks import AWAY
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.horizon import Horizon
from driftlog_edge.link.lookout import Lookout
from driftlog_edge.link.op_logs import OpLogs
from driftlog_edge.link.places import Places
from driftlog_edge.ports import Extent, Family
from driftlog_edge.store import keys
from driftlog_edge.store.changes import ChangeLog
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.generations import return_of, serve, serving
from driftlog_edge.store.lives import AWAY as AWAY_NOTICE
from driftlog_edge.store.lives import MADE_ANEW
from driftlog_schemas import groups
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Notice
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import StateCodec
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import HandClock, Replica, finished
from tests.unit.edge.shop import CONTRACT, PARTITIONS, Stock
from tests.unit.edge.test_puller import dispute, exchange
from tests.unit.edge.waiting import online, pages, until

pytestmark = pytest.mark.usefixtures("quick_ticks")

S1 = partition_of("s1", PARTITIONS)
STATE, PLACE = "retail.state", ("retail.state", S1)
FOUGHT = ("retail.conflicts", S1)
TEA, OAT = DocumentId("Stock", "s1", "tea"), DocumentId("Stock", "s1", "oat")


def made_anew(cloud: Cloud, *topics: str, life: str = "second") -> None:
    """These topics are deleted and made again, empty; the merge's own memory of states goes with them."""
    for topic in topics:
        cloud.topic_ids[topic] = life
        for place in [place for place in cloud.topics if place[0] == topic]:
            del cloud.topics[place]
    cloud.states.clear()


def rows(replica: Replica) -> list[bytes]:
    return [key for key, _ in replica.store.scan(Family.CONFIRMED, b"")]


def pending(replica: Replica) -> list[bytes]:
    return [key for key, _ in replica.store.scan(Family.PENDING, b"")]


def look(replica: Replica, cloud: Cloud, *, away: bool = False) -> bool:
    """What the agent does at the beginning of a connection; must what comes in begin anew?"""
    extent = Extent(cloud.topic_ids.get(STATE, "first"), cloud.starts.get(PLACE, 0), len(cloud.of(*PLACE)))
    found = replica.puller.landmarks.compare(
        "retail",
        "state",
        PLACE,
        extent,
        replica.puller.returns.cursor("retail", S1).offset,
        replica.clock.ms,
        away=away,
    )
    replica.journal.stage(found.writes, sync=True)
    replica.commit()
    return found.anew


def read(replica: Replica, cloud: Cloud, limit: int = 1000) -> None:
    """The next records of the partition, from where the replica says."""
    at = replica.puller.returns.cursor("retail", S1).offset
    records = cloud.of(*PLACE)[at : at + limit]
    at_end = at + len(records) == len(cloud.of(*PLACE))
    replica.take(lambda: finished(replica.puller.states("retail", STATE, S1, records, at_end=at_end)))


def tidy(replica: Replica) -> None:
    for pulled in filter(None, replica.puller.returns.tidy()):
        replica.journal.stage(pulled.writes, sync=False)
        replica.puller.staged(pulled)
        replica.commit()


def test_a_long_queue_of_other_partitions_is_passed_by_in_turns(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returning, "AT_ONCE", 250)
    for number in range(600):
        replica.run("receive", store="s1", sku=f"n{number}", qty=1)
    replica.commit()
    others = [at for at in range(PARTITIONS) if at != S1]
    for at in others:
        replica.journal.stage(serve("retail", at, 1), sync=False)
    replica.commit()
    steps = list(replica.puller.returns.tidy())
    assert steps.count(None) >= 600 // returning.AT_ONE_TURN - 3
    assert [dict(step.writes) for step in steps if step is not None] == [{}] * 3, (
        "once, however many partitions there are"
    )


# -- what every command says of what its writer had read


def test_a_batch_says_up_to_which_group_its_writers_had_read(replica: Replica, cloud: Cloud, ids: FixedIds) -> None:
    def sealed_read() -> int:
        (batch,) = replica.ship()
        return decode_body(BatchCodec(ids).open(batch.value).body).read

    replica.do("receive", store="s1", sku="tea", qty=1)
    assert sealed_read() == -1, "nothing was read yet"
    cloud.publish_group("retail", S1, _written(cloud, TEA), number=7)
    cloud.publish_group("retail", S1, _written(cloud, TEA, OAT), number=9)
    replica.pull_states(cloud.of(*PLACE)[:1], S1)
    replica.do("receive", store="s1", sku="tea", qty=1)
    replica.pull_states(cloud.of(*PLACE)[1:2], S1)
    replica.do("receive", store="s1", sku="tea", qty=1)
    replica.pull_states(cloud.of(*PLACE)[2:], S1)
    replica.do("receive", store="s1", sku="tea", qty=1)
    assert sealed_read() == 7, "of the oldest of its commands, and of whole groups only"
    replica.do("receive", store="s1", sku="tea", qty=1)
    assert sealed_read() == 9


def _written(cloud: Cloud, *documents: DocumentId) -> Sequence[DocumentId]:
    """Somebody else has written them; not published yet."""
    published = {place: list(records) for place, records in cloud.topics.items()}
    for document in documents:
        cloud.write(document, "on_hand", "increment", 1)
    cloud.topics.clear()
    cloud.topics.update(published)
    return documents


# -- the core


def test_a_partition_is_read_again_beside_what_readers_have(lives: Callable[..., Replica], cloud: Cloud) -> None:
    replica = lives()
    cloud.write(TEA, "on_hand", "increment", 3)
    cloud.write(OAT, "on_hand", "increment", 5)
    look(replica, cloud)
    read(replica, cloud)
    made_anew(cloud, STATE)
    for document in (TEA, DocumentId("Stock", "s1", "rye"), DocumentId("Stock", "s1", "rice")):
        cloud.write(document, "on_hand", "increment", 100)

    assert look(replica, cloud)
    assert not look(replica, cloud), "it is under way"
    read(replica, cloud, 1)
    assert (replica.on_hand("tea"), replica.on_hand("oat")) == (3, 5), "readers have the old rows"
    replica = lives()
    assert not look(replica, cloud), "a restart goes on where it was"
    assert replica.puller.returns.cursor("retail", S1).offset == 1
    assert replica.puller.returns.status() == {
        f"retail/{S1}": {"why": "the topic was made anew", "since": replica.clock.ms, "records": 1}
    }
    read(replica, cloud, 1)
    read(replica, cloud)
    assert [replica.on_hand(sku) for sku in ("tea", "rye", "rice")] == [100, 100, 100]
    with pytest.raises(NotFound):
        replica.on_hand("oat")
    assert return_of(replica.store, "retail", S1) is None
    assert cursor_of(replica.store, STATE, S1)[:2] == (3, "second")

    assert len(rows(replica)) == 5
    replica = lives()
    tidy(replica)
    served = keys.confirmed_prefix("retail", S1, serving(replica.store, "retail", S1))
    assert len(rows(replica)) == 3 and all(key.startswith(served) for key in rows(replica))
    digests = [key for key, _ in replica.store.scan(Family.META, b"digest/")]
    assert len(digests) == 1


def test_the_digest_is_the_same_whether_a_partition_was_read_once_or_again(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    def digest(replica: Replica) -> bytes | None:
        generation = serving(replica.store, "retail", S1)
        return replica.store.get(Family.META, keys.digest_key("retail", S1, generation, "s1"))

    replica = lives()
    cloud.write(TEA, "on_hand", "increment", 3)
    cloud.write(OAT, "on_hand", "increment", 5)
    look(replica, cloud)
    read(replica, cloud)
    before = digest(replica)
    assert look(replica, cloud, away=True)
    assert return_of(replica.store, "retail", S1).why == AWAY  # type: ignore[union-attr]
    read(replica, cloud)
    tidy(replica)
    assert digest(replica) == before is not None


@pytest.mark.parametrize(
    ("extent", "why"),
    [
        (Extent("second", 0, 9), "made anew"),
        (Extent("first", 0, 1), "ends at 1"),
        (Extent("first", 3, 9), "begins at 3"),
    ],
)
def test_a_cursor_that_leads_nowhere_begins_a_return(replica: Replica, cloud: Cloud, extent: Extent, why: str) -> None:
    cloud.write(TEA, "on_hand", "increment", 3)
    cloud.write(TEA, "on_hand", "increment", 3)
    look(replica, cloud)
    read(replica, cloud)
    compare = replica.puller.landmarks.compare
    for good in (Extent("first", 0, 2), Extent("first", 2, 2), Extent("first", 1, 9)):
        assert compare("retail", "state", PLACE, good, 2, 0, away=False) == ({}, False)
    found = compare("retail", "state", PLACE, extent, 2, 0, away=False)
    assert found.anew
    replica.journal.stage(found.writes, sync=False)
    assert why in return_of(replica.journal, "retail", S1).why  # type: ignore[union-attr]


def test_a_return_whose_topic_is_made_anew_under_it_begins_again(replica: Replica, cloud: Cloud) -> None:
    cloud.write(TEA, "on_hand", "increment", 3)
    look(replica, cloud)
    read(replica, cloud)
    made_anew(cloud, STATE)
    for document in (TEA, OAT):
        cloud.write(document, "on_hand", "increment", 50)
    assert look(replica, cloud)
    read(replica, cloud, 1)
    made_anew(cloud, STATE, life="third")
    cloud.write(OAT, "on_hand", "increment", 7)
    assert look(replica, cloud)
    read(replica, cloud)
    assert replica.on_hand("oat") == 7
    with pytest.raises(NotFound):
        replica.on_hand("tea")
    tidy(replica)
    assert len(rows(replica)) == 1


def test_pending_commands_lie_on_top_of_what_was_read_again(replica: Replica, cloud: Cloud) -> None:
    cloud.write(TEA, "on_hand", "increment", 3)
    look(replica, cloud)
    read(replica, cloud)
    replica.do("receive", "waits", store="s1", sku="tea", qty=10)
    cloud.write(OAT, "on_hand", "increment", 1)
    assert look(replica, cloud, away=True)
    replica.do("receive", "meanwhile", store="s1", sku="tea", qty=100)
    assert replica.on_hand("tea") == 113
    read(replica, cloud)
    tidy(replica)
    assert replica.on_hand("tea") == 113
    exchange(replica, cloud)
    assert (replica.on_hand("tea"), len(replica.views.backlog)) == (113, 0)
    assert [replica.entry(name).status for name in ("waits", "meanwhile")] == [Status.MERGED] * 2


def test_what_was_decided_before_and_is_not_in_the_fresh_rows_is_gone(replica: Replica, cloud: Cloud) -> None:
    """Merged, then deleted and purged while the replica was away: it must not come back as a change of ours that waits."""
    look(replica, cloud)
    replica.do("receive", "purged since", store="s1", sku="tea", qty=10)
    (sealed,) = replica.ship()
    cloud.merge(sealed)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert replica.on_hand("tea") == 10
    cloud.topics[PLACE].clear()
    cloud.states.clear()
    cloud.write(OAT, "on_hand", "increment", 1)
    cloud.write(OAT, "on_hand", "increment", 1)
    look(replica, cloud, away=True)
    replica.journal.stage(
        replica.puller.returns.begin("retail", S1, "first", AWAY, replica.clock.ms, anew=False), sync=True
    )
    read(replica, cloud)
    tidy(replica)
    with pytest.raises(NotFound):
        replica.on_hand("tea")
    assert len(replica.views.backlog) == 0 and list(replica.store.scan(Family.PENDING, b"")) == []


def test_what_is_decided_during_a_return_waits_for_its_state(replica: Replica, cloud: Cloud) -> None:
    cloud.write(OAT, "on_hand", "increment", 1)
    look(replica, cloud)
    read(replica, cloud)
    replica.do("receive", "c1", store="s1", sku="tea", qty=10)
    (sealed,) = replica.ship()
    replica.journal.stage(
        replica.puller.returns.begin("retail", S1, "first", AWAY, replica.clock.ms, anew=False), sync=True
    )
    before = list(cloud.of(*PLACE))
    cloud.merge(sealed)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    replica.take(lambda: finished(replica.puller.states("retail", STATE, S1, before, at_end=True)))
    tidy(replica)
    assert replica.on_hand("tea") == 10, (
        "an answer that was given is not taken back because its state comes a moment later"
    )
    read(replica, cloud)
    assert (replica.on_hand("tea"), len(replica.views.backlog)) == (10, 0)


def test_what_is_decided_during_a_return_and_was_purged_since_is_gone(replica: Replica, cloud: Cloud) -> None:
    """An older copy of the folder: its command is in the log, and the document has been deleted, purged and begun anew since."""
    look(replica, cloud)
    replica.do("receive", "purged since", store="s1", sku="tea", qty=10)
    (sealed,) = replica.ship()
    cloud.merge(sealed)
    cloud.write(TEA, DOCUMENT, DELETE, None)
    cloud.purge(TEA)
    cloud.write(TEA, "on_hand", "increment", 3)
    replica.journal.stage(
        replica.puller.returns.begin("retail", S1, "first", AWAY, replica.clock.ms, anew=False), sync=True
    )
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert len(pending(replica)) == 1, "readers still have the older rows"
    read(replica, cloud)
    tidy(replica)
    assert (replica.on_hand("tea"), len(replica.views.backlog), pending(replica)) == (3, 0, [])


def test_dots_that_a_topic_made_anew_lacks_are_never_used_again(replica: Replica, cloud: Cloud) -> None:
    look(replica, cloud)
    for _ in range(3):
        replica.do("receive", store="s1", sku="tea", qty=1)
    exchange(replica, cloud)
    first = replica.lives.chain("retail", S1).replica
    made_anew(cloud, STATE)
    cloud.write(TEA, "on_hand", "increment", 2)
    look(replica, cloud)
    replica.do("receive", "waits", store="s1", sku="tea", qty=10)
    read(replica, cloud)

    assert replica.lives.chain("retail", S1).fork == MADE_ANEW
    assert replica.renewal.due == [("retail", S1)]
    assert replica.lives.chain("retail", S1).replica == first, "until another follows nothing is sealed"
    assert replica.ship() == []


def test_being_away_too_long_by_the_clouds_word_reads_again_before_the_new_life(replica: Replica, cloud: Cloud) -> None:
    cloud.write(OAT, "on_hand", "increment", 1)
    look(replica, cloud)
    read(replica, cloud)
    replica.do("receive", "c1", store="s1", sku="tea", qty=10)
    exchange(replica, cloud)
    replica.do("receive", "c2", store="s1", sku="tea", qty=10)
    (sealed,) = replica.ship()
    (row,) = cloud.rows.values()
    notice = Notice(sealed.number, sealed.digest[:8], 9, AWAY_NOTICE, "")
    cloud.publish_row(replace(row, notice=notice))
    replica.pull_receipts(cloud.of("retail.receipts", S1)[-1:], S1)
    assert replica.lives.chain("retail", S1).fork == AWAY_NOTICE
    assert replica.renewal.early("retail", S1)
    read(replica, cloud)
    assert not replica.renewal.early("retail", S1)
    assert replica.on_hand("tea") == 20


def test_other_topics_that_are_made_anew_are_read_from_their_start(replica: Replica, cloud: Cloud) -> None:
    compare = replica.puller.landmarks.compare
    cloud.write(TEA, "on_hand", "increment", 1)
    read(replica, cloud)
    replica.do("receive", store="s1", sku="tea", qty=1)
    exchange(replica, cloud)
    replica.pull_conflicts([cloud.publish_conflict(dispute(TEA))], S1)
    for kind in ("receipts", "conflicts", "ops"):
        place = (f"retail.{kind}", S1)
        for life in ("first", "second"):
            found = compare("retail", kind, place, Extent(life, 0, 9), 0, 0, away=False)
            replica.journal.stage(found.writes, sync=False)
            assert found.anew == (life == "second")
        replica.commit()
        assert cursor_of(replica.store, *place)[:2] == (0, "second")
    assert list(replica.store.scan(Family.CONFLICTS, b"")) == [], "nobody would say that they are over"
    assert replica.lives.chain("retail", S1).offset == -1, "numbers of the old log say nothing in the new one"
    assert cursor_of(replica.store, *PLACE).group == -1


def test_a_row_that_is_read_after_an_upgrade_covers_what_was_pending_under_it(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newer(codec: StateCodec, value: bytes) -> None:
        raise Undecodable("of a newer release")

    replica = lives()
    replica.do("receive", "c1", store="s1", sku="tea", qty=10)
    (sealed,) = replica.ship()
    cloud.merge(sealed)
    with monkeypatch.context() as older:
        older.setattr(StateCodec, "decode", newer)
        older.setattr(StateCodec, "decode_counted", newer)
        replica.pull_states(cloud.of(*PLACE), S1)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert len(replica.views.backlog) == 1
    replica = lives()
    tidy(replica)
    assert (replica.on_hand("tea"), len(replica.views.backlog)) == (10, 0)


# -- how long it was away


class _Asker:
    """Says what it is told to say."""

    def __init__(self, kept: float | None) -> None:
        self.kept = kept
        self.end = 2
        self.conflicts = 0
        self.meanwhile: Callable[[], None] = lambda: None
        """Happens while the answer is on its way."""

    async def ends(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, self.end)

    async def extents(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], Extent]:
        said = {place: Extent("first", 0, self.end if place == PLACE else 0) for place in places}
        said |= {place: Extent("first", 0, self.conflicts) for place in places if place == FOUGHT}
        self.meanwhile()
        return said

    async def partitions(self, names: Collection[str], seconds: float) -> dict[str, int]:
        raise AssertionError("a lookout does not ask it")

    async def tombstones_kept(self, topic: str, seconds: float) -> float | None:
        return self.kept


def looking(replica: Replica, asker: _Asker) -> tuple[Lookout, Committer]:
    committer = Committer(replica.journal, replica.store, ChangeLog(replica.store, "a"))
    places = Places(CONTRACT, ["s1"], replica.journal, registry=False)
    freshness = Freshness(places.states, replica.journal, committer, replica.clock)
    lookout = Lookout(
        places,
        replica.puller.landmarks,
        freshness,
        committer,
        replica.clock,
        lambda: asker,
        OpLogs(lambda: asker),
        Horizon(places, freshness, replica.journal, committer),
    )
    return lookout, committer


async def test_what_is_read_while_an_answer_is_on_its_way_is_no_end_before_it(replica: Replica, cloud: Cloud) -> None:
    """As it is where a broker dies: the answer is late, and the topic moves on."""
    cloud.write(TEA, "on_hand", "increment", 1)
    look(replica, cloud)
    read(replica, cloud)
    asker = _Asker(None)
    asker.end = 1
    lookout, committer = looking(replica, asker)

    def further() -> None:
        cloud.write(TEA, "on_hand", "increment", 1)
        read(replica, cloud)

    asker.meanwhile = further
    assert await lookout.look() is not None
    assert return_of(replica.journal, "retail", S1) is None
    assert await lookout.look() is None, "before it was asked more had been read than there is"
    assert "ends at 1" in return_of(replica.journal, "retail", S1).why  # type: ignore[union-attr]
    await committer.drained()
    committer.close()


away = pytest.mark.parametrize(
    ("kept", "days", "more", "again"),
    [
        (None, 29, True, False),
        (None, 31, True, True),
        (None, 31, False, False),
        (86_400.0, 2, True, True),
        (86_400.0, 0.5, True, False),
        (None, -1, True, True),
    ],
    ids=["in time", "too long", "nothing was missed", "as the topic says", "in the topic's time", "clock went back"],
)
"""For how long tombstones are kept, how many days nothing was read, whether there is more then: must it be read again?"""


@away
async def test_away_for_longer_than_tombstones_are_kept(
    lives: Callable[..., Replica], cloud: Cloud, kept: float | None, days: float, more: bool, again: bool
) -> None:
    replica = lives()
    cloud.write(TEA, "on_hand", "increment", 1)
    look(replica, cloud)
    read(replica, cloud)
    replica.clock.ms += int(days * 86_400_000)
    asker = _Asker(kept)
    asker.end = 2 if more else 1
    lookout, committer = looking(replica, asker)
    assert await lookout.look() is not None, "asked at the beginning only"
    assert (await lookout.look(beginning=True) is None) == again
    assert (return_of(replica.journal, "retail", S1) is not None) == again
    await committer.drained()
    committer.close()


@away
async def test_away_for_longer_than_tombstones_of_conflicts_are_kept(
    lives: Callable[..., Replica], cloud: Cloud, kept: float | None, days: float, more: bool, again: bool
) -> None:
    """How one has ended nobody tells any more; there is nothing new of states."""
    replica = lives()
    cloud.write(TEA, "on_hand", "increment", 1)
    look(replica, cloud)
    read(replica, cloud)
    replica.pull_conflicts([cloud.publish_conflict(dispute(TEA))], S1)
    replica.clock.ms += int(days * 86_400_000)
    asker = _Asker(kept)
    asker.end, asker.conflicts = 1, 2 if more else 1
    lookout, committer = looking(replica, asker)
    assert (await lookout.look(beginning=True) is None) == again
    assert (list(replica.journal.scan(Family.CONFLICTS, b"")) == []) == again
    assert cursor_of(replica.journal, *FOUGHT).offset == (0 if again else 1)
    assert return_of(replica.journal, "retail", S1) is None
    assert await lookout.look() is not None
    await committer.drained()
    committer.close()


async def test_a_client_that_lives_through_an_outage_longer_than_tombstones_of_conflicts(
    replica: Replica, cloud: Cloud
) -> None:
    """States that come first say nothing of what was missed of conflicts, nor does a look that comes too late."""
    cloud.write(TEA, "on_hand", "increment", 1)
    look(replica, cloud)
    read(replica, cloud)
    replica.pull_conflicts([cloud.publish_conflict(dispute(TEA))], S1)
    asker = _Asker(86_400.0)
    asker.end = asker.conflicts = 1
    lookout, committer = looking(replica, asker)
    assert await lookout.look(beginning=True) is not None
    for _ in range(3):  # nothing comes for long, and it looks
        replica.clock.pass_seconds(80_000)
        assert await lookout.look() is not None and not lookout.forgotten(FOUGHT)
    replica.clock.pass_seconds(90_000)
    cloud.write(TEA, "on_hand", "increment", 1)
    read(replica, cloud)
    asker.end = asker.conflicts = 2
    await lookout.look()
    assert lookout.forgotten(FOUGHT) and not lookout.forgotten(("retail.receipts", S1))
    assert await lookout.look(beginning=True) is None, "so it begins anew"
    assert not lookout.forgotten(FOUGHT) and cursor_of(replica.journal, *FOUGHT).offset == 0
    await committer.drained()
    committer.close()


# -- the agent


def forgotten(cloud: Cloud, document: DocumentId) -> None:
    """A document was deleted and purged, and the topic tells neither any more; where its records lay there are others, without a word on the scope's digest."""
    cloud.states.pop(document)
    log = cloud.topics[PLACE]
    log.append(log[-1]._replace(offset=len(log)))
    other = next(record for record in log if record.key != document_key(document))
    log[:] = [
        other._replace(offset=found.offset, headers=tuple(groups.headers(found.offset, last=True)))
        if found.key == document_key(document)
        else found
        for found in log
    ]


@pytest.mark.parametrize("seconds", [60.0, 31 * 86_400.0], ids=["in time", "too long"])
async def test_a_connection_that_lives_through_an_outage_longer_than_tombstones(
    config: EdgeConfig, ids: FixedIds, cloud: Cloud, route: CloudRoute, clock: HandClock, seconds: float
) -> None:
    """A client goes on by itself where it was, and nothing that it brings says what was deleted meanwhile."""
    cloud.write(OAT, "on_hand", "increment", 1)
    cloud.write(TEA, "on_hand", "increment", 1)
    settings = config.model_copy(update={"scopes": ["s1"]})
    async with EdgeAgent(CONTRACT, settings, route=route, ids=ids, clock=clock) as agent:
        await online(agent)
        await until(lambda: agent.status()["scopes"]["s1"]["age_seconds"] is not None)
        assert await pages(agent, Stock, "s1", ["oat", "tea"])
        connections = route.connections
        route.cut()
        clock.pass_seconds(seconds)
        forgotten(cloud, TEA)
        route.mend()
        end = len(cloud.of(*PLACE))
        await until(lambda: cursor_of(agent._sync._journal, *PLACE).offset == end and not agent.status()["read_again"])
        assert (route.connections > connections) == (seconds > 60)
        if seconds > 60:  # else what was deleted comes back
            await until(lambda: pages(agent, Stock, "s1", ["oat"]))
        await agent.run("receive", store="s1", sku="tea", qty=3)
        await until(lambda: agent.status()["snapshot"]["warning"] == "")


@pytest.fixture
def agents(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> Callable[[], EdgeAgent]:
    settings = config.model_copy(update={"scopes": ["s1"]})
    return lambda: EdgeAgent(CONTRACT, settings, route=route, ids=ids)


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is down"])
@pytest.mark.parametrize("longer", [True, False], ids=["longer than before", "shorter than before"])
async def test_an_agent_whose_topic_is_made_anew_shows_the_new_one(
    agents: Callable[[], EdgeAgent], cloud: Cloud, route: CloudRoute, running: bool, longer: bool
) -> None:
    for _ in range(5):
        cloud.write(TEA, "on_hand", "increment", 1)

    def filled() -> None:
        made_anew(cloud, STATE)
        for _ in range(9 if longer else 1):
            cloud.write(OAT, "on_hand", "increment", 2)

    async with agents() as agent:
        await online(agent)
        await until(lambda: agent.page(Stock, "s1"))
        stream = agent.watch()
        if running:
            filled()
            reading = await agent.read(Stock, "s1", "oat", consistency="strong", seconds=20)
            assert reading.value["on_hand"] == (18 if longer else 2)
            async with asyncio.timeout(
                60
            ):  # who watches reads again; changes that were read before it was noticed may come first
                await anext(change async for change in stream if change.document is None)
        else:
            route.cut()
            await agent.run("receive", store="s1", sku="tea", qty=10)
    if not running:
        filled()
        async with agents() as agent:
            assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 15, (
                "the old rows serve until there are others"
            )
            route.mend()
            await until(lambda: pages(agent, Stock, "s1", ["oat", "tea"]))
            assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 10, "what waits lies on the new rows"
    async with agents() as agent:
        await until(lambda: len(list(agent._store.scan(Family.CONFIRMED, b""))) <= 2)
        assert await pages(agent, Stock, "s1", ["oat"] if running else ["oat", "tea"])
