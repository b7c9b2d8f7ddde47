"""What everybody else has in a partition into which something hostile comes: afterwards it is byte for byte what it was.

A conflict that is open, one that was decided, one that a deadline has settled, a command that waits, a document without any of that, and the
chain rows of all who wrote them; in memory, in the store, and as the last word of each topic. The names are none that hostile input may make.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from driftlog_schemas import topics
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import DocumentOp
from driftlog_schemas.signing import Identity
from driftlog_streams.core.work import OutRecord
from tests.unit.streams.cloud import Cloud, change, command, device

SCOPE = "a store of somebody else's"
OPEN, DECIDED, SETTLED, PLAIN = (
    DocumentId("Stock", SCOPE, name) for name in ("is-disputed", "was-decided", "was-settled", "is-plain")
)
DEVICES = ("store-3", "store-4")
FIRST, SECOND, WAITING = "store-3.1", "store-4.1", "store-4.2"
LATE_MS = 1 << 46


def _price(document: DocumentId, value: int, seq: int, replica: str, **seen: int) -> DocumentOp:
    return change(document, "price", "set", value, seq, replica=replica, context=seen)


class EverybodyElse:
    """Of two devices of their own: merged, published and stored."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        for name in DEVICES:
            cloud.identities[name] = Identity.create(name)
            cloud.devices.lines[name] = device(cloud.identities[name])
        for document in (SETTLED, OPEN, DECIDED):
            for value, replica in enumerate((FIRST, SECOND), 1):
                op = _price(document, value, 1, replica)
                cloud.merge(command(f"{document.id} {replica}", op), replica=replica)
            cloud.fly()
            if document == SETTLED:
                cloud.settle(*cloud.overdue(LATE_MS), append_ms=LATE_MS)
        seen = {FIRST: 1, SECOND: 1}
        decided = change(DECIDED, "price", "set", 9, 2, replica=FIRST, context=seen)
        cloud.merge(command("decided", decided), replica=FIRST)
        cloud.merge(command("plain", change(PLAIN, "name", "set", "tea", 1, replica=SECOND)), replica=SECOND)
        cloud.merge(command("waits", _price(PLAIN, 7, 2, WAITING)), replica=WAITING)
        cloud.fly()
        statuses = {found.document.id: found.status.value for found in cloud.conflicts()}
        assert statuses == {OPEN.id: "open", DECIDED.id: "resolved", SETTLED.id: "settled"}
        assert len(cloud.merger.parking) == 1
        self._names = frozenset(self._all_names())
        self._were = self._now()

    def is_what_it_was(self) -> bool:
        """Is it? Whoever fails is told what is not."""
        now = self._now()
        changed = [place for place in {**now, **self._were} if now.get(place) != self._were.get(place)]
        assert not changed, f"hostile input changed {changed[:5]}"
        return True

    def _all_names(self) -> Iterator[bytes]:
        yield from (document_key(document) for document in (OPEN, DECIDED, SETTLED, PLAIN))
        yield from (conflict.id.encode() for conflict in self._cloud.conflicts())
        yield from (replica.encode() for replica in (FIRST, SECOND, WAITING))
        yield from self._cloud.parked()

    def _now(self) -> dict[tuple[str, object], Any]:
        cloud, book = self._cloud, self._cloud.merger._at.book
        found: dict[tuple[str, object], Any] = {("digest", SCOPE): cloud.digests.get(SCOPE)}
        found |= {("told", (r.topic, r.key)): r.value for r in self._last_words() if r.key in self._names}
        for name in self._names:
            found["stored", name] = cloud.store.get(name), cloud.rows.get(name.decode()), cloud.ends.get(name)
            found["disputed", name] = cloud.dispute(name)
            found["waits", name] = name in cloud.merger.parking
        for document in (OPEN, DECIDED, SETTLED, PLAIN):
            found["deadlines", document] = {at for at in cloud.waiting if at[0] == document_key(document)}
            collection = cloud.rules.collections[document.collection]
            found["merged", document] = collection.codec.encode(document, cloud.state(document))
        for replica in (FIRST, SECOND, WAITING):
            found["row", replica] = book.held(replica)
        return found

    def _last_words(self) -> Iterator[OutRecord]:
        kept = [topics.state_topic, topics.receipts_topic, topics.conflicts_topic, topics.parked_topic]
        compacted = {topic(self._cloud.rules.name) for topic in kept}
        yield from {(r.topic, r.key): r for r in self._cloud.published if r.topic in compacted}.values()
