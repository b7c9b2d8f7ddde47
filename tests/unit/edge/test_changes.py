"""The log of changes: bounded, over restarts, and never silent about what it does not know."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftlog_edge.errors import DiskFull
from driftlog_edge.ports import Family
from driftlog_edge.store import changes as changes_module
from driftlog_edge.store import keys
from driftlog_edge.store.changes import ANEW, ChangeLog, Mark
from driftlog_edge.store.rocks import RocksStore

TEA, COFFEE = b"Stock/s1/tea", b"Stock/s1/coffee"


class Folder:
    """A store that is opened, killed, copied and restored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = 0
        self.open()

    def open(self, release: bytes = b"1") -> ChangeLog:
        self.runs += 1
        self.store = RocksStore(self.path)
        self.log = ChangeLog(self.store, f"run{self.runs}")
        self.log.open(release)
        return self.log

    def again(self, release: bytes = b"1") -> ChangeLog:
        self.store.close()
        return self.open(release)

    def now_and_again(self) -> Iterator[ChangeLog]:
        yield self.log
        yield self.again()

    def restored(self, older: Path) -> ChangeLog:
        self.store.close()
        shutil.rmtree(self.path)
        shutil.copytree(older, self.path)
        return self.open()

    def copy(self, to: Path) -> Path:
        self.store.close()
        shutil.copytree(self.path, to)
        self.open()
        return to


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "data")
    yield made
    made.store.close()


def told(log: ChangeLog, mark: Mark, most: int = 1000) -> list[bytes | None]:
    assert log.leads_on(mark)
    found = log.after(mark.number, most)
    assert found is not None
    return [key for _, key in found]


def test_what_was_missed_is_known_after_restarts(folder: Folder) -> None:
    before = folder.log.last
    folder.log.write({}, [TEA, COFFEE])
    between = folder.log.last
    folder.again().write({}, [TEA])

    log = folder.again()
    assert told(log, before) == [TEA, COFFEE, TEA]
    assert told(log, Mark(before.run, before.number + 1)) == [COFFEE, TEA], "in the midst of a group"
    assert told(log, between) == [TEA]
    assert told(log, log.last) == []
    assert log.after(before.number, 1) == log.after(before.number, 2), "whole groups"


def test_a_document_that_changes_twice_in_a_group_is_told_once(folder: Folder) -> None:
    before = folder.log.last
    folder.log.write({}, [TEA, COFFEE, TEA])
    assert told(folder.again(), before) == [TEA, COFFEE]


def test_a_mark_of_nobody_and_of_the_future_lead_nowhere(folder: Folder) -> None:
    folder.log.write({}, [TEA, COFFEE, TEA])
    run, number = folder.log.last
    for log in folder.now_and_again():
        for mark in (Mark("nobody", 1), Mark("nobody", number), Mark(run, number + 1), Mark(run, 0), Mark(run, 10**17)):
            assert not log.leads_on(mark), mark


def test_what_an_older_copy_of_the_folder_has_undone_leads_nowhere_also_when_its_numbers_are_given_again(
    folder: Folder, tmp_path: Path
) -> None:
    shared = folder.log.last
    older = folder.copy(tmp_path / "older")
    folder.log.write({}, [TEA])
    undone = folder.log.last
    log = folder.restored(older)
    assert not log.leads_on(undone)
    for _ in range(3):
        log.write({}, [COFFEE])
        assert not log.leads_on(undone)
    log = folder.again()
    assert not log.leads_on(undone)
    assert told(log, shared) == [COFFEE] * 3


def test_another_release_may_show_everything_otherwise_and_the_same_one_does_not(folder: Folder) -> None:
    before = folder.log.last
    assert told(folder.again(), before) == []
    assert told(folder.again(b"2"), before) == [ANEW]
    assert told(folder.again(b"2"), before) == [ANEW], "until somebody has heard of it"


def test_it_is_bounded_in_changes_and_bytes_on_the_disk_too(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept() -> int:
        return sum(1 for _ in folder.store.scan(Family.META, keys.CHANGES))

    monkeypatch.setattr(changes_module, "KEPT", 10)
    marks = []
    for _ in range(30):
        marks.append(folder.log.last)
        folder.log.write({}, [TEA])
    assert kept() == 10
    for log in folder.now_and_again():
        assert [log.leads_on(mark) for mark in marks] == [False] * 21 + [True] * 9
        assert log.after(marks[19].number, 1) is None, "it is not kept any more"
        assert told(log, marks[-9]) == [TEA] * 9
    folder.log.write({}, [b"%d" % number for number in range(50)])
    assert kept() == 1, "the last entry is kept, whatever its size"
    monkeypatch.setattr(changes_module, "KEPT", 1000)
    monkeypatch.setattr(changes_module, "KEPT_BYTES", 5 * 400)
    for _ in range(20):
        folder.log.write({}, [b"Stock/s1/" + b"x" * 380])
    assert 3 <= kept() <= 5
    assert folder.again().leads_on(folder.log.last)


def test_what_the_store_did_not_take_has_no_number(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder.log.last
    told_of: list[object] = []
    folder.log.on_told(told_of.append)
    with monkeypatch.context() as full:
        full.setattr(RocksStore, "write", _refuses)
        with pytest.raises(DiskFull):
            folder.log.write({}, [TEA])
    assert (folder.log.last, told_of) == (before, [])
    folder.log.write({}, [COFFEE])
    assert told(folder.again(), before) == [COFFEE]
    assert len(told_of) == 1


def test_where_a_new_release_cannot_be_noted_no_mark_of_before_leads_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.log.write({}, [TEA, COFFEE])
    before = folder.log.last
    folder.store.close()
    store = RocksStore(folder.path)
    log = ChangeLog(store, "later")
    with monkeypatch.context() as full:
        full.setattr(RocksStore, "write", _refuses)
        with pytest.raises(DiskFull):
            log.open(b"2")
    assert not log.leads_on(before) and log.leads_on(log.last)
    log.write({}, [TEA])
    assert not log.leads_on(before)
    store.close()
    assert told(folder.open(b"2"), before)[-1] is ANEW


def _refuses(*args: object, **named: object) -> None:
    raise DiskFull("no space left", "free some")
