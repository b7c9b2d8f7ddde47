"""What waits for the disk is seen by everyone; what fails was never there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftlog_edge.errors import DiskFull
from driftlog_edge.ports import Family, Place, Writes
from driftlog_edge.store.journal import REMEMBERED, Journal, merged
from tests.unit.edge.replica import FullDisk

META = Family.META


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FullDisk]:
    store = FullDisk(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def journal(store: FullDisk) -> Journal:
    store.write({(META, b"a"): b"1", (META, b"b"): b"2", (META, b"c"): b"3"}, sync=False)
    return Journal(store)


def flush(journal: Journal, store: FullDisk, limit: int = 1024) -> None:
    group = journal.take(limit)
    writes, sync = merged(group)
    store.write(writes, sync=sync)
    journal.written(group)


def test_reading_goes_through_what_waits(journal: Journal, store: FullDisk) -> None:
    journal.stage({(META, b"b"): b"20", (META, b"c"): None, (META, b"bb"): b"25", (META, b"z"): None}, sync=True)

    assert journal.get(META, b"b") == b"20"
    assert journal.get(META, b"c") is None
    assert list(journal.scan(META, b"")) == [(b"a", b"1"), (b"b", b"20"), (b"bb", b"25")]
    assert list(journal.scan(META, b"", after=b"b")) == [(b"bb", b"25")]
    assert list(journal.scan(META, b"b")) == [(b"b", b"20"), (b"bb", b"25")]
    assert store.get(META, b"b") == b"2"


def test_families_do_not_mix(journal: Journal) -> None:
    journal.stage({(Family.OPLOG, b"a"): b"other"}, sync=True)

    assert journal.get(META, b"a") == b"1"
    assert list(journal.scan(Family.OPLOG, b"")) == [(b"a", b"other")]


def test_a_written_group_does_not_uncover_older_values_of_what_still_waits(journal: Journal, store: FullDisk) -> None:
    journal.stage({(META, b"a"): b"10"}, sync=True)
    journal.stage({(META, b"a"): b"11"}, sync=True)

    flush(journal, store, limit=1)

    assert store.get(META, b"a") == b"10"
    assert journal.get(META, b"a") == b"11"
    flush(journal, store)
    assert (store.get(META, b"a"), journal.get(META, b"a"), journal.waiting) == (b"11", b"11", 0)


def test_a_group_is_one_write_later_over_earlier_synced_if_anyone_asked(journal: Journal) -> None:
    journal.stage({(META, b"a"): b"10", (META, b"x"): b"1"}, sync=False)
    journal.stage({(META, b"a"): None}, sync=True)

    assert merged(journal.take()) == ({(META, b"a"): None, (META, b"x"): b"1"}, True)


def test_everyone_is_told_once_and_in_order(journal: Journal, store: FullDisk) -> None:
    told: list[tuple[int, Exception | None]] = []
    for number in range(3):
        journal.stage({(META, b"n"): b"%d" % number}, sync=True, done=lambda e, n=number: told.append((n, e)))  # type: ignore[misc]

    flush(journal, store, limit=2)
    assert told == [(0, None), (1, None)]
    flush(journal, store)
    assert told == [(0, None), (1, None), (2, None)]


def test_a_failed_write_gives_up_all_that_was_built_on_it(journal: Journal, store: FullDisk) -> None:
    told: list[Exception | None] = []
    forgotten: list[bytes | None] = []
    journal.on_rollback(lambda: forgotten.append(journal.get(META, b"a")))
    for value in (b"10", b"11", b"12"):
        journal.stage({(META, b"a"): value}, sync=True, done=told.append)
    journal.take(1)
    error = DiskFull("no space")

    journal.failed(error)

    assert told == [error] * 3
    assert journal.waiting == 0
    assert forgotten == [b"1"], "listeners forget when the journal is already clean"
    assert journal.get(META, b"a") == b"1"
    journal.stage({(META, b"a"): b"13"}, sync=True)
    flush(journal, store)
    assert store.get(META, b"a") == b"13"


def test_a_fact_that_was_read_is_told_as_it_is_by_now(journal: Journal, store: FullDisk) -> None:
    journal.stage({(META, b"other"): b""}, sync=False)
    flush(journal, store)
    before: bytes | None = b"1"
    for value in (b"10", None, b"11"):
        assert journal.get(META, b"a") == before
        journal.stage({(META, b"a"): value}, sync=True)
        assert journal.get(META, b"a") == value
        flush(journal, store)
        assert journal.get(META, b"a") == journal.get(META, b"a") == value
        before = value
    journal.stage({(META, b"a"): b"12"}, sync=True)
    journal.failed(DiskFull("no space"))
    assert journal.get(META, b"a") == b"11"


def test_a_fact_is_asked_for_once_and_not_before_the_folder_is_open(
    journal: Journal, store: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert journal.get(META, b"a") == b"1"
    store.write({(META, b"a"): b"2"}, sync=False)  # what opens a folder writes beside the journal
    assert journal.get(META, b"a") == b"2"
    journal.stage({(META, b"other"): b""}, sync=False)
    flush(journal, store)
    asked: list[bytes] = []
    get = store.get
    monkeypatch.setattr(store, "get", lambda family, key: (asked.append(key), get(family, key))[1])
    assert [journal.get(META, b"a") for _ in range(3)] == [b"2"] * 3
    assert [journal.get(META, b"none") for _ in range(3)] == [None] * 3
    assert asked == [b"a", b"none"]
    for number in range(2 * REMEMBERED):
        journal.get(META, b"%d" % number)
    assert len(journal._facts) <= REMEMBERED


keys = st.binary(max_size=2)
write_sets = st.dictionaries(keys, st.none() | st.binary(max_size=2), max_size=5)


class Memory:
    """The plainest store there is."""

    def __init__(self) -> None:
        self.data: dict[Place, bytes] = {}

    def get(self, family: Family, key: bytes) -> bytes | None:
        return self.data.get((family, key))

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for f, key in sorted(self.data, key=lambda p: p[1]):
            if f is family and key.startswith(prefix) and (key > after or not after):
                yield key, self.data[f, key]

    def scan_keys(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[bytes]:
        return (key for key, _ in self.scan(family, prefix, after))

    def write(self, writes: Writes, *, sync: bool) -> None:
        for place, value in writes.items():
            if value is None:
                self.data.pop(place, None)
            else:
                self.data[place] = value

    def close(self) -> None:
        pass


@settings(max_examples=200, deadline=None)
@given(stored=write_sets, staged=st.lists(write_sets, max_size=4), flushed=st.integers(0, 4), prefix=keys, after=keys)
def test_a_journal_reads_like_the_store_that_it_will_become(
    stored: dict[bytes, bytes | None],
    staged: list[dict[bytes, bytes | None]],
    flushed: int,
    prefix: bytes,
    after: bytes,
) -> None:
    store, future = Memory(), Memory()
    journal = Journal(store)
    in_meta: Callable[[dict[bytes, bytes | None]], Writes] = lambda w: {(META, k): v for k, v in w.items() if k}  # noqa: E731
    for target in (store, future):
        target.write(in_meta(stored), sync=False)
    for writes in staged:
        for key in set(stored) | {key for others in staged for key in others}:
            assert journal.get(META, key) == future.get(META, key)
        journal.stage(in_meta(writes), sync=False)
        future.write(in_meta(writes), sync=False)
    group = journal.take(flushed)
    store.write(merged(group)[0], sync=False)
    journal.written(group)

    found = list(future.scan(META, prefix, after))
    assert list(journal.scan(META, prefix, after)) == found
    assert list(journal.scan_keys(META, prefix, after)) == [key for key, _ in found]
    for _, key in set(store.data) | set(future.data):
        assert journal.get(META, key) == future.get(META, key)
