"""From a damaged folder to a new one. The new one has its name when all of it is on the disk; the old one stays as it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from driftlog_edge.errors import StoreFailed, Wiped
from driftlog_edge.ports import Place
from driftlog_edge.salvage.remains import Remains
from driftlog_edge.salvage.report import Report
from driftlog_edge.salvage.rescue import Rescue
from driftlog_edge.store.counts import counts_of, require_same
from driftlog_edge.store.moves import destined
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_edge.system_clock import SystemClock
from driftlog_edge.wiping.destruction import order_in
from driftlog_schemas.contract import AppContract
from driftlog_schemas.private_file import sync_folder

AT_ONCE = 2_000
"""Entries that are written at once."""


def salvage(
    contract: AppContract,
    folder: Path,
    to: Path,
    wrapping: Sequence[WrappingKey],
    moved: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Bring what is left of `folder` to `to`; `moved` is told how many entries are there, of about how many.

    Raises:
        NotFound, StoreBusy, KeyUnusable, StoreDamaged: nothing can be salvaged.
        StoreFailed, DiskFull: `to` is no place for it.
        Wiped: the folder was to be erased.
        OtherPartitions: it was written with another partition count than the app declares.
    """
    if order_in(folder) is not None:
        raise Wiped(f"{folder} was to be erased by its operator's order", "nothing is to be salvaged")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise StoreFailed(f"{to} is there already and is not empty", "give another with --to")
    making, scratch = to.with_name(f"{to.name}.salvaging"), to.with_name(f"{to.name}.remains")
    shutil.rmtree(making, ignore_errors=True)
    with Remains(folder, scratch, wrapping) as remains:
        contract = destined(remains, contract)
        require_same(counts_of(remains), contract)
        about, done = remains.estimate, 0
        waiting: dict[Place, bytes | None] = {}
        store = RocksStore(making, wrapping)

        def write(writes: dict[Place, bytes | None], *, last: bool = False) -> None:
            nonlocal done
            waiting.update(writes)
            done += len(writes)
            if last or len(waiting) >= AT_ONCE:
                store.write(waiting, sync=last)
                waiting.clear()
                moved(done, max(done, about))

        try:
            report = Rescue(remains, contract, SystemClock().wall_ms(), write).run()
            write({}, last=True)
        finally:
            store.close()
        report.troubles = remains.troubles
    if (folder / "token").is_file():
        shutil.copy(folder / "token", making / "token")
    if to.exists():
        to.rmdir()
    making.rename(to)
    sync_folder(to.parent)
    return report
