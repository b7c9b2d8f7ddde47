"""The state of a sequence as bytes: a Yjs update in which every client stands once, and else as a small number.

A client id is a hash of 53 bits, eight bytes in a Yjs update, and it stands in front of every run and in every neighbour that a run
names: half of what a text weighs. So the clients are listed once, in order, and the update says which of them is meant:

    count, that many client ids (eight bytes each, rising), the update with indexes for clients

What is read back is the same update, byte for byte, so nothing that Yjs decides by client ids changes. Only what a sequence can hold
is let through (runs of text, of elements, and of what was deleted): any other bytes are a ValueError.

Format: Yjs update, version 1, as in `yjs_edit`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from driftlog_crdt.yjs_bytes import (
    ANY_RUN,
    ANY_TEXT,
    DELETED,
    GONE,
    LEFT,
    PARENT_SUB,
    REF,
    RIGHT,
    ROOT,
    TEXT_RUN,
    read_number,
    varint,
)

_ID = struct.Struct(">Q")
_ROOT = bytes((1, len(ROOT))) + ROOT.encode()


class Unpacked(NamedTuple):
    """What was packed."""

    update: bytes
    filled: dict[int, int]
    """client -> its first clock under which something may be: those before stand for nothing (see `foundation`)"""
    rest: bytes
    """What follows the update."""


def pack(update: bytes, clients: Iterable[int]) -> bytes:
    """The bytes of an update by these clients. Raises ValueError."""
    listed = sorted(clients)
    names = {varint(client): varint(index) for index, client in enumerate(listed)}
    copy = _Copy(update, 0, names)
    copy.run()
    if copy.at != len(update):
        raise ValueError("something follows the update")
    return varint(len(listed)) + b"".join(map(_ID.pack, listed)) + copy.out


def unpack(data: bytes) -> Unpacked:
    """The update that begins these bytes. Raises ValueError."""
    try:
        count, start = read_number(data, 0)
        end = start + count * _ID.size
        if end > len(data):
            raise ValueError("truncated")
        listed = [int(_ID.unpack_from(data, at)[0]) for at in range(start, end, _ID.size)]
    except IndexError as error:
        raise ValueError("truncated") from error
    if any(one >= other for one, other in pairwise(listed)):
        raise ValueError("clients stand in their order, each once")
    names = {varint(index): varint(client) for index, client in enumerate(listed)}
    copy = _Copy(data, end, names)
    copy.run()
    filled = {read_number(name, 0)[0]: clock for name, clock in copy.filled}
    return Unpacked(bytes(copy.out), filled, data[copy.at :])


class _Copy:
    """An update, read from `at` on and written with other names for its clients; the rest is copied as it stands."""

    __slots__ = ("_data", "_lengths", "_names", "at", "filled", "out")

    def __init__(self, data: bytes, at: int, names: Mapping[bytes, bytes]) -> None:
        self._data = data
        self.at = at
        self._names = names
        self._lengths = sorted({len(name) for name in names}, reverse=True)
        """No varint begins another, so a name is found by its first bytes alone."""
        self.out = bytearray()
        self.filled: list[tuple[bytes, int]] = []
        """The name of a client, as it was written, with the clocks that stand for nothing."""

    def run(self) -> None:
        """Copy. Raises ValueError."""
        try:
            self._runs()
            self._deletes()
        except IndexError as error:
            raise ValueError("truncated") from error

    def _runs(self) -> None:
        for _ in range(self._count()):
            runs = self._count()
            begin = len(self.out)
            self._client()
            client = bytes(self.out[begin:])
            clock = self._count()
            for number in range(runs):
                if self._data[self.at] == GONE:
                    if number or clock:
                        raise ValueError("clocks that stand for nothing come first")
                    self._take(1)
                    self.filled.append((client, self._count()))
                else:
                    self._run()

    def _run(self) -> None:
        info = self._data[self.at]
        self._take(1)
        kind = info & REF
        if info & PARENT_SUB:
            raise ValueError("another root")
        if info & LEFT:
            self._client()
            self._numbers(1)
        if info & RIGHT:
            self._client()
            self._numbers(1)
        if not info & (LEFT | RIGHT):
            if not self._data.startswith(_ROOT, self.at):
                raise ValueError("another root")
            self._take(len(_ROOT))
        if kind == DELETED:
            self._numbers(1)
        elif kind == TEXT_RUN:
            self._take(self._count())
        elif kind == ANY_RUN:
            for _ in range(self._count()):
                if self._data[self.at] != ANY_TEXT:
                    raise ValueError("an element that is not a text")
                self._take(1)
                self._take(self._count())
        else:
            raise ValueError("neither text nor elements")

    def _deletes(self) -> None:
        for _ in range(self._count()):
            self._client()
            self._numbers(2 * self._count())

    def _client(self) -> None:
        at = self.at
        for length in self._lengths:
            name = self._names.get(self._data[at : at + length])
            if name is not None:
                self.out += name
                self.at = at + length
                return
        raise ValueError("a client that is not listed")

    def _count(self) -> int:
        number, end = read_number(self._data, self.at)
        self._take(end - self.at)
        return number

    def _numbers(self, count: int) -> None:
        data, at = self._data, self.at
        for _ in range(count):
            while data[at] >= 0x80:
                at += 1
            at += 1
        self._take(at - self.at)

    def _take(self, length: int) -> None:
        end = self.at + length
        if end > len(self._data):
            raise IndexError
        self.out += self._data[self.at : end]
        self.at = end
