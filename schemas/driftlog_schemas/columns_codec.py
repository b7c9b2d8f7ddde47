"""A column of whole numbers as bytes: a width, the smallest number, and each number's distance from it.

An Avro array of longs costs Python a call per number; an array of machine words costs one per column. The width is the least that
holds the largest distance, so equal numbers take no bytes at all and neighbours one each; the broker's compression does the rest.

    width (0, 1, 2, 4 or 8), smallest (zigzag varint), count * width bytes, little endian

The count is not in the bytes: a reader knows it, or derives it where it says so. Numbers are those of 64 bit with a sign.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

from driftlog_schemas.errors import Undecodable

LEAST, MOST = -(1 << 63), (1 << 63) - 1
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MAX_VARINT = 10
_SWAP = sys.byteorder == "big"


def pack(numbers: Sequence[int]) -> bytes:
    """The bytes of a column; none for no numbers."""
    if not numbers:
        return b""
    base = numbers[0]
    if numbers.count(base) == len(numbers):  # as most columns are, and found sooner than two bounds
        assert LEAST <= base <= MOST, "a column holds numbers of 64 bit"
        return b"\x00" + varint(base)
    base = min(numbers)
    largest = max(numbers) - base
    assert base >= LEAST and base + largest <= MOST, "a column holds numbers of 64 bit"
    width = 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4 if largest < 1 << 32 else 8
    column = array(_CODES[width], [n - base for n in numbers] if base else numbers)
    if _SWAP:
        column.byteswap()
    return bytes((width,)) + varint(base) + column.tobytes()


def unpack(data: bytes, count: int, name: str, least: int = LEAST, most: int = MOST) -> list[int]:
    """`count` numbers from `least` to `most`. Raises `Undecodable` naming the column."""
    if not count:
        if data:
            raise Undecodable(f"{name}: {len(data)} bytes for no numbers")
        return []
    width, base, start = _head(data, name)
    size = len(data) - start
    if size != width * count:
        raise Undecodable(f"{name}: columns of different length")
    if not width:
        _check(base, base, least, most, name)
        return [base] * count
    column = array(_CODES[width])
    column.frombytes(data[start:])
    if _SWAP:
        column.byteswap()
    if base < least or base + (1 << 8 * width) > most:  # the width alone does not say that all are possible
        _check(base, base + max(column), least, most, name)
    return [n + base for n in column] if base else column.tolist()


def _check(lowest: int, highest: int, least: int, most: int, name: str) -> None:
    """The number that a column calls its smallest counts as one of it, for nothing of ours writes another."""
    if lowest < least or highest > most:
        raise Undecodable(f"{name}: {lowest} to {highest} where {least} to {most} is possible")


def varint(number: int) -> bytes:
    """A number of 64 bit with a sign, as Avro has it too."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _head(data: bytes, name: str) -> tuple[int, int, int]:
    """Width, smallest number, and where the numbers begin."""
    width = data[0] if data else -1
    if width and width not in _CODES:
        raise Undecodable(f"{name}: a column of no known width")
    number = 0
    for at in range(1, min(len(data), _MAX_VARINT + 1)):
        byte = data[at]
        number |= (byte & 0x7F) << 7 * (at - 1)
        if byte < 0x80:
            return width, (number >> 1) ^ -(number & 1), at + 1
    raise Undecodable(f"{name}: a column without its smallest number")
