"""A store is a prefix of its changelog at every moment: states and the mark that counts them are one write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from driftlog_streams.core.passed import Passed
from driftlog_streams.core.store_mark import Positions, StoreMark
from driftlog_streams.errors import StoreFailed, StoreLocked
from driftlog_streams.faust_driver import partition_store
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore


class Counted:
    """The database below a store, and how often it was written."""

    def __init__(self, below: Any) -> None:
        self._below = below
        self.writes = 0
        self.fails = False

    def write(self, *batch: Any) -> None:
        self.writes += 1
        if self.fails:
            raise OSError(28, "No space left on device")
        self._below.write(*batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


@pytest.fixture
def below(tmp_path: Path) -> Iterator[WorkerStore]:
    with closing(WorkerStore(tmp_path / "states")) as made:
        yield made


@pytest.fixture
def store(below: WorkerStore) -> PartitionStore:
    return below.partition(0)


def test_states_and_mark_are_one_write(store: PartitionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(store._db)
    monkeypatch.setattr(store, "_db", counted)
    store.write([(b"a", b"1"), (b"b", b"2"), (b"c", None)], StoreMark(7, 3))
    assert counted.writes == 1


def test_a_write_that_failed_moved_nothing(store: PartitionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(store._db)
    monkeypatch.setattr(store, "_db", counted)
    counted.fails = True
    with pytest.raises(StoreFailed, match=r"takes nothing: .*No space left") as failed:
        store.write([(b"a", b"1")], StoreMark(7, 3))
    assert failed.value.remedy
    assert store.mark == StoreMark() and store.get(b"a") is None


@pytest.mark.parametrize("read", [lambda store: store.get(b"a"), lambda store: store.row("store-1.a")])
def test_what_cannot_be_read_is_the_stores_fault(tmp_path: Path, read: Callable[[PartitionStore], object]) -> None:
    """RocksDB's binding raises plain `Exception`, which the merge would take for the record's."""
    below = WorkerStore(tmp_path / "states")
    store = below.partition(0)
    below.close()
    with pytest.raises(StoreFailed, match="cannot be read") as failed:
        read(store)
    assert failed.value.remedy


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with closing(WorkerStore(tmp_path / "states")) as below:
        first = below.partition(7)
        first.write([(b"a", b"1"), (b"b", b"2")], StoreMark(7, 3, 5))
        first.write([(b"a", None)], StoreMark(8, 4, 5))

    with closing(WorkerStore(tmp_path / "states")) as below:
        again = below.partition(7)
        assert (again.mark, again.get(b"a"), again.get(b"b")) == (StoreMark(8, 4, 5), None, b"2")


def test_partitions_keep_apart_what_they_have(below: WorkerStore) -> None:
    first, second = below.partition(1), below.partition(258)
    first.write([(b"a", b"1")], StoreMark(7, 3))
    second.write([(b"a", b"2")], StoreMark(9, 4))
    first.write([(b"a", None)], StoreMark(8, 3))
    assert (first.get(b"a"), first.mark, below.partition(1).mark) == (None, StoreMark(8, 3), StoreMark(8, 3))
    assert (second.get(b"a"), below.partition(258).mark) == (b"2", StoreMark(9, 4))


def _open_below(folder: Path) -> int:
    """How many files in this folder the process has open."""
    found = 0
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, by another thread
            found += str(handle.readlink()).startswith(f"{folder}/")
    return found


def test_a_hundred_partitions_cost_hardly_a_file_more_than_one(below: WorkerStore, tmp_path: Path) -> None:
    below.partition(0).write([(b"a", b"1")], StoreMark(1, 1))
    one = _open_below(tmp_path)
    assert one > 0
    for number in range(1, 100):
        below.partition(number).write([(b"a", b"1")], StoreMark(1, 1))
    assert _open_below(tmp_path) <= one + 5, "the database's own, which it opens when it likes"


def test_a_folder_that_is_held_is_named_with_the_remedy(
    store: PartitionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_store, "OPEN_SECONDS", 0.0)
    with pytest.raises(StoreLocked, match="states") as held:
        WorkerStore(tmp_path / "states")
    assert held.value.remedy


def test_a_mark_never_goes_back() -> None:
    mark = StoreMark(10, 5)
    with pytest.raises(AssertionError, match="never goes back"):
        mark.moved(Positions(9), 6)
    assert mark.moved(Positions(11, 3, 2), 4).moved(Positions(11), 6) == StoreMark(11, 6, 3, 2)


def test_a_row_is_kept_beside_the_states(store: PartitionStore) -> None:
    store.write([(b"row/store-1.a", b"state")], StoreMark(7, 3, 2), [("store-1.a", b"row")])
    assert (store.row("store-1.a"), store.get(b"row/store-1.a"), store.row("store-2.a")) == (b"row", b"state", None)


def test_what_was_deleted_is_found_by_its_group_and_only_while_it_is_so(below: WorkerStore) -> None:
    store = below.partition(3)
    store.write([(b"a", b"1"), (b"b", b"1")], StoreMark(1, 5), passed=Passed({b"a": 5, b"b": 5}))
    store.write([(b"c", b"1"), (b"b", b"2")], StoreMark(2, 9), passed=Passed({b"c": 9, b"b": 9}))
    assert list(store.dead(9)) == [(b"a", b"1")]
    assert list(store.dead(10)) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"1")]
    store.write([(b"a", None)], StoreMark(3, 12), passed=Passed(gone={b"a": 12}))
    assert (store.purged(b"a"), store.purged(b"c")) == (12, 0)
    assert [name for name, _ in store.dead(99)] == [b"b", b"c"]
    store.forget_gone(12)
    assert store.purged(b"a") == 12
    store.forget_gone(13)
    assert store.purged(b"a") == 0


def test_how_a_conflict_ended_is_kept_until_nobodys_late_word_can_come(store: PartitionStore) -> None:
    one, other = b"1" * 24, b"2" * 24
    store.write((), StoreMark(1, 5), passed=Passed(ends={one: b"first", other: b"end"}))
    store.write((), StoreMark(2, 9), passed=Passed(ends={one: b"second"}))
    store.forget_ended(5)
    assert (store.ended(one), store.ended(other)) == (b"second", b"end")
    store.forget_ended(9)
    assert (store.ended(one), store.ended(other)) == (b"second", None)
    store.forget_ended(10)
    assert store.ended(one) is None and not list(store._scan(store._prefix + b"\x00end"))


def test_digests_go_in_with_the_states_and_documents_are_found_by_their_beginning(store: PartitionStore) -> None:
    states = [(b"Stock/s1/a", b"1"), (b"Stock/s1/b", b"2"), (b"Stock/s10/c", b"3")]
    store.write(states, StoreMark(7, 3), [("store-1.a", b"row")], digests={"s1": 5, "s10": None})
    assert (store.digest("s1"), store.digest("s10"), store.digest("s2")) == (5, None, 0)
    assert store.unknown_digests() == ["s10"]
    assert list(store.documents()) == states
    assert list(store.keys(b"Stock/s1/")) == [b"Stock/s1/a", b"Stock/s1/b"]
    store.write([], StoreMark(8, 3), digests={"s10": 0})
    assert store.unknown_digests() == [] and store.digest("s10") == 0
