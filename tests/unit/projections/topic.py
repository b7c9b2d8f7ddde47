"""A state topic in memory, with holes, torn groups and trouble as a test wants them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from driftlog import App, Counter, Document, Register
from driftlog_crdt import Op
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import StateCodec
from driftlog_streams.projections.errors import PositionLost
from driftlog_streams.projections.records import StateRecord
from driftlog_streams.projections.sink import Position

app = App("shop")
space = app.space("retail", partitions=2)


@space.collection(scope="store", id="sku")
class Stock(Document):
    store: str
    sku: str
    on_hand: Counter
    name: Register[str] = ""


SPACE = app.contract.spaces["retail"]
IDS = FixedIds()
CODEC = StateCodec(SPACE.collections["Stock"], IDS)
OPS_END = 1_000
NOW_MS = 1_790_000_000_000


def stock(sku: str, store: str = "s1") -> DocumentId:
    return DocumentId("Stock", store, sku)


def row(document: DocumentId, on_hand: int, *, deleted: bool = False) -> bytes:
    """The state of an article."""
    kind = CODEC.collection.document
    state = kind.new()
    kind.apply(state, Op("till.1", 1, 1 << 20, "on_hand", "increment", on_hand))
    if deleted:
        kind.apply(state, Op("till.1", 2, 2 << 20, "", "delete", None, {"till.1": 1}))
    return CODEC.encode(document, state)


class Topic:
    """`StateLog` over lists."""

    def __init__(self) -> None:
        self.topic = "retail.state"
        self.records: dict[int, list[StateRecord]] = {0: [], 1: []}
        self.id = "first"
        self._at: dict[int, int] = {}
        self.block = 3

    def put(
        self, document: DocumentId, value: bytes | None, group: int, *, last: bool = True, offset: int | None = None
    ) -> None:
        """A worker's record."""
        self.put_raw(
            partition_of(document.scope, 2), document_key(document), value, groups.GroupMark(group, last), offset
        )

    def put_raw(
        self, partition: int, key: bytes, value: bytes | None, mark: groups.GroupMark, offset: int | None = None
    ) -> None:
        records = self.records[partition]
        at = self.end(partition) if offset is None else offset
        records.append(StateRecord(partition, at, key, value, mark, NOW_MS))

    def end(self, partition: int) -> int:
        records = self.records[partition]
        return records[-1].offset + 1 if records else 0

    # -- as a `StateLog`

    def topic_id(self) -> str:
        return self.id

    def require_leading_on(self, topic_id: str, positions: Mapping[int, Position]) -> None:
        for number, at in positions.items():
            if at.topic_id not in ("", topic_id) or at.offset > self.end(number):
                raise PositionLost("the topic was made anew")

    def follow(self, offsets: Mapping[int, int]) -> None:
        self._at = dict(offsets)

    def read(self, seconds: float) -> list[StateRecord]:
        found: list[StateRecord] = []
        for number, at in self._at.items():
            more = [record for record in self.records[number] if record.offset >= at][: self.block]
            found += more
            self._at[number] = more[-1].offset + 1 if more else at
        return found

    def ops_ends(self, records: Collection[StateRecord]) -> Mapping[int, int]:
        return {0: OPS_END, 1: OPS_END}

    def has_read(self, until: Mapping[int, int]) -> bool:
        return all(self._at.get(number, -1) >= end for number, end in until.items())

    def behind(self, positions: Mapping[int, int]) -> int:
        return sum(self.end(number) - at for number, at in positions.items())
