"""Which life of the device writes where, and how far its chains have come.

A replica's name is the device and a random *life*, drawn when the folder is first written. So an emptied folder is a new replica
at once, without asking anybody, and two folders with one identity file are two replicas.

A folder that was copied or restored carries its life along, and then two speak with one voice. The cloud takes the batches of a
replica in a partition as one hash chain, so only one of them is heard; the other finds out, draws a new life and ends the old one (see
`succession`). A partition goes on under the life in which it has undecided commands, and takes the newest as soon as there are none: what was sealed under the
old life is then decided by the old life's chain, and nothing else is.

Must never happen: a batch number or a dot given out twice by one folder. Both are read from the store and written with what uses them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace

from driftlog_edge.ports import Family, Place, Store
from driftlog_edge.store import keys
from driftlog_edge.store.handover import Handovers
from driftlog_edge.store.journal import Journal
from driftlog_schemas.identity import device_of, new_life, replica_id
from driftlog_schemas.running import Writer

FORKED = "forked"
"""Why a life is over: somebody else speaks in its name, and is heard."""
ENDED = "ended"
"""The same, seen by the end that the other has put to it."""
RETIRED = "retired"
"""The cloud has ended it: it was silent for too long."""
AWAY = "away"
"""What it sends was written too long ago: the cloud has forgotten what its writer had not seen."""
PURGED = "purged"
"""A document with changes of ours on it is gone for good: under new dots they are written on what is there now."""
TAKEN_FULL = "taken_full"
"""The cloud cannot remember any more which of an earlier life's commands it has."""
GIVEN_UP = "given_up"
"""A person has given up a command that the cloud had put off: its dots stay a hole."""
UNSEEN = "unseen"
"""The cloud keeps what was written waiting for dots of which it has refused to see anything: nobody will send them again."""
CROWDED = "crowded"
"""The row of its chain has no room for what was sealed, and never will: that asks for more answers than a row holds."""
FOREIGN_DOT = "foreign_dot"
"""The same, seen by a confirmed dot that this folder never made."""
OTHER_DEVICE = "other_device"
"""The folder was given to another device, which cannot sign what the old one has sealed."""
MADE_ANEW = "made_anew"
"""The read model was made anew, perhaps from an older copy: what it lacks of our dots is gone, and they may not be used again."""
SALVAGED = "salvaged"
"""The folder was damaged, and nobody knows all that it had sent."""
LET_GO = "let_go"
"""It has written many documents that only go up and that went from here: of a life that is over nothing needs to be remembered for that."""
MOVED = "moved"
"""Its space goes on with another number of partitions: the log that its chain was in is closed."""
SHARED = frozenset({MADE_ANEW, AWAY, RETIRED, MOVED})
"""What ends the lives of many partitions at once, by the cloud's doing: one new life follows in all of them."""
KEPT = 16
"""Earlier lives that are remembered, to be told to people."""


@dataclass(frozen=True, slots=True)
class Life:
    """One life of this folder: since when (by the device's clock), and why the one before ended."""

    replica: str
    since_ms: int
    why: str = ""
    rebased: int = 0
    """Commands that were taken along."""
    review: int = 0
    """Commands that wait for a person."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the chain of one partition stands."""

    replica: str
    number: int = 0
    """Of the last sealed batch."""
    head: bytes = b""
    """Its digest: what the next one carries as `prev`."""
    settled: int = 0
    """The highest number that the cloud is known to have taken."""
    settled_head: bytes = b""
    offset: int = -1
    """Where the op topic has that one."""
    fork: str = ""
    """Why this life cannot go on here; empty while it can."""
    over: tuple[str, ...] = ()
    """Earlier lives that the cloud knows to have ended here, the last ones: what rights they had left are this one's."""

    def encode(self) -> bytes:
        plain = {name: getattr(self, name) for name in _PARTS}
        return json.dumps(plain | {"head": self.head.hex(), "settled_head": self.settled_head.hex()}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Chain:
        plain = json.loads(data)
        for name in ("head", "settled_head"):
            plain[name] = bytes.fromhex(plain[name])
        return cls(**plain | {"over": tuple(plain.get("over", ()))})

    @property
    def ended(self) -> tuple[str, ...]:
        """`over` for the life that follows this one, when the cloud knows that this one is over too."""
        return (*self.over, self.replica)[-KEPT:]


_PARTS = tuple(part.name for part in fields(Chain))


class Lives:
    """The lives of one folder."""

    def __init__(self, journal: Journal, draw: Callable[[], str] = new_life) -> None:
        self._journal = journal
        self._draw = draw
        self._read: tuple[bytes, list[Life]] = (b"", [])
        self._chains: dict[bytes, tuple[bytes, Chain]] = {}
        """As they were read last, with the bytes they were read from."""
        self.handovers = Handovers(journal)
        self._over: set[tuple[str, int]] = set()
        self._recount()
        journal.on_rollback(self._recount)

    def _recount(self) -> None:
        self._over = {(space, partition) for space, partition, _ in self.forked()}

    @property
    def stuck(self) -> set[tuple[str, int]]:
        """(space, partition) whose life cannot go on, or has not taken along all of the last one's: nothing more is sealed there until then."""
        return self._over | self.handovers.under_way.keys()

    @property
    def newest(self) -> Life:
        """The life under which new commands are written."""
        return self.all()[-1]

    @property
    def replica(self) -> str:
        """Its name."""
        return self.newest.replica

    def all(self) -> list[Life]:
        """The last lives, oldest first."""
        raw = self._journal.get(Family.META, keys.LIVES)
        assert raw is not None, "a folder has a life from its first write on"
        if raw != self._read[0]:
            self._read = raw, [Life(**plain) for plain in json.loads(raw)]
        return self._read[1]

    def begun(
        self, wall_ms: int, why: str, rebased: int = 0, review: int = 0
    ) -> tuple[Life, dict[Place, bytes | None]]:
        """A new life and the write that begins it."""
        lives = self.all()
        life = Life(replica_id(device_of(lives[-1].replica), self._draw()), wall_ms, why, rebased, review)
        return life, {(Family.META, keys.LIVES): _encoded([*lives, life][-KEPT:])}

    def following(self, chain: Chain, wall_ms: int, review: int = 0) -> tuple[Life, dict[Place, bytes | None]]:
        """The life that follows that of a chain which cannot go on, and the write that begins it.

        Where the cloud ends the lives of many partitions for one reason, the first one draws a life and the others take it up: a device with
        a life of its own in each would look like one whose folder is copied (`driftlog_streams.core.life_watch`).
        """
        newest = self.newest
        common = self._journal.get(Family.META, keys.COMMON) == newest.replica.encode()
        if chain.fork in SHARED and newest.why == chain.fork and newest.replica != chain.replica and not common:
            return self.took(newest.replica, chain.fork, 0, review)
        return self.begun(wall_ms, chain.fork, review=review)

    def took(self, replica: str, why: str, rebased: int, review: int) -> tuple[Life, dict[Place, bytes | None]]:
        """A life that has taken commands along, and the write that remembers how many, if it is one of the last."""
        lives = list(self.all())
        at = next((at for at, life in enumerate(lives) if life.replica == replica), None)
        if at is None:
            return Life(replica, 0, why, rebased, review), {}
        life = lives[at]
        lives[at] = replace(life, rebased=life.rebased + rebased, review=life.review + review)
        return lives[at], {(Family.META, keys.LIVES): _encoded(lives)}

    def chain(self, space: str, partition: int) -> Chain:
        """The chain of a partition; a new one of the newest life where none was begun."""
        key = keys.chain_key(space, partition)
        raw = self._journal.get(Family.META, key)
        return Chain(self.replica) if raw is None else self._decoded(key, raw)

    def _decoded(self, key: bytes, raw: bytes) -> Chain:
        known = self._chains.get(key)
        if known is None or known[0] != raw:
            known = self._chains[key] = raw, Chain.decode(raw)
        return known[1]

    def writing(self, space: str, partition: int) -> str:
        """The life that writes in a partition now."""
        return self.chain(space, partition).replica

    def writer(self, space: str, partition: int) -> Writer:
        """Who writes the next command of a partition."""
        chain, newest = self.chain(space, partition), self.replica
        if chain.replica == newest or self._undecided(space, partition) or self._succeeded(space, partition):
            return Writer(chain.replica, chain.over)
        return Writer(newest, chain.over)

    def taking(self, space: str, partition: int, replica: str) -> dict[Place, bytes | None]:
        """The write with which a command of this replica begins its chain; nothing where it has begun."""
        key = keys.chain_key(space, partition)
        raw = self._journal.get(Family.META, key)
        chain = None if raw is None else self._decoded(key, raw)
        if chain is not None and chain.replica == replica:
            return {}
        return self.written(space, partition, Chain(replica, over=() if chain is None else chain.over))

    def written(self, space: str, partition: int, chain: Chain) -> dict[Place, bytes | None]:
        """The write that moves a chain."""
        if chain.fork:
            self._over.add((space, partition))
        else:
            self._over.discard((space, partition))
        key, raw = keys.chain_key(space, partition), chain.encode()
        self._chains[key] = raw, chain
        return {(Family.META, key): raw}

    def chains(self, space: str) -> list[tuple[int, Chain]]:
        """(partition, chain) of every chain that was begun in a space."""
        found = self._journal.scan(Family.META, keys.of_all(keys.CHAINS, space))
        return [(keys.parse_place(key, keys.CHAINS)[1], Chain.decode(value)) for key, value in found]

    def forked(self) -> list[tuple[str, int, Chain]]:
        """(space, partition, chain) of every chain that cannot go on."""
        found = []
        for key, value in self._journal.scan(Family.META, keys.CHAINS):
            chain = Chain.decode(value)
            if chain.fork:
                found.append((*keys.parse_place(key, keys.CHAINS), chain))
        return found

    def heads(self) -> dict[str, int]:
        """`space/partition` -> number of the last batch that was sealed there."""
        found = self._journal.scan(Family.META, keys.CHAINS)
        return {"{}/{}".format(*keys.parse_place(key, keys.CHAINS)): Chain.decode(value).number for key, value in found}

    def _succeeded(self, space: str, partition: int) -> bool:
        """Is a life to follow whose first batch is sealed? Until then all is written under the old name."""
        return self._journal.get(Family.META, keys.succession_key(space, partition)) is not None

    def _undecided(self, space: str, partition: int) -> bool:
        return self._unsealed(space, partition) or _some(
            self._journal, Family.SEALED, keys.sealed_prefix(space, partition)
        )

    def _unsealed(self, space: str, partition: int) -> bool:
        """Is there an entry of this partition in a class of the outbox? From class to class that has any."""
        after = b""
        while key := next(
            (key for key, _ in self._journal.scan(Family.OUTBOX, keys.outbox_prefix(space), after)), None
        ):
            urgency = keys.urgency_of(key)
            if _some(self._journal, Family.OUTBOX, keys.outbox_prefix(space, urgency, partition)):
                return True
            after = keys.outbox_end(space, urgency, keys.LAST_PARTITION)
        return False


def ensure_life(store: Store, device: str, wall_ms: int, draw: Callable[[], str] = new_life) -> None:
    """Give a folder that is written for the first time its life. Raises `DiskFull`, `StoreFailed`."""
    raw = store.get(Family.META, keys.LIVES)
    lives = [] if raw is None else [Life(**plain) for plain in json.loads(raw)]
    if not lives or device_of(lives[-1].replica) != device:
        why = f"the folder was given to device {device}" if lives else ""
        lives.append(Life(replica_id(device, draw()), wall_ms, why))
        writes: dict[Place, bytes | None] = {(Family.META, keys.LIVES): _encoded(lives[-KEPT:])}
        for key, value in store.scan(Family.META, keys.CHAINS):
            writes[Family.META, key] = replace(Chain.decode(value), fork=OTHER_DEVICE).encode()
        writes.update({(Family.META, key): None for key, _ in store.scan(Family.META, keys.SUCCESSIONS)})
        store.write(writes, sync=True)


def _encoded(lives: Iterable[Life]) -> bytes:
    return json.dumps([asdict(life) for life in lives]).encode()


def _some(journal: Journal, family: Family, prefix: bytes) -> bool:
    return next(iter(journal.scan(family, prefix)), None) is not None
