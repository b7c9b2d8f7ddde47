"""The records by which a space is laid anew, put behind those that an attempt before has written: only what is lacking is written.

What is to be written follows from the closed logs, so each attempt would write the same records in the same order, and how many of them a partition has is how far the one
before came. That stands in the topics alone: another machine goes on as well, and nothing is noted that could say more or less than what was written.

Before anything is put behind what was found there, that is read and held against what this attempt would have written, record by record; compaction may have removed some that
later ones replace. In the end each partition has to be as long as what was written, for somebody else may write there meanwhile. Where either is not so the topics are `Otherwise`,
and worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import chain

from driftlog_schemas.groups import Headers
from driftlog_schemas.topics import Topic
from driftlog_streams.core.work import OutRecord
from driftlog_streams.replaying.logs import Logs

Place = tuple[str, int]
"""A topic and a partition of it."""
_SIZE = 16


class Otherwise(Exception):
    """What is in the topics is not what this attempt would have written."""


class Continuation:
    """Of all topics of one space."""

    def __init__(
        self,
        logs: Logs,
        topics: Iterable[Topic],
        begins: Mapping[Place, int],
        deliver: Callable[[Sequence[OutRecord]], None],
    ) -> None:
        """`begins` has the partitions whose first record is not number 0; `logs` are read between two deliveries and within them, so they are nobody else's."""
        self._logs, self._begins, self._deliver = logs, begins, deliver
        places = [(topic.name, number) for topic in topics for number in range(topic.partitions)]
        self._found = {place: logs.extent(*place).stop for place in places}
        self._next = {place: begins.get(place, 0) for place in places}
        self._would: dict[Place, bytearray] = {}
        """Digests of what would have been written where something was found, until it was compared."""
        self.left_out = 0
        """How many records were there already."""

    def deliver(self, records: Sequence[OutRecord]) -> None:
        """The next ones. Raises `Otherwise`, `BrokerUnreachable`, and what the delivery raises."""
        lacking = [record for record in records if not self._is_there(record)]
        if lacking:
            self._deliver(lacking)

    def _is_there(self, record: OutRecord) -> bool:
        place = record.topic, record.partition
        at = self._next[place]
        self._next[place] += 1
        if at >= self._found[place]:
            return False
        self._would.setdefault(place, bytearray()).extend(_digest(record.key, record.value, record.headers))
        self.left_out += 1
        if at + 1 == self._found[place]:
            self._compare(place)
        return True

    def _compare(self, place: Place) -> None:
        would, begins = self._would.pop(place), self._begins.get(place, 0)
        with closing(self._logs.blocks(*place, begins)) as blocks:
            for record in chain.from_iterable(blocks):
                at = (record.offset - begins) * _SIZE
                if at < len(would) and _digest(record.key, record.value, record.headers) != would[at : at + _SIZE]:
                    key = record.key.decode(errors="replace")
                    raise Otherwise(f"{_named(place)} at {record.offset}: {key}")

    def require_end(self, topic: str, partition: int) -> None:
        """This partition has all that was delivered and nothing else. Raises `Otherwise`, `BrokerUnreachable`."""
        place = topic, partition
        end = self._logs.extent(*place).stop
        if end != self._next[place]:
            raise Otherwise(f"{_named(place)} ends at {end} and not at {self._next[place]}")

    def require_ends(self) -> None:
        """Each partition has. Raises `Otherwise`, `BrokerUnreachable`."""
        for place in self._next:
            self.require_end(*place)


def others(there: Mapping[str, Topic], wanted: Iterable[Topic]) -> list[str]:
    """What of these topics is not as it is wanted, in words; nothing of those that are not there."""
    found = []
    for topic in wanted:
        if (other := there.get(topic.name)) is None:
            continue
        if other.partitions != topic.partitions:
            found.append(f"{topic.name} has {other.partitions} partitions and not {topic.partitions}")
        found += [
            f"{topic.name} has {name}={other.settings.get(name)} and not {value}"
            for name, value in topic.settings.items()
            if other.settings.get(name) != value
        ]
        if other.replication != topic.replication:
            found.append(f"{topic.name} has {other.replication} replicas and not {topic.replication}")
    return found


def _named(place: Place) -> str:
    return f"{place[0]}[{place[1]}]"


def _digest(key: bytes, value: bytes | None, headers: Headers) -> bytes:
    found = blake2b(digest_size=_SIZE)
    for part in (key, value, *chain.from_iterable(headers)):
        raw = part.encode() if isinstance(part, str) else part
        found.update(b"-" if raw is None else b"%d:%s" % (len(raw), raw))
    return found.digest()
