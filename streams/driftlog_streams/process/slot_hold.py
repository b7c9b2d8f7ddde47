"""Whose data folder a slot's is: one supervisor's at a time.

RocksDB itself lets no second process in, but a worker meets that lock only after it has joined the group and taken partitions from
those that work. So the slot is held before anything is started. The hold is an `flock`: it ends with its process, however that
ends, and is never stale.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from driftlog_streams.errors import SetupProblem, StoreLocked


class SlotHold:
    """A context manager; entering it raises `StoreLocked`, or `SetupProblem` where the folder cannot be used."""

    def __init__(self, data_dir: Path, slot: str) -> None:
        self._data_dir = data_dir
        self._slot = slot
        self._file = -1

    def __enter__(self) -> Self:
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._file = os.open(
                self._data_dir / f"slot-{self._slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise SetupProblem(
                f"data folder {self._data_dir} cannot be used: {error.strerror}", "give another --data-dir"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise StoreLocked(
                f"slot {self._slot} of data folder {self._data_dir} is held by another process",
                "stop that worker, or give this one another --slot or --data-dir",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
