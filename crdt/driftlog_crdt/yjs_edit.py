"""One edit of a sequence, as its op carries it: a Yjs update of one of two forms, read before it is let in.

    insert    one run of characters or elements by one client, nothing deleted
    delete    ranges of earlier characters or elements, nothing inserted

A Yjs update can hold much more: other people's characters, other roots, parts that wait for what never comes. Any of these
would let one op change what is not its writer's, or make a state depend on what else has arrived. So an op's update is
read here to the last byte: who wrote it, which clock it takes, how long the run is, what it stands beside, what it deletes. The
sequence then inserts only beside what is there, and deletes only what is there, which every replica finds alike.

Format: Yjs update, version 1 (github.com/yjs/yjs, src/utils/UpdateEncoder.js and src/structs). Varints are little endian, 7 bit.
Lengths count UTF-16 units in texts and elements in lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from driftlog_crdt.takeover import Run
from driftlog_crdt.yjs_bytes import ANY_RUN, GONE, LEFT, REF, RIGHT, ROOT, TEXT_RUN, Id, Reader, put, units, varint


class Range(NamedTuple):
    """Characters or elements that one client inserted, by their clocks."""

    client: int
    start: int
    length: int


class Edit(NamedTuple):
    """What an update says. `length` 0 is a delete, and then `client` and `clock` are 0."""

    client: int
    clock: int
    length: int
    left: Id | None = None
    """what an insert stands behind"""
    right: Id | None = None
    """what it stands before"""
    gone: tuple[Range, ...] = ()
    """what a delete takes"""
    elements: tuple[str, ...] = ()
    """the inserted elements of a list"""
    narrow: bool = True
    """Is all inserted text ASCII?"""


def read_edit(update: bytes) -> Edit:
    """The edit in an update of either form. Raises ValueError for any other bytes."""
    try:
        reader = Reader(update)
        edit = _insert(reader) if reader.number() else _delete(reader)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("truncated") from error
    if reader.at != len(update):
        raise ValueError("something follows the edit")
    return edit


def delete_of(ranges: Sequence[Range]) -> bytes:
    """The update that deletes these, given client by client."""
    clients = [list(of_client) for _, of_client in groupby(ranges, key=attrgetter("client"))]
    numbers = [0, len(clients)]
    for of_client in clients:
        numbers += [of_client[0].client, len(of_client)]
        for _, start, length in of_client:
            numbers += [start, length]
    return b"".join(map(varint, numbers))


def renamed(update: bytes, old: int, new: int, run: Run) -> bytes:
    """The same edit under another client: what `old` wrote from this run on is `new`'s."""
    since, moved_by = run.since, run.at - run.since
    reader, out = Reader(update), bytearray()

    def copy() -> int:
        number = reader.number()
        put(out, number)
        return number

    def name() -> None:
        client, clock = reader.number(), reader.number()
        moved = client == old and clock >= since
        put(out, new if moved else client)
        put(out, clock + moved_by if moved else clock)

    if copy():
        copy()
        name()
        info = reader.byte()
        out.append(info)
        for side in (LEFT, RIGHT):
            if info & side:
                name()
    else:
        _put_ranges(out, _moved_ranges(reader, old, new, run))
    return bytes(out) + update[reader.at :]


def beside(update: bytes, left: Id | None, right: Id | None) -> bytes:
    """The same insert, standing between these two."""
    reader = Reader(update)
    head = bytearray()
    for _ in range(4):
        put(head, reader.number())
    info = reader.byte()
    reader.beside(info)
    head.append(info & REF | (LEFT if left else 0) | (RIGHT if right else 0))
    for number in (*(left or ()), *(right or ())):
        put(head, number)
    if left is None and right is None:
        head += bytes((1, len(ROOT))) + ROOT.encode()
    return bytes(head) + update[reader.at :]


def filled(until: Mapping[int, int]) -> bytes:
    """The update by which these clients have used up their clocks so far, for nothing that is there."""
    out = bytearray()
    put(out, len(until))
    for client, clock in until.items():
        for number in (1, client, 0, GONE, clock):
            put(out, number)
    out.append(0)
    return bytes(out)


def _moved_ranges(reader: Reader, old: int, new: int, run: Run) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for _ in range(reader.number()):
        client = reader.number()
        for _ in range(reader.number()):
            start, length = reader.number(), reader.number()
            kept = length if client != old else min(length, max(0, run.since - start))
            if kept:
                found.setdefault(client, []).append((start, kept))
            if kept < length:
                found.setdefault(new, []).append((start + kept - run.since + run.at, length - kept))
    return found


def _put_ranges(out: bytearray, ranges: dict[int, list[tuple[int, int]]]) -> None:
    put(out, len(ranges))
    for client, of_client in ranges.items():
        put(out, client)
        put(out, len(of_client))
        for start, length in of_client:
            put(out, start)
            put(out, length)


def read_clocks(state: bytes) -> dict[int, int]:
    """client -> clock of a Yjs state vector."""
    reader = Reader(state)
    return {reader.number(): reader.number() for _ in range(reader.number())}


def _insert(reader: Reader) -> Edit:
    if reader.data[0] != 1 or reader.number() != 1:
        raise ValueError("more than one run")
    client, clock = reader.number(), reader.number()
    info = reader.byte()
    left, right = reader.beside(info)
    elements: tuple[str, ...] = ()
    narrow = True
    if info & REF == TEXT_RUN:
        text = reader.text()
        narrow = text.isascii()
        length = units(text)
    elif info & REF == ANY_RUN:
        elements = tuple(reader.element() for _ in range(reader.number()))
        length = len(elements)
    else:
        raise ValueError("neither text nor elements")
    if not length or reader.number():
        raise ValueError("an insert deletes nothing and is not empty")
    return Edit(client, clock, length, left, right, elements=elements, narrow=narrow)


def _delete(reader: Reader) -> Edit:
    gone: list[Range] = []
    for _ in range(reader.number()):
        client = reader.number()
        for _ in range(reader.number()):
            start, length = reader.number(), reader.number()
            if not length:
                raise ValueError("an empty range")
            gone.append(Range(client, start, length))
    if not gone:
        raise ValueError("nothing is deleted")
    return Edit(0, 0, 0, gone=tuple(gone))
