"""Giving back what a start has mapped of the libraries' files.

A start goes once through most of what the libraries' files hold: code that makes ready, tables that are searched; and the kernel maps the pages
around each that is asked for. An agent that waits needs a small part of them. The kernel keeps these pages as they are in the files, so to
give them back loses nothing: it maps what is needed again, mostly without reading, and where memory is short it takes what nobody has mapped
before all else.

Never given back: what can be written, and what this process has a copy of its own of (addresses that the loader has filled in). While another thread loads a
library, the kernel shows all of it as code for a moment, before the loader lays what it fills in over it. So it is looked twice, and only what was there both
times is given back; later on the look of minutes before is the first of the two.
"""

from __future__ import annotations

import asyncio
import ctypes
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import structlog

log = structlog.get_logger()

STARTING_SECONDS = 0.5
"""From serving on, until the first look for the cloud is over, too."""
AGAIN_SECONDS = 600.0
"""Between two times: pages come back for one use, and an agent waits for months. One takes 11 ms of processor time."""
MADV_DONTNEED = 4
"""madvise(2): these pages are not needed soon."""

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-.p [0-9a-f]+ \S+ (\d+) ")
"""proc(5): one that nobody writes, and the file's number, which is 0 where there is no file."""


Mappings = frozenset[tuple[int, int]]
"""Addresses from and up to."""


async def stay_light() -> None:
    """Give clean pages back once all has started, and again now and then. In a thread: nobody waits for the kernel's list of them."""
    pause, before = STARTING_SECONDS, None
    while True:
        await asyncio.sleep(pause)
        try:
            pause, before = AGAIN_SECONDS, await asyncio.to_thread(give_back, before)
        except OSError as error:  # there is a list, and it is not for us
            log.info("clean pages of files stay mapped", reason=str(error))
            return


def give_back(before: Mappings | None = None, maps: Path = Path("/proc/self/smaps")) -> Mappings:
    """Unmap clean pages of files, where they were clean `before` too; they come back as they are used. Which are clean now, for the next time.

    Without `before` it is looked twice now. Where there is no such list of mappings, nothing is done. Raises `OSError`: it cannot be read.
    """
    if not maps.exists():
        return frozenset()
    now, stable = looked(maps.read_text, before)
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for begin, end in stable:
        madvise(begin, end - begin, MADV_DONTNEED)  # refused where the pages are locked in memory, as somebody wished
    return now


def looked(look: Callable[[], str], before: Mappings | None) -> tuple[Mappings, Mappings]:
    """Which mappings are `clean` now, and which of them were so `before`; without that it is looked twice."""
    if before is None:
        before = frozenset(clean(look().splitlines()))
    now = frozenset(clean(look().splitlines()))
    return now, now & before


def clean(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Addresses from and up to, of the mappings in smaps (proc(5)) of which every page is as it is in its file, and stays so."""
    mapping: tuple[int, int] | None = None
    for line in lines:
        if line[0] in "0123456789abcdef":
            found = _MAPPING.match(line)
            mapping = (int(found[1], 16), int(found[2], 16)) if found and int(found[3]) else None
        elif mapping and line.startswith("Anonymous:") and line.split()[1] == "0":
            yield mapping
