"""Giving back what a start has mapped of the libraries' files.

A start goes once through most of what the libraries' files hold: code that makes ready, tables that are searched; and the kernel maps the pages
around each that is asked for. An agent that waits needs a small part of them. The kernel keeps these pages as they are in the files, so to
give them back loses nothing: it maps what is needed again, mostly without reading, and where memory is short it takes what nobody has mapped
before all else.

Never given back: what can be written, and what this process has a copy of its own of (addresses that the loader has filled in). While another thread loads a
library, the kernel shows all of it as code for a moment, before the loader lays what it fills in over it. So it is looked twice, and only what was there both
times is given back.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MADV_DONTNEED = 4
"""madvise(2): these pages are not needed soon."""

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-.p [0-9a-f]+ \S+ (\d+) ")
"""proc(5): one that nobody writes, and the file's number, which is 0 where there is no file."""


def give_back(maps: Path = Path("/proc/self/smaps")) -> None:
    """Unmap clean pages of files; they come back as they are used. Where there is no such list of mappings, nothing is done."""
    if not maps.exists():
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for begin, end in stable(maps.read_text):
        madvise(begin, end - begin, MADV_DONTNEED)  # refused where the pages are locked in memory, as somebody wished


def stable(look: Callable[[], str]) -> list[tuple[int, int]]:
    """The `clean` mappings of two looks that are in both."""
    before = set(clean(look().splitlines()))
    return [mapping for mapping in clean(look().splitlines()) if mapping in before]


def clean(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Addresses from and up to, of the mappings in smaps (proc(5)) of which every page is as it is in its file, and stays so."""
    mapping: tuple[int, int] | None = None
    for line in lines:
        if line[0] in "0123456789abcdef":
            found = _MAPPING.match(line)
            mapping = (int(found[1], 16), int(found[2], 16)) if found and int(found[3]) else None
        elif mapping and line.startswith("Anonymous:") and line.split()[1] == "0":
            yield mapping
