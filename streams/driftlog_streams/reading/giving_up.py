"""A person gives up a command that waits: the word goes into the op log in the name of the workers' own device, and a worker answers.

What becomes of the command is decided where the word stands in the log (`core.enactment`), so the answer is read where every device reads
its own: in the chain row of the replica. A worker that forgets at the same moment may take the place in the chain of the cloud's
replica; then the word is written once more behind that.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import SHORT_DIGEST_BYTES, BatchCodec, batch_digest, encode_body
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA
from driftlog_schemas.messages import ChainRow, CommandOutcome, Forgetting, RefusalNotice, Verdict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_streams.core import chain
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.forgetting import next_batch
from driftlog_streams.errors import SetupProblem
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.set_aside import SetAside, produce

ANSWER_SECONDS = 30.0
LOOK_SECONDS = 0.2


class _Word(NamedTuple):
    """As it was written."""

    number: int
    digest: bytes
    offset: int


class _Answers:
    """What the receipts of one partition say of the cloud's replica and of another one."""

    def __init__(self, kafka: KafkaSettings | str, one: SetAside, codecs: RecordCodecs, generation: int) -> None:
        self._reader = ChangelogReader(kafka)
        self._place = topics.SpaceTopics(one.space, generation).receipts, one.partition
        self._one = one
        self._codecs = codecs
        self._next = 0
        self._rows: dict[bytes, ChainRow] = {}
        self._refused: RefusalNotice | None = None

    def read(self) -> None:
        """What came since the last look. Raises KafkaException, `RecoveryFailed`."""
        end = self._reader.ends([self._place])[self._place]
        if end > self._next:
            for record in self._reader.records(*self._place, range(self._next, end)):
                self._take(record)
            self._next = end

    def _take(self, record: ChangelogRecord) -> None:
        if record.value is None:
            return
        if record.key in (CLOUD_REPLICA.encode(), self._one.replica.encode()):
            self._rows[record.key] = self._codecs.decode_chain_row(record.value)
        elif record.key == CLOUD.encode():
            self._refused = self._codecs.decode_refusal_notice(record.value)

    @property
    def cloud(self) -> ChainRow | None:
        return self._rows.get(CLOUD_REPLICA.encode())

    def outcome(self) -> CommandOutcome | None:
        """What became of the command; None while it waits."""
        row = self._rows.get(self._one.replica.encode())
        _, number, command_id = self._one.id.removeprefix(self._one.replica).split("/", 2)
        entry = None if row is None else chain.entry_of(row, int(number))
        found = None if entry is None else chain.verdict_of(entry, command_id)
        return None if found is None or found.verdict is Verdict.PARKED else found

    def refusal(self, word: _Word) -> RefusalNotice | None:
        """Why nobody takes the word."""
        return self._refused if self._refused is not None and self._refused.offset == word.offset else None

    def lost(self, word: _Word) -> bool:
        """Does another record stand in its place?"""
        row = self.cloud
        entry = None if row is None else chain.entry_of(row, word.number)
        return entry is not None and entry.digest != word.digest[:SHORT_DIGEST_BYTES]


def give_up(
    kafka: KafkaSettings | str,
    one: SetAside,
    identity: Identity,
    ids: SchemaIds,
    generation: int,
    seconds: float = ANSWER_SECONDS,
) -> CommandOutcome | None:
    """Say that a command that waits is dropped; what became of it, None where no worker has answered yet.

    `generation` is the one that the workers merge.

    Raises `DeliveryFailed`, `SetupProblem` where the identity may not say so.
    """
    answers, word = _Answers(kafka, one, RecordCodecs(ids), generation), None
    deadline = time.monotonic() + seconds
    while True:
        answers.read()
        outcome = answers.outcome()
        if outcome is not None:
            return outcome
        if word is not None and (refusal := answers.refusal(word)) is not None:
            raise SetupProblem(
                f"the workers do not take this identity ({refusal.code}): {refusal.reason}",
                "make it with `driftlog devices enrol-cloud`, for the same cluster",
            )
        if time.monotonic() > deadline:
            return None
        if word is None or answers.lost(word):
            word = _write(kafka, one, identity, ids, answers.cloud)
        time.sleep(LOOK_SECONDS)


def _write(
    kafka: KafkaSettings | str, one: SetAside, identity: Identity, ids: SchemaIds, known: ChainRow | None
) -> _Word:
    batch = next_batch(known, one.space, one.partition, Forgetting(-1, drop=(one.id,)))
    body = encode_body(batch)
    value = BatchCodec(ids).seal(body, identity)
    offset = produce(kafka, topics.ops_topic(one.space), one.partition, CLOUD, value)
    return _Word(batch.number, batch_digest(body), offset)
