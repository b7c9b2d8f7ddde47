"""The bytes of Yjs updates: numbers, texts, and what stands in front of every run.

Format: Yjs update, version 1 (github.com/yjs/yjs, src/utils/UpdateEncoder.js and src/structs). Varints are little endian, 7 bit.
Lengths count UTF-16 units in texts and elements in lists.
"""

from __future__ import annotations

from typing import TypeAlias

ROOT = "s"
"""The one root type in a sequence's Yjs document."""

REF = 0x1F
GONE, DELETED, TEXT_RUN, ANY_RUN = 0, 1, 4, 8
LEFT, RIGHT, PARENT_SUB = 0x80, 0x40, 0x20
ANY_TEXT = 119
_MOST_BYTES = 10
"""of a number"""

Id: TypeAlias = tuple[int, int]
"""(client, clock) of one element"""


class Reader:
    """Reads them one after another. Raises ValueError, or IndexError where they are cut off."""

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

    def beside(self, info: int) -> tuple[Id | None, Id | None]:
        """What a run stands behind, and before; where it names neither, the root follows."""
        left = (self.number(), self.number()) if info & LEFT else None
        right = (self.number(), self.number()) if info & RIGHT else None
        if info & PARENT_SUB or (not info & (LEFT | RIGHT) and (self.number() != 1 or self.text() != ROOT)):
            raise ValueError("another root")
        return left, right

    def text(self) -> str:
        length = self.number()
        start, self.at = self.at, self.at + length
        if self.at > len(self.data):
            raise IndexError
        return self.data[start : self.at].decode()

    def element(self) -> str:
        if self.byte() != ANY_TEXT:
            raise ValueError("an element that is not a text")
        return self.text()


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and where it ends."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    for end in range(at + 1, at + _MOST_BYTES):
        byte = data[end]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, end + 1
        shift += 7
    raise ValueError("a number of more than 64 bits")


def put(out: bytearray, number: int) -> None:
    """Write a number down."""
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def varint(number: int) -> bytes:
    """The bytes of a number."""
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def units(text: str) -> int:
    """How long Yjs takes a text for."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
