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

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from driftlog_crdt.takeover import Run

ROOT = "s"
"""The one root type in a sequence's Yjs document."""

_REF = 0x1F
_TEXT_RUN, _ANY_RUN = 4, 8
_LEFT, _RIGHT, _PARENT_SUB = 0x80, 0x40, 0x20
_ANY_TEXT = 119


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
    needs: tuple[tuple[int, int], ...] = ()
    """(client, clock) of the characters or elements that an insert stands beside, and of its writer's last one"""
    gone: tuple[Range, ...] = ()
    """what a delete takes"""
    elements: tuple[str, ...] = ()
    """the inserted elements of a list"""
    narrow: bool = True
    """Is all inserted text ASCII?"""


def read_edit(update: bytes) -> Edit:
    """The edit in an update of either form. Raises ValueError for any other bytes."""
    try:
        reader = _Reader(update)
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
    return b"".join(map(_varint, numbers))


def renamed(update: bytes, old: int, new: int, run: Run) -> bytes:
    """The same edit under another client: what `old` wrote from this run on is `new`'s."""
    since, moved_by = run.since, run.at - run.since
    reader, out = _Reader(update), bytearray()

    def copy() -> int:
        number = reader.number()
        _put(out, number)
        return number

    def name() -> None:
        client, clock = reader.number(), reader.number()
        moved = client == old and clock >= since
        _put(out, new if moved else client)
        _put(out, clock + moved_by if moved else clock)

    if copy():
        copy()
        name()
        info = reader.byte()
        out.append(info)
        for side in (_LEFT, _RIGHT):
            if info & side:
                name()
    else:
        _put_ranges(out, _moved_ranges(reader, old, new, run))
    return bytes(out) + update[reader.at :]


def _moved_ranges(reader: _Reader, old: int, new: int, run: Run) -> dict[int, list[tuple[int, int]]]:
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
    _put(out, len(ranges))
    for client, of_client in ranges.items():
        _put(out, client)
        _put(out, len(of_client))
        for start, length in of_client:
            _put(out, start)
            _put(out, length)


def _put(out: bytearray, number: int) -> None:
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def read_clocks(state: bytes) -> dict[int, int]:
    """client -> clock of a Yjs state vector."""
    reader = _Reader(state)
    return {reader.number(): reader.number() for _ in range(reader.number())}


class _Reader:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def number(self) -> int:
        data, at = self.data, self.at
        byte = data[at]
        value, shift = byte & 0x7F, 0
        while byte >= 0x80:
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
            at += 1
            byte = data[at]
            value |= (byte & 0x7F) << shift
        self.at = at + 1
        return value

    def text(self) -> str:
        length = self.number()
        start, self.at = self.at, self.at + length
        if self.at > len(self.data):
            raise IndexError
        return self.data[start : self.at].decode()


def _varint(number: int) -> bytes:
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _insert(reader: _Reader) -> Edit:
    if reader.data[0] != 1 or reader.number() != 1:
        raise ValueError("more than one run")
    client, clock = reader.number(), reader.number()
    info = reader.byte()
    needs = [(reader.number(), reader.number()) for side in (_LEFT, _RIGHT) if info & side]
    if info & _PARENT_SUB or (not needs and (reader.number() != 1 or reader.text() != ROOT)):
        raise ValueError("another root")
    elements: tuple[str, ...] = ()
    narrow = True
    if info & _REF == _TEXT_RUN:
        text = reader.text()
        narrow = text.isascii()
        length = len(text) if narrow else len(text.encode("utf-16-le")) // 2
    elif info & _REF == _ANY_RUN:
        elements = tuple(_element(reader) for _ in range(reader.number()))
        length = len(elements)
    else:
        raise ValueError("neither text nor elements")
    if not length or reader.number():
        raise ValueError("an insert deletes nothing and is not empty")
    if clock:
        needs.append((client, clock - 1))
    return Edit(client, clock, length, tuple(needs), elements=elements, narrow=narrow)


def _element(reader: _Reader) -> str:
    if reader.byte() != _ANY_TEXT:
        raise ValueError("an element that is not a text")
    return reader.text()


def _delete(reader: _Reader) -> Edit:
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
