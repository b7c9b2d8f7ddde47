"""What must not get in: refused with a receipt that says why, nothing changed, and the queue goes on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer

from driftlog_crdt import Op
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, encode_body
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Batch, Command, DocumentOp, Receipt, SignedBatch, Verdict
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.signing import Identity
from tests.integration.conftest import LoadRun
from tests.load.app import COLLECTION, COUNTER, LABEL
from tests.load.checker import latest_by_key
from tests.load.fleet import identity, replica_of, revoked
from tests.load.ground import enrol
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "guarded"
DOCUMENT = DocumentId(COLLECTION, PLACE, "safe")


class Mail:
    """Batches for one document, by hand."""

    def __init__(self, run: LoadRun) -> None:
        self._run = run
        self._codec = BatchCodec(run.ids)
        self._partition = partition_of(PLACE, run.space.partitions)
        self._producer = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
        self._numbers: dict[str, int] = {}

    def body(self, sender: Identity, seq: int, **changed: object) -> bytes:
        """One increment by one, or what `changed` makes of the op."""
        number = self._numbers[replica_of(sender)] = self._numbers.get(replica_of(sender), 0) + 1
        stamp = (time.time_ns() // 1_000_000) << 16
        op = Op(replica_of(sender), seq, stamp, COUNTER, "increment", 1)._replace(**changed)  # type: ignore[arg-type]
        command = Command(f"{replica_of(sender)}-{number}", "hit", PLACE, stamp, (DocumentOp(DOCUMENT, op),))
        batch = Batch(self._run.space.name, self._partition, replica_of(sender), number, (command,))
        return encode_body(batch)

    def seal(self, sender: Identity, body: bytes) -> bytes:
        return self._codec.seal(body, sender)

    def forged(self, victim: Identity, body: bytes) -> bytes:
        """The victim's name under somebody else's signature."""
        thief = identity("thief", 0, seed=1)
        return self._codec.envelope(SignedBatch(victim.device_id, victim.key_id, thief.sign(body), body))

    def send(self, value: bytes) -> None:
        topic = topics.ops_topic(self._run.space.name)
        self._producer.produce(topic, value, b"by hand", self._partition)
        assert self._producer.flush(30) == 0


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> Iterator[LoadRun]:
    """A run with one worker and nobody feeding."""
    made = on_broker()
    with made.worker("only"):
        yield made


def receipts(run: LoadRun) -> list[Receipt]:
    """All receipts, in the order of the one partition that is used here."""
    codecs = RecordCodecs(run.ids)
    return [codecs.decode_receipt(r.value) for r in run.history().receipts if r.value is not None]


def test_forged_unknown_and_revoked_are_refused_and_the_queue_goes_on(run: LoadRun) -> None:
    honest, later_revoked, stranger = run.edges[0], run.edges[1], identity("stranger", 0, seed=1)
    mail = Mail(run)
    mail.send(mail.seal(honest, mail.body(honest, 1)))
    mail.send(mail.seal(later_revoked, mail.body(later_revoked, 1)))
    run.group.await_drained(60)
    now = time.time_ns() // 1_000_000
    enrol(run.bootstrap, [revoked(later_revoked, since_ms=now)], run.ids)

    mail.send(mail.forged(honest, mail.body(honest, 2)))
    mail.send(mail.seal(stranger, mail.body(stranger, 1)))
    mail.send(mail.seal(dataclasses.replace(honest, key_id="other"), mail.body(honest, 2)))
    mail.send(mail.seal(later_revoked, mail.body(later_revoked, 2)))
    mail.send(b"\x00\x00\x00\x00\x01 no Avro at all")
    mail.send(mail.seal(honest, mail.body(honest, 2)))
    run.group.await_drained(60)

    codes = [receipt.code for receipt in sorted(receipts(run), key=lambda r: r.offset)]
    assert codes == ["", "", "bad_signature", "unknown_device", "unknown_key", "revoked", "undecodable", ""]
    assert run.row(PLACE, "safe")[COUNTER] == 3


def test_rejected_commands_count_as_seen_without_effect(run: LoadRun) -> None:
    sender = run.edges[0]
    mail = Mail(run)
    mail.send(mail.seal(sender, mail.body(sender, 1)))
    mail.send(mail.seal(sender, mail.body(sender, 2, kind="explode")))
    mail.send(mail.seal(sender, mail.body(sender, 3, field="no_such_field")))
    mail.send(mail.seal(sender, mail.body(sender, 4, value="seven")))
    mail.send(mail.seal(sender, mail.body(sender, 5, field=LABEL, kind="set", value="kept", context={})))
    run.group.await_drained(60)

    verdicts = [r.outcomes[0].verdict for r in sorted(receipts(run), key=lambda r: r.offset)]
    assert verdicts == [Verdict.ACCEPTED, Verdict.REJECTED, Verdict.REJECTED, Verdict.REJECTED, Verdict.ACCEPTED]
    row = run.row(PLACE, "safe")
    assert (row[COUNTER], row[LABEL]) == (1, "kept")


def test_a_gap_waits_for_what_is_missing(run: LoadRun) -> None:
    sender = run.edges[0]
    mail = Mail(run)
    first, second, third = (mail.seal(sender, mail.body(sender, seq)) for seq in (1, 2, 3))
    mail.send(first)
    mail.send(third)
    run.group.await_drained(60)
    assert run.row(PLACE, "safe")[COUNTER] == 1
    mail.send(second)
    mail.send(third)
    run.group.await_drained(60)
    assert run.row(PLACE, "safe")[COUNTER] == 3
    verdicts = [o.verdict for r in receipts(run) for o in r.outcomes]
    assert Verdict.PARKED in verdicts
    assert verdicts.count(Verdict.ACCEPTED) == 3


def test_an_older_state_written_over_ours_does_not_stay_the_last_word(run: LoadRun) -> None:
    sender, key = run.edges[0], document_key(DOCUMENT)
    mail = Mail(run)
    for seq in (1, 2):
        mail.send(mail.seal(sender, mail.body(sender, seq)))
        run.group.await_drained(60)
    ours = [record for record in run.history().state if record.key == key]

    late = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
    headers = list(ours[0].headers)
    late.produce(topics.state_topic(run.space.name), ours[0].value, key, ours[0].partition, headers=headers)
    assert late.flush(30) == 0

    def last_word() -> bytes | None:
        return latest_by_key(run.history().state)[key].value

    until(lambda: last_word() == ours[-1].value, "the newest state is the last word again", 60)
    assert run.row(PLACE, "safe")[COUNTER] == 2
