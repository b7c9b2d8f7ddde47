"""What was in the store before a write that the disk has not synced yet, which is all that readers may see meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import cast

from rocksdict import Snapshot

from driftlog_edge.ports import Family, Writes
from driftlog_edge.store.overlay import Overlay


class Before:
    """A snapshot of each family that the write changes: that costs less than to read what it covers."""

    def __init__(
        self, writes: Writes, snapshots: Mapping[Family, Snapshot], opened: Callable[[Family, bytes, bytes], bytes]
    ) -> None:
        self.writes = writes
        self._snapshots = snapshots
        self._opened = opened

    @cached_property
    def changed(self) -> Overlay:
        """The keys of the write, in order."""
        overlay = Overlay()
        overlay.put(self.writes, 0)
        return overlay

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Only by key: the library's snapshots scan what is there now."""
        try:
            sealed = cast("bytes", self._snapshots[family][key])
        except Exception as error:  # rocksdict raises plain Exception for everything
            if "key not found" in str(error):
                return None
            raise
        return self._opened(family, key, sealed)
