"""What a command costs does not grow with how many wait, and nothing holds up the loop for long: counted in work, never in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driftlog_edge import EdgeAgent
from driftlog_edge.asking.pages import COMMANDS_BYTES, READ_AT_ONCE, TURN_BYTES, page_of
from driftlog_edge.asking.reader import SHOWN_AT_ONCE
from driftlog_edge.incoming import verdicts
from driftlog_edge.incoming.coverage import Coverage
from driftlog_edge.incoming.groups import CATCH_UP_BOUND
from driftlog_edge.incoming.states import AT_ONCE
from driftlog_edge.outgoing.outbox import SEALED_OPS
from driftlog_edge.ports import Family
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.overlay import Overlay
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.shown import Shown
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS, Stock

S1 = partition_of("s1", PARTITIONS)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts decodes of commands, and what the store is asked for."""
    counted: Counter[str] = Counter()

    def count(place: str, name: str) -> None:
        honest = pytest.importorskip(place.rpartition(".")[0]).__dict__[place.rpartition(".")[2]]

        def counting(*args: Any, **options: Any) -> Any:
            counted[name] += 1
            return honest(*args, **options)

        monkeypatch.setattr(place, counting)

    count("driftlog_edge.store.logged.from_json", "commands decoded")
    count("driftlog_edge.store.sealed.decode_body", "bodies decoded")
    get = RocksStore.get

    def scanning(name: str) -> None:
        honest = getattr(RocksStore, name)

        def counting(*args: Any) -> Iterator[Any]:
            counted["scans"] += 1
            for found in honest(*args):
                counted["entries read"] += 1
                yield found

        monkeypatch.setattr(RocksStore, name, counting)

    def getting(self: RocksStore, family: Family, key: bytes) -> bytes | None:
        counted["entries read"] += 1
        return get(self, family, key)

    for name in ("scan", "scan_keys"):
        scanning(name)
    monkeypatch.setattr(RocksStore, "get", getting)
    return counted


def drained(replica: Replica, cloud: Cloud, work: Counter[str], commands: int, documents: int) -> dict[str, float]:
    """The work of one command, from waiting to gone."""
    for number in range(commands):
        replica.run("receive", store="s1", sku=f"sku-{number % documents}", qty=1)
    replica.commit()
    states, rows = len(cloud.of("retail.state", S1)), len(cloud.of("retail.receipts", S1))
    work.clear()
    while sent := replica.ship():
        for batch in sent:
            cloud.merge(batch)
            new = cloud.of("retail.state", S1)[states:]
            replica.pull_states(new, S1)
            states += len(new)
        new = cloud.of("retail.receipts", S1)[rows:]
        replica.pull_receipts(new, S1)
        rows += len(new)
    assert len(replica.views.backlog) == 0
    return {name: count / commands for name, count in work.items()}


@pytest.mark.parametrize("documents", [5, 100])
@pytest.mark.slow
def test_taking_a_queue_back_costs_the_same_for_each_command_however_long_it_is(
    lives: Callable[..., Replica], cloud: Cloud, work: Counter[str], documents: int
) -> None:
    replica = lives()
    short = drained(replica, cloud, work, 500, documents)
    long = drained(replica, cloud, work, 2000, documents)
    assert short.keys() == long.keys()
    for name, each in short.items():
        assert long[name] <= 1.2 * each, (name, each, long[name])
    assert long["commands decoded"] <= 2, "once to seal it"


def test_a_row_that_answers_a_whole_queue_is_taken_some_commands_at_a_time(replica: Replica, cloud: Cloud) -> None:
    commands = 3 * SEALED_OPS
    for number in range(commands):
        replica.run("receive", f"c{number}", store="s1", sku="tea", qty=1)
    replica.commit()
    for batch in replica.ship():
        cloud.merge(batch)
    steps = []
    for pulled in replica.puller.receipts("retail.receipts", S1, cloud.of("retail.receipts", S1)):
        replica.take(lambda step=pulled: step)  # type: ignore[misc]
        steps.append(len(pulled.settled))
    assert max(steps) == verdicts.AT_ONCE < SEALED_OPS
    assert sum(steps) == commands
    assert replica.entry(f"c{commands - 1}").status is Status.MERGED


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_row_that_is_cut_off_between_two_steps_is_taken_to_its_end_the_next_time(
    lives: Callable[..., Replica], cloud: Cloud, cut: int
) -> None:
    replica = lives()
    for number in range(2 * SEALED_OPS):
        replica.run("receive", f"c{number}", store="s1", sku="tea", qty=1)
    replica.commit()
    for batch in replica.ship():
        cloud.merge(batch)
    rows = cloud.of("retail.receipts", S1)
    steps = iter(replica.puller.receipts("retail.receipts", S1, rows))
    for _ in range(cut):
        replica.take(lambda: next(steps))

    replica = lives()
    replica.pull_receipts(rows, S1)

    assert not replica.outbox.sealed.all()
    assert replica.entry(f"c{2 * SEALED_OPS - 1}").status is Status.MERGED
    assert replica.lives.chain("retail", S1).settled == 2


def test_a_large_group_lets_others_run_while_it_is_read(replica: Replica, cloud: Cloud) -> None:
    replica.do("fill", "c", store="s1", prefix="p", count=3 * AT_ONCE)
    for batch in replica.ship():
        cloud.merge(batch)
    records = cloud.of("retail.state", S1)
    pauses = sum(1 for _ in replica.puller.states("retail", "retail.state", S1, records))
    assert pauses == 2 * (len(records) // AT_ONCE) >= 6, "as it is read, and as what it covers goes"
    assert CATCH_UP_BOUND <= 2 * AT_ONCE


def test_a_state_that_covers_a_long_queue_lets_others_run(
    replica: Replica, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: Counter[str] = Counter()
    elsewhere = Coverage.elsewhere
    monkeypatch.setattr(Coverage, "elsewhere", lambda *args: looked.update(["entries"]) or elsewhere(*args))
    for _ in range(10 * AT_ONCE):
        replica.run("receive", store="s1", sku="tea", qty=1)
    replica.commit()
    for batch in replica.ship():
        cloud.merge(batch)
    replica.pull_receipts(cloud.of("retail.receipts", S1)[-1:], S1)
    most = 0
    work = replica.puller.states("retail", "retail.state", S1, cloud.of("retail.state", S1))
    try:
        while True:
            next(work)
            most = max(most, looked.pop("entries", 0))
    except StopIteration as end:
        pulled = end.value
    replica.take(lambda: pulled)
    assert most == AT_ONCE
    assert not replica.views.backlog


class Counted(bytes):
    """A key that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: bytes) -> bool:
        Counted.compared += 1
        return bytes.__lt__(self, other)


def test_looking_at_what_waits_costs_what_is_found() -> None:
    overlay = Overlay()
    overlay.put({(Family.PENDING, Counted(b"%06d" % number)): b"" for number in range(10_000)}, 1)
    Counted.compared = 0
    assert len(overlay.keys(Family.PENDING, b"00421", b"")) == 10
    assert Counted.compared < 50


def test_what_waits_is_found_by_prefix_wherever_that_ends(tmp_path: Path) -> None:
    overlay = Overlay()
    keys = [b"", b"a", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"]
    overlay.put({(Family.META, key): b"" for key in keys}, 1)
    for prefix in keys:
        for after in keys:
            wanted = [key for key in sorted(keys) if key.startswith(prefix) and (key > after or not after)]
            assert overlay.keys(Family.META, prefix, after) == wanted, (prefix, after)


def test_an_urgent_command_looks_once_at_what_it_takes_along(replica: Replica, work: Counter[str]) -> None:
    """A price that is set goes before the sales of its document, and takes them along; a hundred such prices do it once."""
    replica.do("receive", store="s1", sku="coffee", qty=1)  # of a class that waits on, so that each is asked
    for _ in range(200):
        replica.run("receive", store="s1", sku="tea", qty=1)
    replica.commit()
    replica.do("reprice", store="s1", sku="tea", price=1)
    work.clear()
    for price in range(100):
        replica.do("reprice", store="s1", sku="tea", price=price)
    assert work["entries read"] < 100 * 30


def test_deferred_batches_look_once_at_what_is_behind_them(lives: Callable[..., Replica], cloud: Cloud) -> None:
    replica = lives(in_flight=3)
    commands = 12 * SEALED_OPS
    cloud.rejects = {f"c{number}": "undeclared" for number in range(commands)}
    for number in range(commands):
        replica.run("receive", f"c{number}", store="s1", sku="tea", qty=1)
    replica.commit()
    sent = replica.ship()
    for batch in sent:
        cloud.merge(batch)
    asked: list[bytes] = []
    get = RocksStore.get
    with pytest.MonkeyPatch.context() as counting:
        counting.setattr(RocksStore, "get", lambda self, family, key: asked.append(key) or get(self, family, key))  # type: ignore[func-returns-value]
        replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert len(replica.outbox.queue.held) == commands
    assert len(asked) < 12 * commands, "each waiting command is looked at for one of the three batches"


def test_a_failed_write_costs_what_it_was_and_not_what_is_pending(
    lives: Callable[..., Replica], work: Counter[str]
) -> None:
    replica = lives()
    cost = []
    for pending in (50, 1000):
        while len(replica.views.backlog) < pending:
            replica.run("receive", store="s1", sku="tea", qty=1)
        replica.commit()
        replica.ship(1)
        for number in range(10):
            replica.run("receive", store="s1", sku=f"new-{number}", qty=1)
        work.clear()
        replica.journal.failed(RuntimeError("the disk"))
        cost.append(dict(work))
        assert len(replica.views.backlog) == pending
    assert cost[0] == cost[1]


def test_what_is_on_its_way_is_known_without_a_search(lives: Callable[..., Replica], work: Counter[str]) -> None:
    replica = lives()
    lsns = [replica.run("receive", store="s1", sku="tea", qty=1).entry.lsn for _ in range(3 * SEALED_OPS)]
    replica.commit()
    assert len(replica.ship()) == 3
    replica.shipper.resume()
    work.clear()
    assert all(map(replica.shipper.carries, lsns))
    assert not work


def test_the_cache_of_views_counts_what_they_grow_by(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views are small when they are made; a day's writes must not make the cache many times its bound."""
    monkeypatch.setattr("driftlog_edge.store.views.CACHED_BYTES", 60_000)
    largest = 0
    for turn in range(4):
        for number in range(60):
            replica.run("rename", store="s1", sku=f"sku-{number}", name=f"{turn}" * 1000)
            views = {**replica.views._old, **replica.views._young}.values()
            largest = max(largest, sum(view.size for view in views))
        replica.commit()
    assert 30_000 < largest < 75_000, "sixty of them, grown to 3,300 bytes each, take three times the bound"
    assert replica.value("Stock", "s1", "sku-3")["name"] == "3" * 1000


def test_the_cache_of_views_counts_what_they_are_made_of(
    replica: Replica, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large documents that are only read."""
    monkeypatch.setattr("driftlog_edge.store.views.CACHED_BYTES", 60_000)
    for number in range(60):
        cloud.write(DocumentId("Stock", "s1", f"sku-{number}"), "name", "set", "x" * 3000)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    for number in range(60):
        replica.value("Stock", "s1", f"sku-{number}")
    views = {**replica.views._old, **replica.views._young}.values()
    assert 30_000 < sum(view.size for view in views) < 75_000


def test_a_start_reads_what_waits_and_nothing_of_what_was(
    lives: Callable[..., Replica], cloud: Cloud, work: Counter[str]
) -> None:
    replica = lives()
    opened = []
    for commands in (20, 400):
        drained(replica, cloud, work, commands, documents=10)
        work.clear()
        replica = lives()
        opened.append(dict(work))
    assert opened[0] == opened[1]


async def test_a_page_lets_others_run_whether_it_shows_anything_or_not(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.offline()
    for first in range(0, 800, 400):
        await agent.run("fill", store="s1", prefix=f"p{first}-", count=400)
    for id, _ in (await agent.page(Stock, "s1", 1000))[:500]:
        await agent.write(DocumentId("Stock", "s1", id), [("", "delete", [])], durability="os")
    turns = in_one_turn(monkeypatch, Shown, "get")
    assert len(await agent.page(Stock, "s1", 1000)) == 300
    assert max(turns) <= 2 * SHOWN_AT_ONCE, "each is looked at to see if it is there, and to show it"


async def test_a_page_of_the_log_lets_others_run(agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    await agent.offline()
    for _ in range(250):
        await agent.run("receive", store="s1", sku="tea", qty=1, durability="os")
    turns = in_one_turn(monkeypatch, RocksStore, "get")
    assert [line.lsn for line in (await agent.log.last(230)).lines] == list(range(21, 251))
    assert [line.lsn for line in (await agent.log.pending(230)).lines] == list(range(1, 231))
    # Of each line the change, its entry, and one look at what it waits for.
    assert max(turns) <= 2 * 3 * READ_AT_ONCE, "the end of one page and the begin of the next are one turn"


async def test_large_entries_make_a_page_and_a_turn_short(agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of the largest commands or documents would be hundreds of megabytes."""
    await agent.offline()
    for number in range(40):
        await agent.run("label", store="s1", prefix=f"{number}-", sizes=[3000] * 20, durability="os")  # 60 KB each
    for read in (agent.log.last, agent.log.pending):
        page = await read(1000)
        assert 2 <= len(page.lines) <= COMMANDS_BYTES // 60_000 + 1
        assert page.next is not None
    turns = in_one_turn(monkeypatch, Shown, "get")
    assert len((await agent.bounded_page(Stock, "s1", 1000))[0]) > 300
    assert max(turns) <= 2 * SHOWN_AT_ONCE
    monkeypatch.setattr("driftlog_edge.asking.reader.TURN_BYTES", 1)
    await asyncio.sleep(0.001)
    turns.clear()
    assert len(await agent.page(Stock, "s1", 100)) == 100
    assert max(turns) <= 4, "one, looked at and shown, and the next"


async def test_a_turn_of_a_page_is_bounded_in_bytes_whether_it_shows_anything_or_not() -> None:
    looked: list[int] = []

    def scan(after: int) -> Iterator[tuple[int, bytes]]:
        return ((number, bytes(TURN_BYTES // 4)) for number in range(after + 1, 100))

    def read(key: int, value: bytes) -> None:
        looked[-1] += 1

    work = page_of(scan, read, 1000, 0)
    while True:
        looked.append(0)
        try:
            next(work)
        except StopIteration as end:
            assert end.value == ([], False)
            break
    assert sum(looked) == 99 and max(looked) == 4


def in_one_turn(monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> list[int]:
    """How often the method is called before the loop comes round, each time."""
    turns: list[int] = []
    running: list[bool] = []
    honest, loop = getattr(kind, name), asyncio.get_running_loop()

    def counting(*args: Any) -> Any:
        if not running:
            running.append(True)
            turns.append(0)
            loop.call_soon(running.clear)
        turns[-1] += 1
        return honest(*args)

    monkeypatch.setattr(kind, name, counting)
    return turns
