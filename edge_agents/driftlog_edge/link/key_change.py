"""A new identity file takes the old one's place while the agent runs: what goes out from then on is signed with its key.

The file is looked at with each tick, its text read only when it has changed. A new key is taken when the device's line says that it counts, or
when nobody here can tell; so a file that was put there too early, or by mistake, stops nothing. What cannot be taken is told, and the old key goes on:
a file that nobody can read, one that pins another root, or one of another device, whose folder this is not.

What was sealed is not sealed again; a batch is signed when it is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import structlog

from driftlog_schemas.devices import Device
from driftlog_schemas.errors import IdentityProblem
from driftlog_schemas.signing import Identity

log = structlog.get_logger()

_Stamp: TypeAlias = "tuple[int, int, int] | None"
"""What changes when a file does; None for none that is there."""


class KeyChange:
    """Watches one identity file. `line` is the device as the registry has it; `taken` is told of each new identity."""

    def __init__(
        self, path: Path, identity: Identity, line: Callable[[], Device | None], taken: Callable[[Identity], None]
    ) -> None:
        self.identity = identity
        """By which the agent signs."""
        self.problem = ""
        """Why what the file holds is not used, in words; empty when it is."""
        self._path = path
        self._line = line
        self._taken = taken
        self._seen = self._stamp()
        self._waiting: Identity | None = None
        """One whose key does not count yet."""

    def look(self, now_ms: int) -> None:
        """Has the file changed, or does the key in it begin to count? `now_ms` is the broker's time."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._waiting = self._read()
        if self._waiting is not None and self._counts(self._waiting, now_ms):
            self.identity, self._waiting, self.problem = self._waiting, None, ""
            log.info("a new identity file was taken up", device=self.identity.device_id, key=self.identity.key_id)
            self._taken(self.identity)

    def _read(self) -> Identity | None:
        """The identity that the file holds now, if it is a new one that may be used here."""
        self.problem = ""
        try:
            found = Identity.load(self._path)
        except IdentityProblem as error:
            self._tell(str(error))
            return None
        if found.device_id != self.identity.device_id:
            self._tell(f"it is of device {found.device_id}, and this folder is not")
        elif found.root != self.identity.root:
            self._tell("it pins another root key; it is used when the agent starts again")
        elif found.key_id != self.identity.key_id:
            return found
        return None

    def _counts(self, found: Identity, now_ms: int) -> bool:
        device = self._line()
        counts = device is None or device.key_at(found.key_id, now_ms) is not None
        if not counts and not self.problem:
            self._tell(f"its key {found.key_id} does not count, as far as the device registry is known here")
        return counts

    def _tell(self, why: str) -> None:
        self.problem = f"the new identity file {self._path} is not used, the key {self.identity.key_id} is: {why}"
        log.warning("a new identity file is not used", file=str(self._path), reason=why)

    def _stamp(self) -> _Stamp:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
