"""Group commit: many callers, few fsyncs; a refusal of the disk reaches exactly those who wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from driftlog_edge.errors import DiskFull, EdgeError, StoreDamaged
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store.changes import ChangeLog
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.rocks import RocksStore


class SlowDisk(RocksStore):
    """A real store that lets a write through only when told, and can refuse or break."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.groups: list[tuple[int, bool]] = []
        self.error: Exception | None = None

    def write(self, writes: Writes, *, sync: bool) -> None:
        self.entered.set()
        assert self.gate.wait(30), "the test has forgotten to open the gate"
        if self.error is not None:
            raise self.error
        self.groups.append((len(writes), sync))
        super().write(writes, sync=sync)


class NotingDisk(RocksStore):
    """Notes which thread writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.here: list[bool] = []
        """Was it written on the loop's own thread?"""

    def write(self, writes: Writes, *, sync: bool) -> None:
        self.here.append(threading.current_thread() is threading.main_thread())
        super().write(writes, sync=sync)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.store = SlowDisk(folder)
        self.journal = Journal(self.store)
        self.committer = Committer(self.journal, self.store, ChangeLog(self.store, "a"))

    def put(self, key: str, *, sync: bool = True) -> asyncio.Future[None]:
        return self.committer.stage({(Family.META, key.encode()): b"x"}, sync=sync)

    def has(self, key: str) -> bool:
        return self.store.get(Family.META, key.encode()) is not None

    async def busy(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.store.entered.wait, 10)
        self.store.entered.clear()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "store")
    yield rig
    rig.store.gate.set()
    await asyncio.wait_for(rig.committer.drained(), 30)
    rig.committer.close()
    rig.store.close()


async def test_a_large_group_leaves_by_halves_so_that_disk_and_loop_work_at_one_time(rig: Rig) -> None:
    rig.store.gate.clear()
    together = [rig.put(f"key-{n}") for n in range(40)]
    rig.store.gate.set()
    await asyncio.gather(*together)
    again = [rig.put(f"again-{n}") for n in range(40)]
    await asyncio.gather(*again)

    assert rig.store.groups == [(16, True), (24, True), (16, True), (24, True)]


async def test_callers_who_come_while_the_disk_is_busy_share_one_write(rig: Rig) -> None:
    rig.store.gate.clear()
    first = rig.put("first")
    await rig.busy()
    others = [rig.put(f"other-{n}") for n in range(100)]
    assert not rig.has("first") and not first.done()

    rig.store.gate.set()
    await asyncio.gather(first, *others)

    assert rig.store.groups == [(1, True), (100, True)]
    assert all(rig.has(f"other-{n}") for n in range(100))


async def test_nobody_is_answered_before_the_write_has_returned(rig: Rig) -> None:
    rig.store.gate.clear()
    waiting = rig.put("a")
    await rig.busy()
    await asyncio.sleep(0)
    assert not waiting.done()

    rig.store.gate.set()
    await waiting
    assert rig.has("a")


async def test_a_group_is_synced_only_if_somebody_in_it_asked(rig: Rig) -> None:
    await rig.put("a", sync=False)
    await asyncio.gather(rig.put("b", sync=False), rig.put("c", sync=True))

    assert rig.store.groups == [(1, False), (2, True)]


async def test_a_refused_write_fails_all_who_wait_and_no_one_after(rig: Rig) -> None:
    rig.store.gate.clear()
    in_group = rig.put("in-group")
    await rig.busy()
    behind = rig.put("behind")
    rig.store.error = DiskFull("no space")
    rig.store.gate.set()

    results = await asyncio.gather(in_group, behind, return_exceptions=True)

    assert [type(r) for r in results] == [DiskFull, DiskFull]
    assert not rig.has("in-group") and not rig.has("behind")
    rig.store.error = None
    await rig.put("later")
    assert rig.has("later")
    assert rig.journal.waiting == 0


async def test_a_defect_of_the_store_is_told_to_the_callers_and_stays_loud(rig: Rig) -> None:
    loud: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: loud.append(context["exception"]))
    rig.store.error = ZeroDivisionError("a defect")

    with pytest.raises(EdgeError, match="ZeroDivisionError"):
        await rig.put("a")

    await asyncio.sleep(0)
    assert [type(e) for e in loud] == [ZeroDivisionError]
    rig.store.error = None
    await asyncio.wait_for(rig.put("b"), 30)
    await asyncio.wait_for(rig.committer.drained(), 30)


async def test_a_caller_who_has_gone_does_not_disturb_the_others(rig: Rig) -> None:
    rig.store.gate.clear()
    gone = rig.put("gone")
    stays = rig.put("stays")
    await rig.busy()
    gone.cancel()
    rig.store.gate.set()

    await stays

    assert rig.has("gone"), "what is decided is written; only nobody waits for the answer"


async def test_callers_wait_for_room_before_anything_is_decided(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.store.journal.MAX_WAITING", 3)
    rig.store.gate.clear()
    staged = [rig.put(str(n)) for n in range(3)]
    await rig.busy()

    room = asyncio.ensure_future(rig.committer.room())
    await asyncio.sleep(0.01)
    assert not room.done()
    rig.store.gate.set()
    await asyncio.gather(room, *staged)
    await rig.committer.room()


async def test_callers_wait_for_room_in_bytes_too(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.store.journal.MAX_WAITING_BYTES", 10_000)
    rig.store.gate.clear()
    staged = rig.committer.stage({(Family.META, b"large"): bytes(10_000)})
    await rig.busy()

    room = asyncio.ensure_future(rig.committer.room())
    await asyncio.sleep(0.01)
    assert not room.done()
    rig.store.gate.set()
    await asyncio.gather(room, staged)
    await rig.committer.room()


async def test_who_waits_for_room_is_let_in_though_others_never_stop(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.store.journal.MAX_WAITING", 40)
    written = 0

    async def write_on() -> None:
        nonlocal written
        while written < 4_000:
            await rig.committer.room()
            written += 1
            await rig.put(str(written))

    callers = [asyncio.ensure_future(write_on()) for _ in range(40)]
    await asyncio.sleep(0)
    assert rig.journal.full
    late = asyncio.ensure_future(rig.committer.room())
    await asyncio.wait([late, *callers], return_when=asyncio.FIRST_COMPLETED)
    assert late.done() and written < 4_000
    await asyncio.gather(*callers)


async def test_callers_get_room_in_the_order_in_which_they_came_and_who_goes_holds_up_nobody(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.store.journal.MAX_WAITING", 2)
    rig.store.gate.clear()
    staged = [rig.put(str(n)) for n in range(2)]
    await rig.busy()
    order: list[int] = []

    async def come(number: int) -> None:
        await rig.committer.room()
        order.append(number)
        await rig.put(f"later {number}")

    waiting = [asyncio.ensure_future(come(number)) for number in range(9)]
    await asyncio.sleep(0)
    for gone in (0, 4, 8):
        waiting[gone].cancel()
    rig.store.gate.set()
    await asyncio.gather(*staged, *waiting, return_exceptions=True)
    assert order == [1, 2, 3, 5, 6, 7]


class Blind(SlowDisk):
    """A store that is found to be damaged: nothing of it can be read from then on."""

    blind = False

    def get(self, family: Family, key: bytes) -> bytes | None:
        self._see()
        return super().get(family, key)

    def _see(self) -> None:
        if self.blind:
            raise StoreDamaged("a table cannot be read", "salvage it")


async def test_a_store_that_cannot_be_read_again_leaves_nobody_waiting_and_takes_nothing_more(tmp_path: Path) -> None:
    store = Blind(tmp_path / "store")
    journal = Journal(store)
    forgotten: list[str] = []
    for name in ("first", "second"):
        journal.on_rollback(lambda name=name: forgotten.append(name))  # type: ignore[misc]
        journal.on_rollback(lambda: journal.get(Family.META, b"life") and None)
    committer = Committer(journal, store, ChangeLog(store, "a"))
    store.blind, store.error = True, StoreDamaged("a table cannot be read", "salvage it")

    staged = [committer.stage({(Family.META, b"%d" % n): b"x"}) for n in range(3)]
    results = await asyncio.wait_for(asyncio.gather(*staged, return_exceptions=True), 30)

    assert [type(one) for one in results] == [StoreDamaged] * 3
    assert forgotten == ["first", "second"], "what is remembered is forgotten as far as that goes"
    store.blind, store.error = False, None
    with pytest.raises(StoreDamaged):
        await committer.room()
    with pytest.raises(StoreDamaged):
        committer.stage({(Family.META, b"later"): b"x"})
    await asyncio.wait_for(committer.drained(), 30)
    committer.close()
    store.close()


async def test_a_defect_in_who_follows_the_writes_stays_loud_and_leaves_nobody_waiting(rig: Rig) -> None:
    loud: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: loud.append(context["exception"]))
    broken = [True, True]

    def fails(which: int) -> None:
        if broken[which]:
            broken[which] = False
            raise ZeroDivisionError("a defect")

    rig.committer.before_sync = lambda: fails(0)
    rig.journal.on_written(lambda writes: fails(1))
    rig.put("a")
    await asyncio.wait_for(rig.committer.drained(), 30)
    await asyncio.wait_for(rig.put("b"), 30)
    assert rig.has("b") and [type(e) for e in loud] == [ZeroDivisionError] * 2


async def test_a_group_ends_where_it_has_its_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is larger alone goes alone; it is never torn."""
    monkeypatch.setattr("driftlog_edge.store.journal.GROUP_BYTES", 5_000)
    rig.store.gate.clear()
    first = rig.put("first")
    await rig.busy()
    sizes = (2_000, 2_000, 2_000, 9_000, 100)
    staged = [
        rig.committer.stage({(Family.META, b"%d-%d" % (at, part)): bytes(size // 2) for part in range(2)})
        for at, size in enumerate(sizes)
    ]
    rig.store.gate.set()
    await asyncio.gather(first, *staged)

    assert [entries for entries, _ in rig.store.groups] == [1, 4, 2, 2, 2]


async def test_settled_waits_for_what_waits_now_and_tells_when_it_failed(rig: Rig) -> None:
    await rig.committer.settled()
    assert rig.store.groups == [], "nothing waits, nothing is written"
    rig.store.gate.clear()
    first = rig.put("a")
    settled = asyncio.ensure_future(rig.committer.settled())
    await rig.busy()
    assert not settled.done()
    rig.store.gate.set()
    await asyncio.gather(first, settled)
    assert rig.has("a")

    rig.store.error = DiskFull("no space")
    second = rig.put("b")
    with pytest.raises(DiskFull):
        await rig.committer.settled()
    with pytest.raises(DiskFull):
        await second


@pytest.fixture
async def noting(tmp_path: Path) -> AsyncIterator[tuple[NotingDisk, Committer]]:
    disk = NotingDisk(tmp_path / "store")
    committer = Committer(Journal(disk), disk, ChangeLog(disk, "a"))
    yield disk, committer
    await committer.drained()
    committer.close()
    disk.close()


async def put(committer: Committer, *keys: str, sync: bool = True) -> None:
    await asyncio.gather(*(committer.stage({(Family.META, key.encode()): b"x"}, sync=sync) for key in keys))


async def test_what_need_not_be_synced_is_written_on_the_loop_and_a_sync_never_holds_it_up(
    noting: tuple[NotingDisk, Committer],
) -> None:
    disk, committer = noting
    for number in range(4):
        await put(committer, str(number), sync=False)
    await put(committer, *map(str, range(40)), sync=False)
    assert disk.here == [True] * 5, "one group each"
    await put(committer, "synced")
    assert disk.here[-1] is False


async def test_a_refusal_on_the_loop_fails_all_who_wait_and_a_defect_stays_loud(
    noting: tuple[NotingDisk, Committer], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, committer = noting
    loud: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: loud.append(context["exception"]))
    error: Exception = DiskFull("no space")

    def refusing(store: RocksStore, writes: Writes, *, sync: bool) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(RocksStore, "write", refusing)
        with pytest.raises(DiskFull):
            await put(committer, "a", sync=False)
        error = ZeroDivisionError("a defect")
        with pytest.raises(EdgeError, match="ZeroDivisionError"):
            await put(committer, "a", sync=False)
    await asyncio.sleep(0)
    assert [type(e) for e in loud] == [ZeroDivisionError]
    await put(committer, "b", sync=False)
    assert disk.get(Family.META, b"b") and disk.get(Family.META, b"a") is None


def test_a_close_waits_for_a_sync_whose_loop_has_gone(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path / "store")
    disk.gate.clear()
    committer = Committer(Journal(disk), disk, ChangeLog(disk, "a"))

    async def give_and_go() -> None:
        committer.stage({(Family.META, b"a"): b"x"})
        await asyncio.get_running_loop().run_in_executor(None, disk.entered.wait, 30)

    asyncio.run(give_and_go())
    closing = threading.Thread(target=committer.close)
    closing.start()
    disk.gate.set()
    closing.join(30)
    assert not closing.is_alive()
    assert disk.get(Family.META, b"a") == b"x"
    disk.close()


async def test_what_is_staged_before_a_sync_shares_it_and_nothing_is_asked_of_an_unsynced_group(rig: Rig) -> None:
    along: list[asyncio.Future[None]] = []
    rig.committer.before_sync = lambda: along.append(rig.put(f"along {len(along)}"))
    await rig.put("a", sync=False)
    assert along == []
    await rig.put("b")
    assert (len(along), along[0].done(), rig.has("along 0")) == (1, True, True)
    assert rig.store.groups == [(1, False), (2, True)]


async def test_what_is_staged_before_a_sync_does_not_send_the_group_off(rig: Rig) -> None:
    rig.committer._half = 1
    along: list[asyncio.Future[None]] = []
    rig.committer.before_sync = lambda: along.append(rig.put("along"))
    await rig.put("a")
    await asyncio.gather(*along)
    assert rig.store.groups == [(2, True)]


async def test_nobody_who_stages_is_interrupted_by_what_shares_the_sync(rig: Rig) -> None:
    rig.committer._half = 2
    staging, met = True, []
    rig.committer.before_sync = lambda: met.append(staging)
    written = [rig.put(str(number)) for number in range(5)]
    staging = False
    await asyncio.gather(*written)
    assert True not in met
