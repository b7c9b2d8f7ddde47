"""A command of which the cloud has seen nothing is decided all the same: it waits for nothing, shows nowhere, and what is written later gets in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_crdt import BadOperation
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.lives import GIVEN_UP, UNSEEN
from driftlog_edge.store.unseen import unseen_of
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Verdict
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS, app

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")
GIG = DocumentId("Event", "s1", "gig")


class Folder:
    """A replica that is started again, beside a cloud."""

    def __init__(self, folder: Path, identity: Identity, ids: FixedIds, cloud: Cloud) -> None:
        self._place = folder, identity, ids
        self.replica = Replica(*self._place)
        self.cloud = cloud

    def restart(self) -> None:
        self.replica.close()
        self.replica = Replica(*self._place)

    def receive(self, command_id: str, qty: int = 1, *, right: bool = True) -> None:
        """Write, and be refused later where there is no right."""
        if not right:
            self.cloud.forbids.add(command_id)
        self.replica.do("receive", command_id, store="s1", sku="tea", qty=qty)

    def seats(self, command_id: str, op: str, number: int) -> None:
        """Change the seats of a show, without a command."""
        executed = self.replica.executor.write(GIG, [("seats", op, [number])], command_id)
        self.replica.journal.stage(executed.writes or {}, sync=True)
        self.replica.commit()

    def ship(self) -> None:
        for sealed in self.replica.ship():
            self.cloud.merge(sealed)

    def pull(self, *kinds: str) -> None:
        """What is new, and what follows from it; of rows first, as the cloud publishes them."""
        replica = self.replica
        for topic in kinds or ("retail.receipts", "retail.state"):
            new = self.cloud.of(topic, S1)[cursor_of(replica.store, topic, S1).offset :]
            if topic == "retail.receipts":
                replica.run_again(replica.pull_receipts(new, S1))
            else:
                replica.pull_states(new, S1)

    def settle(self) -> None:
        """Until nothing waits, through as many lives as it takes."""
        for _ in range(6):
            self.ship()
            self.pull()
            while self.replica.renewal.due:
                end = self.replica.end_the_old_life(S1)
                if end is not None:
                    self.cloud.merge(end)
                    self.pull("retail.receipts")
                self.replica.renew(self.cloud.of("retail.ops", S1))
            if not self.replica.views.backlog:
                return
        raise AssertionError("it does not come to rest")

    def status(self, command_id: str) -> tuple[Status, str]:
        entry = self.replica.entry(command_id)
        return entry.status, entry.code

    def dots(self) -> list[int]:
        """The dots under which it has written, as the cloud met them."""
        return [op.seq for batch in self.cloud.batches for command in batch.commands for _, op in command.ops]

    @property
    def kept(self) -> dict[str, tuple[int, int]]:
        """What is remembered of dots that perhaps no state will ever have."""
        return dict(unseen_of(self.replica.journal, "retail", S1, document_key(TEA)))


@pytest.fixture
def till(tmp_path: Path, identity: Identity, ids: FixedIds, cloud: Cloud) -> Iterator[Folder]:
    made = Folder(tmp_path / "till", identity, ids, cloud)
    yield made
    made.replica.close()


def test_it_waits_for_nothing_and_shows_nowhere_over_a_restart_too(till: Folder) -> None:
    till.receive("before", 5)
    till.settle()
    till.receive("c1", 100, right=False)
    till.receive("c2", 200, right=False)
    assert till.replica.on_hand("tea") == 305
    till.ship()
    till.pull("retail.receipts")

    for _ in range(2):
        assert till.status("c1") == till.status("c2") == (Status.REJECTED, "forbidden")
        assert len(till.replica.views.backlog) == 0
        assert till.replica.on_hand("tea") == 5
        assert till.replica.views.get(TEA).pending == []
        assert list(till.replica.store.scan(Family.PENDING, b"")) == [], "nothing keeps the document from making room"
        till.restart()


def test_on_a_document_that_nobody_else_has_there_is_none(till: Folder) -> None:
    till.receive("c1", right=False)
    till.settle()
    view = till.replica.views.get(TEA)
    assert not view.collection.document.exists(view.state)


def test_who_goes_on_without_the_right_keeps_its_life_and_uses_no_dot_twice(till: Folder) -> None:
    life = till.replica.lives.replica
    for number in range(1, 6):
        till.receive(f"c{number}", right=False)
        till.settle()
        till.restart()
    assert till.dots() == [1, 2, 3, 4, 5]
    assert till.replica.lives.replica == life
    assert till.kept == {life: (1, 5)}, "one entry, however often it was refused"


def test_when_the_right_is_given_back_the_next_write_is_merged(till: Folder) -> None:
    till.receive("before", 5)
    till.settle()
    life = till.replica.lives.replica
    till.receive("refused", 100, right=False)
    till.settle()
    till.restart()

    till.receive("back", 7)
    till.ship()
    assert [o.verdict for o in till.cloud.rows[life, S1].entries[-1].outcomes] == [Verdict.PARKED]
    till.pull()
    assert till.replica.lives.chain("retail", S1).fork == UNSEEN
    till.restart()
    till.settle()

    assert till.status("back") == (Status.MERGED, "")
    assert till.replica.on_hand("tea") == 12
    assert till.replica.lives.replica != life
    assert till.replica.lives.newest.why == UNSEEN
    assert till.kept == {} and not list(till.replica.store.scan(Family.META, keys.UNSEEN))
    till.replica.do("sell", "after", store="s1", sku="tea", qty=2)
    till.settle()
    assert till.status("after") == (Status.MERGED, ""), "and one life is enough"
    assert till.replica.on_hand("tea") == 10


def test_what_stood_behind_it_when_the_right_came_back_runs_again_on_the_corrected_view(till: Folder) -> None:
    till.receive("before", 5)
    till.settle()
    till.receive("refused", 100, right=False)
    till.ship()
    till.replica.do("sell", "too-much", store="s1", sku="tea", qty=50)
    till.replica.do("sell", "enough", store="s1", sku="tea", qty=3)
    till.ship()  # both are on their way when the refusal comes
    till.settle()
    assert till.status("too-much") == (Status.REJECTED, "out_of_stock")
    assert till.status("enough") == (Status.MERGED, "")
    assert till.replica.on_hand("tea") == 2


def test_what_stands_on_a_change_that_runs_again_runs_again_after_it_on_whatever_document(till: Folder) -> None:
    def sense(command_id: str, note: str, sku: str = "") -> None:
        till.replica.do("sense", command_id, store="s1", name="door", note=note, sku=sku)

    till.receive("before", 5)
    till.settle()
    till.receive("refused", 100, right=False)
    till.settle()
    sense("goods", "came in", "tea")  # stands on what was refused
    sense("later", "went out")  # on that only: of another document, of which nothing was ever refused
    till.ship()
    sense("unsent", "shut")
    till.pull()
    assert till.status("goods")[0] is till.status("later")[0] is Status.PARKED

    till.settle()
    assert [till.status(name) for name in ("goods", "later", "unsent")] == [(Status.MERGED, "")] * 3
    assert till.replica.on_hand("tea") == 6
    merged = till.cloud.states[DocumentId("Reading", "s1", "door")]
    assert [c.id for c in till.cloud.batches[-1].commands] == ["goods", "later", "unsent"]
    kind = till.replica.views.get(DocumentId("Reading", "s1", "door")).collection.document
    assert (kind.field_value(merged, "times"), kind.field_value(merged, "note")) == (3, "shut")
    assert not list(till.replica.store.scan(Family.META, keys.UNSEEN)), "and nothing more is kept of it"


def test_a_change_that_says_what_its_writer_saw_does_not_wait_for_what_was_never_seen(till: Folder) -> None:
    till.receive("refused", right=False)
    till.settle()
    till.replica.do("reprice", "price", store="s1", sku="tea", price=120)
    till.settle()
    assert till.status("price") == (Status.MERGED, "")
    till.replica.do("reprice", "again", store="s1", sku="tea", price=130)
    till.settle()
    assert till.replica.value("Stock", "s1", "tea")["price"] == 130


def test_a_new_life_does_not_wait_for_what_was_put_off_and_came_again_above_what_was_never_seen(till: Folder) -> None:
    """What came behind "late", which was put off, was refused unseen: so "late" runs again above that, and nobody will send its first dot."""
    till.receive("before", 5)
    till.settle()
    life = till.replica.lives.replica
    till.cloud.rejects["late"] = "undeclared"
    till.replica.do("reprice", "late", store="s1", sku="tea", price=120)
    till.ship()
    till.receive("refused", right=False)
    till.ship()
    till.pull()
    assert till.kept == {life: (2, 3)}
    assert till.replica.entry("late").dots[0][1:] == (life, 4)
    till.cloud.rejects.clear()
    till.replica.do("reprice", "again", store="s1", sku="tea", price=130)
    till.receive("back", 7)
    till.settle()
    assert [till.status(name) for name in ("late", "again", "back")] == [(Status.MERGED, "")] * 3
    assert till.replica.value("Stock", "s1", "tea")["price"] == 130
    assert till.replica.on_hand("tea") == 12


def test_what_a_new_life_brings_does_not_wait_for_what_another_copy_of_the_folder_had_sent_in_vain(
    till: Folder, tmp_path: Path, identity: Identity, ids: FixedIds
) -> None:
    """That it was refused the new life learns in the step in which what stands behind it comes along."""
    till.receive("before", 5)
    till.settle()
    life = till.replica.lives.replica
    till.receive("refused", right=False)
    till.replica.close()
    shutil.copytree(tmp_path / "till", tmp_path / "copy")
    copy = Folder(tmp_path / "copy", identity, ids, till.cloud)
    copy.ship()
    copy.replica.close()
    till.restart()
    till.replica.do("reprice", "price", store="s1", sku="tea", price=120)
    till.settle()

    brought = till.cloud.batches[-1].commands[-1]
    assert (brought.id, brought.root, brought.ops[0].op.context) == ("price", life, {life: 1})
    assert (till.status("refused"), till.status("price")) == ((Status.REJECTED, "forbidden"), (Status.MERGED, ""))
    assert till.replica.value("Stock", "s1", "tea")["price"] == 120


def test_where_it_was_seen_after_all_the_state_ends_it_and_the_life_goes_on(till: Folder) -> None:
    life = till.replica.lives.replica
    till.receive("first", 5)
    till.cloud.rejects["refused"] = "forbidden"
    till.receive("refused", 100)
    till.receive("last", 7)
    till.ship()
    till.pull("retail.receipts")
    assert till.kept == {life: (2, 2)}
    assert till.replica.on_hand("tea") == 12, "what was taken on both sides of it stays in view"
    till.restart()
    assert till.replica.on_hand("tea") == 12
    till.pull("retail.state")

    assert till.kept == {}
    assert len(till.replica.views.backlog) == 0
    till.receive("next", 1)
    till.settle()
    assert till.dots() == [1, 2, 3, 4]
    assert (till.replica.on_hand("tea"), till.replica.lives.replica) == (13, life)


def test_a_new_life_leaves_what_changes_of_the_old_one_still_stand_on(till: Folder) -> None:
    till.receive("first", 5)
    till.cloud.rejects["refused"] = "forbidden"
    till.receive("refused", 100)
    till.receive("last", 7)
    till.ship()
    till.pull("retail.receipts")  # the states are late
    chain = till.replica.lives.chain("retail", S1)
    till.replica.journal.stage(till.replica.lives.written("retail", S1, replace(chain, fork=GIVEN_UP)), sync=True)
    till.replica.commit()
    till.replica.renew(till.cloud.of("retail.ops", S1))
    assert till.replica.lives.replica != chain.replica
    till.restart()
    assert till.replica.on_hand("tea") == 12
    till.settle()
    till.receive("next", 1)
    till.settle()
    assert till.replica.on_hand("tea") == 13


def test_a_late_copy_that_counts_as_seen_is_no_stranger(till: Folder) -> None:
    till.receive("refused", right=False)
    till.settle()
    (batch,) = till.cloud.batches
    for change in batch.commands[0].ops:
        till.cloud._apply(change, rejected=True)  # as a worker of the release before does
    till.cloud.say_again(TEA)
    till.pull()
    assert till.kept == {} and not till.replica.renewal.due
    till.receive("next", 4)
    till.settle()
    assert (till.dots(), till.replica.on_hand("tea")) == ([1, 2], 4)


def test_a_command_that_comes_to_nothing_leaves_no_taken_dot_in_the_view(till: Folder) -> None:
    till.cloud.forbids.add("open")
    till.seats("open", "increment", 3)
    till.settle()
    with pytest.raises(BadOperation):
        till.seats("taken", "decrement", 1)
    assert till.replica.views.get(GIG).state.vector == {}, (
        "a later life would name a dot that the cloud will never have"
    )
    till.seats("open-again", "increment", 2)
    till.settle()
    assert till.replica.value("Event", "s1", "gig")["seats"] == 2


async def test_nobody_waits_for_it(config: EdgeConfig, ids: FixedIds, cloud: Cloud) -> None:
    cloud.forbids.add("refused")
    async with EdgeAgent(app, config, route=CloudRoute(cloud), ids=ids) as agent:
        await agent.run("receive", command_id="before", store="s1", sku="tea", qty=5, wait="merged")
        refused = await agent.run("receive", command_id="refused", store="s1", sku="tea", qty=100, wait="merged")
        assert (refused.status, refused.code) == ("rejected", "forbidden")
        assert agent.status()["pending"] == 0
        for reading in (
            await agent.read("Stock", "s1", "tea", consistency="causal", session=refused.session, seconds=30),
            await agent.read("Stock", "s1", "tea", consistency="strong", seconds=30),
        ):
            assert (reading.value["on_hand"], reading.pending) == (5, 0)
        back = await agent.run("receive", command_id="back", store="s1", sku="tea", qty=2, wait="merged", seconds=60)
        assert back.status == "merged"
        assert (await agent.read("Stock", "s1", "tea", consistency="strong", seconds=30)).value["on_hand"] == 7
        assert agent.status()["pending"] == 0
