"""Where the core meets the world: what a driver hands it, and the codecs it calls.

The worker gives a RocksDB store, the device topic and registry-backed codecs; the simulation gives dictionaries and fixed ids.
"""

from __future__ import annotations

from typing import Protocol

from driftlog_crdt import DocumentState
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Conflict, Device, ParkedCommand, Receipt, SignedBatch


class StateStore(Protocol):
    """The published states of one partition, by document key: the value bytes of `<space>.state`."""

    def get(self, key: bytes) -> bytes | None:
        """None for a document that has no state yet."""
        ...


class DeviceDirectory(Protocol):
    """The device registry as far as it has been read."""

    def get(self, device_id: str) -> Device | None:
        """None if it is not there (yet: see `SpaceEngine.unknown_device`)."""
        ...


class Wire(Protocol):
    """Values to bytes and back. Decoding raises `driftlog_schemas.errors.Undecodable`."""

    def open_batch(self, value: bytes) -> SignedBatch: ...
    def decode_body(self, body: bytes) -> Batch: ...
    def encode_state(self, document: DocumentId, state: DocumentState) -> bytes: ...
    def decode_state(self, document: DocumentId, value: bytes) -> DocumentState: ...
    def encode_receipt(self, receipt: Receipt) -> bytes: ...
    def encode_conflict(self, conflict: Conflict) -> bytes: ...
    def encode_parked(self, parked: ParkedCommand) -> bytes: ...
    def decode_parked(self, value: bytes) -> ParkedCommand: ...
