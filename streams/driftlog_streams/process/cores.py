"""How many processes merge a space on this host.

One process merges on one core: more of them share a space's partitions, which Kafka gives out, so there is no use in more than it has
partitions. In a container the cores of the machine are not all there to be used: its share of them is the smaller number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from driftlog_streams.settings import AUTO, Workers

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use: microseconds of CPU time, and of how many (Linux, "Control Group v2", section CPU)."""


def processes(workers: Workers, partitions: Mapping[str, int], cores: int) -> dict[str, int]:
    """How many processes each space gets; `partitions` are those of each."""
    if workers != AUTO:
        return dict.fromkeys(partitions, workers)
    each, over = divmod(cores, max(1, len(partitions)))
    return {space: max(1, min(each + (place < over), count)) for place, (space, count) in enumerate(partitions.items())}


def usable_cores(quota: Path = QUOTA) -> int:
    """How many cores this process may keep busy, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _share(quota) or allowed))


def _share(quota: Path) -> int | None:
    """A container's share in whole cores, rounded down; None where nothing is said."""
    try:
        granted, period = quota.read_text().split()
        return None if granted == "max" else max(1, int(granted) // int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no such file here, or of another system
        return None
