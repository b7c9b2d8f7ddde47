"""Clients for tests that are never let go of.

Freeing one waits for librdkafka's threads, and once in some hundred times one of those is not woken: then the test run stands for ever,
where no time-out reaches it (seen in `rd_kafka_destroy`, confluent-kafka 2.16). A client more or less at the end costs nothing.
"""

from __future__ import annotations

import ctypes
import time
from functools import cache
from typing import TypeVar

from confluent_kafka.admin import AdminClient

C = TypeVar("C")
_GONE_SECONDS = 60.0


def kept(client: C) -> C:
    """The client, for ever: also the interpreter's own end must not free it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))
    return client


@cache
def admin_of(bootstrap: str) -> AdminClient:
    """The one client of this broker."""
    return kept(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}))


def delete_all_topics(bootstrap: str) -> None:
    """Those of the broker itself stay. Groups lose what they had committed there."""
    admin = admin_of(bootstrap)
    if found := _topics(admin):
        for future in admin.delete_topics(found).values():
            future.result(30)
    ends = time.monotonic() + _GONE_SECONDS
    while left := _topics(admin):
        if time.monotonic() > ends:
            raise TimeoutError(f"topics that are deleted are still there: {left}")
        time.sleep(0.05)


def _topics(admin: AdminClient) -> list[str]:
    return [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")]
