"""A life that is to follow another one in a partition, and the batch with which it begins there: it ends the life before it.

While that batch waits for its answer the partition's chain is still the old one, and commands are written under its name; nothing is
sealed any more. The batch is sealed in the write that draws the life, so it is the same one after a restart, and in a copy of the folder.

Must never happen: commands of an old life under a new name while the old chain may still grow. Who copied the folder would count them too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Chain
from driftlog_schemas.batch_codec import batch_digest

FIRST = 1
"""Number of the batch that ends the old life."""


@dataclass(frozen=True, slots=True)
class Succession:
    """See the module."""

    replica: str
    """The life that follows."""
    body: bytes
    """Of its first batch."""
    offset: int = -1
    """Where the op topic has that batch; -1 until the cloud has taken it."""

    @property
    def digest(self) -> bytes:
        """Of its first batch."""
        return batch_digest(self.body)

    @property
    def taken(self) -> bool:
        """Does the cloud know that the old life is over?"""
        return self.offset >= 0

    def chain(self) -> Chain:
        """The new life's chain, when the old one's commands are taken along."""
        return Chain(self.replica, FIRST, self.digest, FIRST, self.digest, self.offset)


class Successions:
    """Those of one folder, by space and partition."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def get(self, space: str, partition: int) -> Succession | None:
        """The one that is under way there."""
        raw = self._journal.get(Family.META, keys.succession_key(space, partition))
        if raw is None:
            return None
        plain = json.loads(raw)
        return Succession(**{**plain, "body": bytes.fromhex(plain["body"])})

    def written(self, space: str, partition: int, succession: Succession | None) -> dict[Place, bytes | None]:
        """The write that begins one, moves it, or (None) ends it."""
        place = (Family.META, keys.succession_key(space, partition))
        if succession is None:
            return {place: None}
        return {place: json.dumps(asdict(succession) | {"body": succession.body.hex()}).encode()}

    def answered(
        self, space: str, partition: int, succession: Succession, offset: int | None
    ) -> dict[Place, bytes | None]:
        """The write when its first batch is in the chain at `offset`; None: somebody else speaks in its name too, and another is drawn."""
        return self.written(space, partition, None if offset is None else replace(succession, offset=offset))
