"""Admin clients for tests: one for every broker, never let go of.

Freeing one waits for librdkafka's threads, and once in some hundred times one of those is not woken: then the test run stands for ever,
where no time-out reaches it (seen in `rd_kafka_destroy`, confluent-kafka 2.16). A client more or less at the end costs nothing.
"""

from __future__ import annotations

import ctypes
from functools import cache

from confluent_kafka.admin import AdminClient


@cache
def admin_of(bootstrap: str) -> AdminClient:
    """The client of this broker."""
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))  # also the interpreter's own end must not free it
    return client
