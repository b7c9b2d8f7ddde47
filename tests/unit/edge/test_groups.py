"""A group is applied whole; what a crash or compaction has taken from it is waited for or done without."""

from __future__ import annotations

from driftlog_edge.incoming.groups import GroupAssembler
from driftlog_edge.ports import Record
from driftlog_schemas import groups


def record(offset: int, number: int, *, last: bool = False) -> Record:
    return Record(offset, b"k", b"v", tuple(groups.headers(number, last=last)), 0)


def offsets(records: list[Record]) -> list[int]:
    return [r.offset for r in records]


def feed(assembler: GroupAssembler, *records: Record) -> list[list[int]]:
    return [offsets(ripe) for r in records if (ripe := assembler.add(r))]


def test_a_group_waits_for_its_last_record() -> None:
    assembler = GroupAssembler()
    assert feed(assembler, record(0, 7), record(1, 7)) == []
    assert feed(assembler, record(2, 7, last=True)) == [[0, 1, 2]]
    assert len(assembler) == 0


def test_groups_of_one_record_pass_at_once() -> None:
    assert feed(GroupAssembler(), record(0, 1, last=True), record(1, 2, last=True)) == [[0], [1]]


def test_a_torn_group_waits_until_a_later_one_has_brought_the_rest() -> None:
    assembler = GroupAssembler()
    torn = [record(0, 9), record(1, 9)]
    refilled = [record(2, 5), record(3, 5, last=True)]

    assert feed(assembler, *torn, *refilled) == []
    assert feed(assembler, record(4, 9), record(5, 9, last=True)) == [[0, 1, 2, 3, 4, 5]]


def test_an_end_that_compaction_took_is_covered_by_the_next_one() -> None:
    assert feed(GroupAssembler(), record(0, 3), record(5, 4), record(9, 8, last=True)) == [[0, 5, 9]]


def test_a_foreign_record_is_a_group_of_its_own() -> None:
    assembler = GroupAssembler()
    foreign = Record(0, b"k", b"v", (("driftlog.group", b"not a number"),), 0)
    assert offsets(assembler.add(foreign)) == [0]


def test_a_foreign_record_does_not_end_a_group_that_is_open() -> None:
    assembler = GroupAssembler()
    assert feed(assembler, record(0, 4), Record(1, b"k", b"v", (), 0)) == []
    assert feed(assembler, record(2, 4, last=True)) == [[0, 1, 2]]


def test_while_catching_up_the_buffer_is_applied_at_its_bound() -> None:
    assembler = GroupAssembler(bound=3)
    assert assembler.add(record(0, 9), catching_up=True) == []
    assert assembler.add(record(1, 9), catching_up=True) == []
    assert offsets(assembler.add(record(2, 9), catching_up=True)) == [0, 1, 2]
    for offset in range(3, 8):
        assert assembler.add(record(offset, 9)) == [], "live, the same group is waited for"
