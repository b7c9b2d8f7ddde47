"""Clients for tests that are never let go of.

Freeing one waits for librdkafka's threads, and once in some hundred times one of those is not woken: then the test run stands for ever,
where no time-out reaches it (seen in `rd_kafka_destroy`, confluent-kafka 2.16). A client more or less at the end costs nothing.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TypeVar

from confluent_kafka.admin import AdminClient

C = TypeVar("C")


def kept(client: C) -> C:
    """The client, for ever: also the interpreter's own end must not free it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))
    return client


@cache
def admin_of(bootstrap: str) -> AdminClient:
    """The one client of this broker."""
    return kept(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}))
