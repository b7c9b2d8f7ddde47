"""What an old life had promised comes into the new one in steps: each of a few documents, each standing for itself, wherever a kill cuts in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import pytest

from driftlog_edge import EdgeAgent
from driftlog_edge.link import renewing as renewing_module
from driftlog_edge.outgoing import rebase as rebase_module
from driftlog_edge.outgoing.taking_along import Rebased
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.handover import NotTakenAlong
from driftlog_edge.store.journal import Journal
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import COLLECTIONS, Replica, finished
from tests.unit.edge.shop import PARTITIONS
from tests.unit.edge.waiting import until

S1 = partition_of("s1", PARTITIONS)
SKUS = ("tea", "milk", "rice", "salt")


def over(replica: Replica, cloud: Cloud) -> str:
    """The life in S1 is over, and the cloud knows it; its name."""
    chain = replica.lives.chain("retail", S1)
    replica.journal.stage(replica.lives.written("retail", S1, replace(chain, fork="forked")), sync=True)
    replica.commit()
    end = replica.end_the_old_life(S1)
    assert end is not None
    cloud.merge(end)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    return chain.replica


def begin(replica: Replica) -> int:
    """The new life begins; how many writes that took."""
    known = replica.renewal.known("retail", S1, [])
    steps = [*replica.renewal.gathered("retail", S1, known)]
    for step in steps:
        replica.renewed(S1, step)
    begun = finished(replica.renewal.begun("retail", S1, known))
    assert begun is not None
    replica.renewed(S1, begun)
    return len(steps) + 1


def settle(replica: Replica, cloud: Cloud) -> None:
    for sealed in replica.ship():
        cloud.merge(sealed)
        replica.shipper.delivered(sealed, 0.0)
    replica.pull_receipts(cloud.of("retail.receipts", S1)[-1:], S1)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    assert not replica.views.backlog


def merged(cloud: Cloud, sku: str) -> tuple[object, object]:
    state = cloud.states[DocumentId("Stock", "s1", sku)]
    rules = COLLECTIONS["Stock"].document
    return rules.field_value(state, "on_hand"), rules.field_value(state, "name")


def filled(replica: Replica) -> None:
    """Changes of four documents, in an order that shows; some of them sealed."""
    for turn in range(3):
        for sku in SKUS:
            replica.do("receive", f"{sku}-{turn}", store="s1", sku=sku, qty=10**turn)
            replica.do("rename", f"{sku}-name-{turn}", store="s1", sku=sku, name=f"{sku} {turn}")
        if turn == 0:
            replica.ship(1)


def may_be_changed(replica: Replica, sku: str) -> bool:
    return not replica.lives.handovers.concerns(("retail", S1), [document_key(DocumentId("Stock", "s1", sku))])


@pytest.mark.parametrize("cut", range(12))
def test_a_kill_between_any_two_steps_loses_nothing_and_counts_nothing_twice(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setattr(rebase_module, "AT_ONCE", 1)
    replica = lives()
    filled(replica)
    old = over(replica, cloud)
    new = ""
    steps = 0

    def killed() -> None:
        nonlocal replica, steps
        if steps == cut:
            replica = lives()
        steps += 1

    known = replica.renewal.known("retail", S1, [])
    for step in replica.renewal.gathered("retail", S1, known):
        replica.renewed(S1, step)
        if steps == cut:
            break
        steps += 1
    killed()
    if not replica.renewal.under_way("retail", S1):
        begin(replica)
    killed()
    new = replica.lives.chain("retail", S1).replica
    extra = Counter[str]()
    while (step := replica.next_taken_along(S1)) is not None:
        replica.renewed(S1, step)
        assert not replica.ship(), "nothing is sealed before all have come along"
        for sku in filter(lambda sku: may_be_changed(replica, sku), SKUS):
            replica.do("receive", store="s1", sku=sku, qty=1000)
            extra[sku] += 1000
        for sku in SKUS:
            assert replica.on_hand(sku) == 111 + extra[sku], "readers see all of it all the time"
        killed()
    for step in replica.renewal.ended("retail", S1):
        replica.renewed(S1, step)
        killed()
    assert replica.lives.chain("retail", S1).replica == new != old

    settle(replica, cloud)

    for sku in SKUS:
        assert merged(cloud, sku) == (111 + extra[sku], f"{sku} 2")
        assert {replica.entry(f"{sku}-{turn}").status for turn in range(3)} == {Status.MERGED}
    assert len(replica.lives.all()) == 2
    assert (replica.lives.newest.rebased, replica.lives.newest.review) == (24, 0)
    assert not replica.renewal.due
    assert sum(extra.values()) > 0


def test_a_document_is_not_changed_under_the_new_name_before_it_has_come_along(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebase_module, "AT_ONCE", 1)
    replica = lives()
    filled(replica)
    over(replica, cloud)
    begin(replica)
    before = replica.everything()
    for sku in SKUS:
        with pytest.raises(NotTakenAlong):
            replica.do("receive", store="s1", sku=sku, qty=1)
    assert replica.everything() == before
    for _ in replica.renewal.survey("retail", S1):
        pass
    replica.do("receive", store="s1", sku="never seen", qty=1)
    with pytest.raises(NotTakenAlong) as raised:
        replica.do("receive", store="s1", sku="salt", qty=1)
    replica.lives.handovers.want(raised.value)
    step = replica.next_taken_along(S1)
    assert step is not None
    replica.renewed(S1, step)
    assert [sku for sku in SKUS if may_be_changed(replica, sku)] == ["salt"], "what somebody waits for comes first"


def test_what_is_changed_together_comes_along_together(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebase_module, "AT_ONCE", 1)
    replica = lives()
    replica.do("fill", "both", store="s1", prefix="sku-", count=2)
    for sku in ("sku-0", "sku-1"):
        replica.do("receive", sku, store="s1", sku=sku, qty=5)
    replica.do("receive", "apart", store="s1", sku="tea", qty=7)
    over(replica, cloud)
    begin(replica)
    sizes = []
    while (step := replica.next_taken_along(S1)) is not None:
        replica.renewed(S1, step)
        sizes.append(len(step.documents))
    assert sorted(sizes) == [1, 2]


def tied(replica: Replica, commands: int) -> None:
    """Each command ties its document to all others."""
    replica.do("fill", store="s1", prefix="sku-", count=10)
    for number in range(commands):
        replica.run("receive", store="s1", sku=f"sku-{number % 10}", qty=1)
    replica.commit()


def test_others_run_while_much_that_is_tied_together_is_worked_out(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    get = Journal.get
    monkeypatch.setattr(Journal, "get", lambda *args: asked.update(["gets"]) or get(*args))
    replica = lives()
    largest = []
    for commands in (200, 800):
        tied(replica, commands)
        over(replica, cloud)
        begin(replica)
        for _ in replica.renewal.survey("retail", S1):
            pass
        asked.clear()
        most, turns, work = 0, 0, replica.renewal.step("retail", S1)
        try:
            while True:
                next(work)
                most, turns = max(most, asked.pop("gets", 0)), turns + 1
        except StopIteration as end:
            replica.renewed(S1, end.value)
        assert turns > commands // 20
        largest.append(most)
        replica.take_along(S1)
        settle(replica, cloud)
    assert largest[1] <= largest[0], largest


async def test_nothing_comes_in_while_a_step_is_worked_out(
    agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States, verdicts and new lives take turns: what one of them rests on does not move under it."""
    others = 0

    async def in_turns(work: Generator[None, None, Rebased | None]) -> Rebased | None:
        nonlocal others
        others += 1
        cloud.write(DocumentId("Stock", "s1", "sku-3"), "name", "set", f"name {others}")
        journal = agent._executor._journal  # what was staged before this may still be on its way to the disk
        before = journal.get(Family.META, keys.cursor_key("retail.state", S1))
        for _ in range(20):
            await asyncio.sleep(0)
        assert journal.get(Family.META, keys.cursor_key("retail.state", S1)) == before
        return finished(work)

    monkeypatch.setattr(renewing_module, "in_turns", in_turns)
    await agent.offline()
    await agent.run("fill", store="s1", prefix="sku-", count=10)
    lives = agent._executor._lives
    await agent._committer.stage(lives.written("retail", S1, replace(lives.chain("retail", S1), fork="forked")))
    await agent.online()
    await until(lambda: agent.status()["pending"] == 0)
    assert others >= 2
    await until(lambda: cursor_of(agent._store, "retail.state", S1).offset == len(cloud.of("retail.state", S1)))
    assert merged(cloud, "sku-3") == (1, f"name {others}")


def test_a_step_in_which_a_write_fails_does_nothing(lives: Callable[..., Replica], cloud: Cloud) -> None:
    replica = lives()
    tied(replica, 50)
    over(replica, cloud)
    begin(replica)
    for _ in replica.renewal.survey("retail", S1):
        pass
    work = replica.renewal.step("retail", S1)
    next(work)
    replica.journal.failed(RuntimeError("the disk"))
    step = finished(work)
    assert step is not None and not step.writes
    replica.take_along(S1)
    settle(replica, cloud)
    assert merged(cloud, "sku-3")[0] == 6


def test_a_step_that_the_disk_refuses_is_taken_again(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it was another's write that failed: what is left is found out again, never taken for nothing."""
    monkeypatch.setattr(rebase_module, "AT_ONCE", 1)
    replica = lives()
    filled(replica)
    over(replica, cloud)
    begin(replica)
    first, second = replica.next_taken_along(S1), None
    assert first is not None
    replica.renewed(S1, first)
    second = replica.next_taken_along(S1)
    assert second is not None
    replica.journal.stage(second.writes, sync=True)
    replica.renewal.staged(second)
    replica.journal.failed(RuntimeError("the disk"))
    assert replica.renewal.under_way("retail", S1)
    replica.take_along(S1)
    settle(replica, cloud)
    assert [merged(cloud, sku) for sku in SKUS] == [(111, f"{sku} 2") for sku in SKUS]
    assert (replica.lives.newest.rebased, replica.lives.newest.review) == (24, 0)


def steps_of(replica: Replica) -> Iterator[Callable[[], Rebased | None]]:
    """Everything that a renewal does in one go of the loop, from the end of the old life on; write what each gives before the next."""
    known = replica.renewal.known("retail", S1, [])
    gathered = replica.renewal.gathered("retail", S1, known)
    for _ in range(len(replica.outbox.sealed.all()) + 1):
        yield lambda: next(gathered, None)
    yield lambda: finished(replica.renewal.begun("retail", S1, known))
    survey = replica.renewal.survey("retail", S1)
    while ("retail", S1) not in replica.lives.handovers.rest:
        yield lambda: next(survey, None)
    while replica.lives.handovers.rest["retail", S1].commands:
        yield lambda: finished(replica.renewal.step("retail", S1))


@pytest.mark.slow
def test_no_step_does_more_the_longer_the_queue_is(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebase_module, "AT_ONCE", 40)
    asked: Counter[str] = Counter()
    get = Journal.get
    monkeypatch.setattr(Journal, "get", lambda *args: asked.update(["gets"]) or get(*args))
    replica = lives()
    largest = []
    for commands in (400, 1600):
        for number in range(commands):
            replica.run("receive", store="s1", sku=f"sku-{number % (commands // 5)}", qty=1)
        replica.commit()
        replica.ship(1)
        over(replica, cloud)
        most = 0
        for step in steps_of(replica):
            asked.clear()
            made = step()
            most = max(most, asked["gets"] + (len(made.writes) if made else 0))
            if made:
                replica.renewed(S1, made)
        replica.take_along(S1)
        settle(replica, cloud)
        largest.append(most)
    assert largest[1] <= 1.1 * largest[0], largest


async def test_commands_are_taken_while_a_life_is_renewed(
    agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for its own document at most, and none counts twice."""
    monkeypatch.setattr(rebase_module, "AT_ONCE", 1)
    await agent.offline()
    for number in range(60):
        await agent.run("receive", store="s1", sku=f"sku-{number % 12}", qty=1)
    lives = agent._executor._lives
    await agent._committer.stage(lives.written("retail", S1, replace(lives.chain("retail", S1), fork="forked")))
    old = lives.chain("retail", S1).replica
    await agent.online()
    answered = 0
    while lives.chain("retail", S1).replica == old or lives.handovers.under_way:
        await asyncio.gather(*(agent.run("receive", store="s1", sku=f"sku-{n}", qty=1) for n in range(12)))
        answered += 12
    await until(lambda: agent.status()["pending"] == 0)
    total = 0
    for number in range(12):
        counted, _ = merged(cloud, f"sku-{number}")
        assert isinstance(counted, int)
        total += counted
    assert total == 60 + answered
    assert agent.status()["problem"] == ""
