"""Asking the device how it is fed: each source in its own way, each within its time.

What reads files runs in a thread that nobody waits for at the end: a read may hang for as long as what it reads from (a FUSE folder, a sensor's driver),
and cannot be ended. While one hangs no other is begun.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path

from driftlog_edge.config import PowerSettings
from driftlog_edge.power.reading import MOST_BYTES, UNKNOWN, HookFailed, Power
from driftlog_edge.power.supplies import FOLDER, read_supplies
from driftlog_edge.programs import ProgramFailed, printed


class Source:
    """What is asked, as the settings say."""

    def __init__(self, settings: PowerSettings, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._read = threading.Event()
        """Has the last read come back?"""
        self._read.set()
        self._version: tuple[int, int, int] | None = None
        """Of the file that was read last."""
        self._new_at = 0.0
        """Since when that is the newest."""

    async def ask(self) -> Power:
        """Raises `HookFailed`."""
        settings = self._settings
        if settings.source == "command":
            assert settings.command is not None, "validated"
            try:
                given = await printed(settings.command, settings.answer_seconds, MOST_BYTES)
            except ProgramFailed as error:
                raise HookFailed(f"power.command: {error}", f"{error.remedy} (power.answer_seconds)") from error
            return Power.read(given, "power.command")
        if settings.source == "file":
            return await self._within(self._in_file)
        if settings.source == "sys":
            return await self._within(lambda: read_supplies(settings.path or FOLDER))
        return UNKNOWN

    async def _within(self, read: Callable[[], Power]) -> Power:
        if not self._read.is_set():
            raise HookFailed("power.path: reading it still hangs", "see what it lies on")
        found: Future[Power] = Future()
        self._read.clear()
        threading.Thread(target=self._into, args=(found, read), name="driftlog-power", daemon=True).start()
        try:
            async with asyncio.timeout(self._settings.answer_seconds):
                return await asyncio.wrap_future(found)
        except TimeoutError as error:
            seconds = self._settings.answer_seconds
            raise HookFailed(f"power.path: not read within {seconds:g} s", "see what it lies on") from error

    def _into(self, found: Future[Power], read: Callable[[], Power]) -> None:
        power, refusal = UNKNOWN, None
        try:
            power = read()
        except HookFailed as error:
            refusal = error
        self._read.set()
        with suppress(InvalidStateError, RuntimeError):  # nobody waits any more, or their loop has ended
            found.set_result(power) if refusal is None else found.set_exception(refusal)

    def _in_file(self) -> Power:
        path = self._settings.path
        assert path is not None, "validated"
        given, version = _read(path)
        now = self._monotonic()
        if version != self._version:
            self._version, self._new_at = version, now
        if now - self._new_at > self._settings.valid_seconds:
            raise HookFailed(
                f"{path} was not written for {now - self._new_at:.0f} s", "write it anew, or raise power.valid_seconds"
            )
        return Power.read(given, str(path))


def _read(path: Path) -> tuple[bytes, tuple[int, int, int]]:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise HookFailed(f"{path} is no plain file", "let power.path name one")
            return file.read(MOST_BYTES + 1), (about.st_dev, about.st_ino, about.st_mtime_ns)
    except OSError as error:
        raise HookFailed(f"{path} cannot be read: {error.strerror}", "write it, or mend power.path") from error
