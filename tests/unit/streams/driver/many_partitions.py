"""A worker process of its own that owns hundreds of partitions with no more open files than a shell gives it (see `test_many_partitions`).

`python -m tests.unit.streams.driver.many_partitions FOLDER PARTITIONS FILES` merges a batch in each partition, dies, and recovers all of them on the
same folder. It says, as JSON, how many have the batch in their store and how many files it had open.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch
from driftlog_schemas.partitioning import partition_of
from tests.unit.streams.cloud import SPACE, Cloud, command, count, key
from tests.unit.streams.driver.life import OPS, Life, Lives

REPLICA = "store-1.1"


def documents(partitions: int) -> dict[int, DocumentId]:
    """One of each partition."""
    found: dict[int, DocumentId] = {}
    scope = 0
    while len(found) < partitions:
        found.setdefault(partition_of(f"s{scope}", partitions), DocumentId("Stock", f"s{scope}", "tea"))
        scope += 1
    return found


async def merged(folder: Path, partitions: int) -> dict[str, int]:
    with pytest.MonkeyPatch.context() as patch:
        lives = Lives(patch, folder)
        lives.cloud = Cloud(declared_space=replace(SPACE, partitions=partitions))
        wanted = documents(partitions)
        for partition, document in wanted.items():
            batch = Batch(SPACE.name, partition, REPLICA, 1, (command("c1", count(document, 5, 1)),), floor=1)
            value = lives.cloud.rules.batches.seal(encode_body(batch), lives.cloud.identities["store-1"])
            lives.broker.append(OPS, partition, REPLICA.encode(), value)
        life = await owning(lives, partitions, None)
        life.read()
        await life.quiet()
        first = open_files()
        await life.die()
        life = await owning(lives, partitions, life)
        stores = [life.host._store.partition(partition) for partition in range(partitions)]
        stored = sum(store.get(key(wanted[at])) is not None for at, store in enumerate(stores))
        files = max(first, open_files())
        await life.die()
        assert not lives.deaths
        return {"stored": stored, "files": files}


async def owning(lives: Lives, partitions: int, before: Life | None) -> Life:
    """A life that is dealt all partitions, on the disk of the one before."""
    life = lives.start()
    if before is not None:
        life.host._folder = before.host._folder
    await life.own(*range(partitions))
    return life


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    place, owned, most = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.stdout.write(json.dumps(asyncio.run(merged(place, owned))) + "\n")
