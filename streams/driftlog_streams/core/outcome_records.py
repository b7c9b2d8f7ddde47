"""What becomes of batches and commands, as records: receipts, conflicts, parked commands and their tombstones."""

from __future__ import annotations

from collections.abc import Sequence

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.devices import Standing
from driftlog_schemas.messages import Batch, CommandOutcome, Conflict, ParkedCommand, Receipt
from driftlog_streams.core.admission import Refusal
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord


class OutcomeRecords:
    """Of one partition."""

    def __init__(self, rules: SpaceRules, partition: int) -> None:
        self._codecs = rules.records
        self._space = rules.name
        self._partition = partition

    def receipt(
        self, batch: Batch, device: Standing, outcomes: Sequence[CommandOutcome], offset: int, skew_ms: int = 0
    ) -> OutRecord:
        """The answer to a batch, or to a command of it that had waited."""
        return self._receipt(
            Receipt(
                device_id=device.device_id,
                replica=batch.replica,
                space=batch.space,
                partition=self._partition,
                batch=batch.number,
                outcomes=tuple(outcomes),
                skew_ms=skew_ms,
                offset=offset,
            )
        )

    def refusal(self, refusal: Refusal, offset: int) -> OutRecord:
        """The answer to a batch that is refused whole."""
        return self._receipt(
            Receipt(
                device_id=refusal.device_id,
                replica=refusal.replica,
                space=self._space,
                partition=self._partition,
                batch=refusal.number,
                outcomes=(),
                code=refusal.code,
                reason=refusal.reason,
                offset=offset,
            )
        )

    def _receipt(self, receipt: Receipt) -> OutRecord:
        value = self._codecs.encode_receipt(receipt)
        return OutRecord(topics.receipts_topic(self._space), self._partition, receipt.device_id.encode(), value)

    def conflict(self, conflict: Conflict) -> OutRecord:
        """A conflict that was opened or ended."""
        value = self._codecs.encode_conflict(conflict)
        return OutRecord(topics.conflicts_topic(self._space), self._partition, conflict.id.encode(), value)

    def parked(self, arrival: Arrival) -> OutRecord:
        """A command that waits, with what its merge will need."""
        batch = arrival.batch
        alone = Batch(batch.space, batch.partition, batch.replica, batch.number, (arrival.command,))
        record = ParkedCommand(
            arrival.device.device_id, arrival.append_ms, arrival.offset, batch.number, encode_body(alone)
        )
        value = self._codecs.encode_parked(record)
        return OutRecord(topics.parked_topic(self._space), self._partition, arrival.key, value)

    def released(self, arrival: Arrival) -> OutRecord:
        """The tombstone of a command that waits no longer."""
        return OutRecord(topics.parked_topic(self._space), self._partition, arrival.key, None)
