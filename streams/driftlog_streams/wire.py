"""The codecs of one space, over any set of schema ids.

The size guard of a collection is a rule of the merge (a command that would exceed it is rejected), so the codec itself must
never refuse a state that was merged: it encodes with the guard out of the way, since the record of a refused op (its dot in
the vector) may take a state a few bytes over.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from driftlog_crdt import DocumentState
from driftlog_schemas import batch_codec
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Conflict, ParkedCommand, Receipt, SignedBatch
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.state_codec import StateCodec


class SpaceWire:
    """`ports.Wire` by the project's Avro codecs."""

    def __init__(self, space: SpaceContract, ids: SchemaIds) -> None:
        self._batches = BatchCodec(ids)
        self._records = RecordCodecs(ids)
        self._states = {
            name: StateCodec(replace(c, document=replace(c.document, max_bytes=sys.maxsize)), ids)
            for name, c in space.collections.items()
        }

    def open_batch(self, value: bytes) -> SignedBatch:
        return self._batches.open(value)

    def decode_body(self, body: bytes) -> Batch:
        return batch_codec.decode_body(body)

    def encode_state(self, document: DocumentId, state: DocumentState) -> bytes:
        return self._states[document.collection].encode(document, state)

    def decode_state(self, document: DocumentId, value: bytes) -> DocumentState:
        codec = self._states.get(document.collection)
        if codec is None:
            raise Undecodable(f"a state of {document.collection}, which the app does not declare")
        return codec.decode(value)

    def encode_receipt(self, receipt: Receipt) -> bytes:
        return self._records.encode_receipt(receipt)

    def encode_conflict(self, conflict: Conflict) -> bytes:
        return self._records.encode_conflict(conflict)

    def encode_parked(self, parked: ParkedCommand) -> bytes:
        return self._records.encode_parked(parked)

    def decode_parked(self, value: bytes) -> ParkedCommand:
        return self._records.decode_parked(value)
