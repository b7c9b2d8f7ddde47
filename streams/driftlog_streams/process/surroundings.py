"""What is wrong around a worker, that no restart of it would mend: the broker or the registry is away, the disk is full.

A worker ends itself when it cannot go on, and a supervisor gives up on one that fails again and again. But while its surroundings
are in trouble its failures say nothing about it, however many there are: it is started again until they are well.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import SetupProblem
from driftlog_streams.settings import WorkerSettings

PROBE_SECONDS = 2.0
ROOM_BYTES = 32 << 20
"""With less free disk than this a worker does not start: it would take partitions from those that work, and fall again."""
_PORTS = {"http": 80, "https": 443}


def trouble(settings: WorkerSettings) -> str:
    """The first thing that is wrong now, in words; empty when all is well."""
    if lacks_room(settings.data_dir):
        return f"the disk of {settings.data_dir} is full"
    try:
        TopicsAdmin(settings.kafka, timeout=PROBE_SECONDS).partition_counts()
    except BrokerUnreachable:
        return f"no broker answers at {settings.kafka.bootstrap}"
    at = urlsplit(settings.registry.url)
    try:
        with socket.create_connection((at.hostname or "", at.port or _PORTS.get(at.scheme, 0)), PROBE_SECONDS):
            return ""
    except OSError:
        return f"no registry answers at {settings.registry.url}"


def lacks_room(folder: Path) -> bool:
    """Is there too little free disk to work on?"""
    return shutil.disk_usage(folder).free < ROOM_BYTES


def require_room(folder: Path) -> None:
    """Raise `SetupProblem` on a full disk: asked before a worker joins its group."""
    if lacks_room(folder):
        raise SetupProblem(
            f"less than {ROOM_BYTES >> 20} MiB are free on the disk of {folder}", "make room; it goes on by itself then"
        )
