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

from driftlog_crdt.yjs_edit import ROOT

_ID = struct.Struct(">Q")
_REF = 0x1F
_GONE, _DELETED, _TEXT_RUN, _ANY_RUN = 0, 1, 4, 8
_LEFT, _RIGHT, _PARENT_SUB = 0x80, 0x40, 0x20
_ANY_TEXT = 119
_ROOT = bytes((1, len(ROOT))) + ROOT.encode()
_MAX_NUMBER_BYTES = 10


def pack(update: bytes, clients: Iterable[int]) -> bytes:
    """The bytes of an update by these clients. Raises ValueError."""
    listed = sorted(clients)
    names = {_varint(client): _varint(index) for index, client in enumerate(listed)}
    return _varint(len(listed)) + b"".join(map(_ID.pack, listed)) + _Copy(update, 0, names).done()


def unpack(data: bytes) -> bytes:
    """The update in these bytes. Raises ValueError."""
    try:
        count, start = _number(data, 0)
        end = start + count * _ID.size
        if end > len(data):
            raise ValueError("truncated")
        listed = [int(_ID.unpack_from(data, at)[0]) for at in range(start, end, _ID.size)]
    except IndexError as error:
        raise ValueError("truncated") from error
    if any(one >= other for one, other in pairwise(listed)):
        raise ValueError("clients stand in their order, each once")
    names = {_varint(index): _varint(client) for index, client in enumerate(listed)}
    return _Copy(data, end, names).done()


class _Copy:
    """An update, read from `at` to the end and written with other names for its clients; the rest is copied as it stands."""

    __slots__ = ("_at", "_data", "_lengths", "_names", "_out")

    def __init__(self, data: bytes, at: int, names: Mapping[bytes, bytes]) -> None:
        self._data = data
        self._at = at
        self._names = names
        self._lengths = sorted({len(name) for name in names}, reverse=True)
        """No varint begins another, so a name is found by its first bytes alone."""
        self._out = bytearray()

    def done(self) -> bytes:
        try:
            self._runs()
            self._deletes()
        except IndexError as error:
            raise ValueError("truncated") from error
        if self._at != len(self._data):
            raise ValueError("something follows the update")
        return bytes(self._out)

    def _runs(self) -> None:
        for _ in range(self._count()):
            runs = self._count()
            self._client()
            self._numbers(1)
            for _ in range(runs):
                self._run()

    def _run(self) -> None:
        info = self._data[self._at]
        self._take(1)
        kind = info & _REF
        if kind != _GONE:
            if info & _PARENT_SUB:
                raise ValueError("another root")
            if info & _LEFT:
                self._client()
                self._numbers(1)
            if info & _RIGHT:
                self._client()
                self._numbers(1)
            if not info & (_LEFT | _RIGHT):
                if not self._data.startswith(_ROOT, self._at):
                    raise ValueError("another root")
                self._take(len(_ROOT))
        if kind in (_GONE, _DELETED):
            self._numbers(1)
        elif kind == _TEXT_RUN:
            self._take(self._count())
        elif kind == _ANY_RUN:
            for _ in range(self._count()):
                if self._data[self._at] != _ANY_TEXT:
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
        at = self._at
        for length in self._lengths:
            name = self._names.get(self._data[at : at + length])
            if name is not None:
                self._out += name
                self._at = at + length
                return
        raise ValueError("a client that is not listed")

    def _count(self) -> int:
        number, end = _number(self._data, self._at)
        self._take(end - self._at)
        return number

    def _numbers(self, count: int) -> None:
        data, at = self._data, self._at
        for _ in range(count):
            while data[at] >= 0x80:
                at += 1
            at += 1
        self._take(at - self._at)

    def _take(self, length: int) -> None:
        end = self._at + length
        if end > len(self._data):
            raise IndexError
        self._out += self._data[self._at : end]
        self._at = end


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and where it ends."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    for end in range(at + 1, at + _MAX_NUMBER_BYTES):
        byte = data[end]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, end + 1
        shift += 7
    raise ValueError("a number of more than 64 bits")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
