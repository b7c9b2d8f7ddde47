"""Which partition a scope lives in: Kafka's own murmur2, so that other producers land on the same one.

A scope's whole history is in one partition, and edge and cloud must agree on which. Kafka's default partitioner does the same for
a record whose key is the scope, so a producer without Driftlog finds it too. Must never change: history would be left behind.

Source: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`, as Kafka's default partitioner uses them.
"""

from __future__ import annotations

from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The unsigned 32 bit hash of `data`."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = (int.from_bytes(data[i : i + 4], "little") * _M) & _MASK
        k ^= k >> 24
        h = ((h * _M) & _MASK) ^ ((k * _M) & _MASK)
    if rest := data[whole:]:
        h = ((h ^ int.from_bytes(rest, "little")) * _M) & _MASK
    h ^= h >> 13
    h = (h * _M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=65536)
def partition_of(scope: str, partitions: int) -> int:
    """The partition of a scope, as Kafka's default partitioner finds it for that key."""
    assert partitions > 0, "a space has at least one partition"
    return (murmur2(scope.encode()) & 0x7FFFFFFF) % partitions
