"""What must not get in: refused with a word that says why, nothing changed, and the queue goes on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from driftlog_crdt import Op
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, batch_digest, encode_body
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Batch, ChainRow, Command, DocumentOp, RefusalNotice, SignedBatch, Verdict
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
        self.partition = partition_of(PLACE, run.space.partitions)
        self._producer = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
        self._numbers: dict[str, int] = {}
        self._heads: dict[tuple[str, int], bytes] = {}

    def body(self, sender: Identity, seq: int, **changed: object) -> bytes:
        """One increment by one, or what `changed` makes of the op; its sender's next batch."""
        replica = replica_of(sender)
        number = self._numbers[replica] = self._numbers.get(replica, 0) + 1
        body = self._body(replica, number, seq, changed)
        self._heads[replica, number] = batch_digest(body)
        return body

    def beside(self, sender: Identity, seq: int) -> bytes:
        """The same as from somebody who is not its sender."""
        replica = replica_of(sender)
        return self._body(replica, self._numbers.get(replica, 0) + 1, seq, {})

    def _body(self, replica: str, number: int, seq: int, changed: dict[str, object]) -> bytes:
        stamp = (time.time_ns() // 1_000_000) << 16
        op = Op(replica, seq, stamp, COUNTER, "increment", 1)._replace(**changed)  # type: ignore[arg-type]
        command = Command(f"{replica}-{number}", "hit", PLACE, stamp, (DocumentOp(DOCUMENT, op),))
        prev = self._heads.get((replica, number - 1), b"")
        return encode_body(Batch(self._run.space.name, self.partition, replica, number, (command,), prev=prev, floor=1))

    def seal(self, sender: Identity, body: bytes) -> bytes:
        return self._codec.seal(body, sender)

    def forged(self, victim: Identity, body: bytes) -> bytes:
        """The victim's name under somebody else's signature."""
        thief = identity("thief", 0, seed=1)
        return self._codec.envelope(SignedBatch(victim.device_id, victim.key_id, thief.sign(body), body))

    def envelope(self, signed: SignedBatch) -> bytes:
        return self._codec.envelope(signed)

    def send(self, value: bytes) -> None:
        topic = topics.ops_topic(self._run.space.name)
        self._producer.produce(topic, value, b"by hand", self.partition)
        assert self._producer.flush(30) == 0


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> Iterator[LoadRun]:
    """A run with one worker and nobody feeding."""
    made = on_broker()
    with made.worker("only"):
        yield made


def notices(run: LoadRun) -> list[RefusalNotice]:
    """All words on batches that are nobody's, in the order of the one partition that is used here."""
    codecs = RecordCodecs(run.ids)
    return [codecs.decode_refusal_notice(r.value or b"") for r in run.history().receipts if b"." not in r.key]


def row(run: LoadRun, replica: str) -> ChainRow:
    """The newest row of a replica."""
    found = [r.value for r in run.history().receipts if r.key == replica.encode()]
    return RecordCodecs(run.ids).decode_chain_row(found[-1] or b"")


def verdicts(run: LoadRun, replica: str) -> list[Verdict]:
    """What became of each of its batches, of one command each."""
    told = [[o.verdict for o in entry.outcomes] or [Verdict.ACCEPTED] for entry in row(run, replica).entries]
    return [verdict for (verdict,) in told]


def test_forged_unknown_and_revoked_are_refused_and_the_queue_goes_on(run: LoadRun) -> None:
    honest, later_revoked, stranger = run.edges[0], run.edges[1], identity("stranger", 0, seed=1)
    mail = Mail(run)
    mail.send(mail.seal(honest, mail.body(honest, 1)))
    mail.send(mail.seal(later_revoked, mail.body(later_revoked, 1)))
    run.group.await_drained(60)
    now = time.time_ns() // 1_000_000
    enrol(run.bootstrap, [revoked(later_revoked, since_ms=now)], run.ids)

    mail.send(mail.forged(honest, mail.beside(honest, 2)))
    mail.send(mail.seal(stranger, mail.body(stranger, 1)))
    mail.send(mail.seal(dataclasses.replace(honest, key_id="other"), mail.beside(honest, 2)))
    mail.send(mail.seal(later_revoked, mail.body(later_revoked, 2)))
    mail.send(b"\x00\x00\x00\x00\x01 no Avro at all")
    mail.send(mail.seal(honest, mail.body(honest, 2)))
    run.group.await_drained(60)

    codes = [notice.code for notice in sorted(notices(run), key=lambda n: n.offset)]
    assert codes == ["bad_signature", "unknown_device", "unknown_key", "revoked"], "noise names nobody to be told"
    assert verdicts(run, replica_of(honest)) == [Verdict.ACCEPTED] * 2
    assert row(run, replica_of(later_revoked)).last == 1
    assert run.row(PLACE, "safe")[COUNTER] == 3


def test_rejected_commands_count_as_seen_without_effect(run: LoadRun) -> None:
    sender = run.edges[0]
    mail = Mail(run)
    mail.send(mail.seal(sender, mail.body(sender, 1)))
    mail.send(mail.seal(sender, mail.body(sender, 2, kind="explode")))
    mail.send(mail.seal(sender, mail.body(sender, 3, value="seven")))
    mail.send(mail.seal(sender, mail.body(sender, 4, field=LABEL, kind="set", value="kept", context={})))
    mail.send(mail.seal(sender, mail.body(sender, 5, field="no_such_field")))
    run.group.await_drained(60)

    decided = [Verdict.ACCEPTED, Verdict.REJECTED, Verdict.REJECTED, Verdict.ACCEPTED]
    assert verdicts(run, replica_of(sender)) == [*decided, Verdict.DEFERRED], "another release may declare that field"
    found = run.row(PLACE, "safe")
    assert (found[COUNTER], found[LABEL]) == (1, "kept")


def test_a_batch_that_comes_too_early_is_said_and_taken_when_it_comes_again(run: LoadRun) -> None:
    sender = run.edges[0]
    mail = Mail(run)
    first, second, third = (mail.seal(sender, mail.body(sender, seq)) for seq in (1, 2, 3))
    mail.send(first)
    mail.send(third)
    run.group.await_drained(60)
    assert run.row(PLACE, "safe")[COUNTER] == 1
    early = row(run, replica_of(sender))
    assert early.last == 1 and early.notice is not None and early.notice.code == "early"
    mail.send(second)
    mail.send(third)
    run.group.await_drained(60)
    assert run.row(PLACE, "safe")[COUNTER] == 3
    assert verdicts(run, replica_of(sender)) == [Verdict.ACCEPTED] * 3


def test_a_gap_waits_for_what_is_missing(run: LoadRun) -> None:
    first, second = run.edges[:2]
    mail = Mail(run)
    seen = {replica_of(first): 1}
    mail.send(mail.seal(second, mail.body(second, 1, field=LABEL, kind="set", value="after", context=seen)))
    run.group.await_drained(60)
    assert verdicts(run, replica_of(second)) == [Verdict.PARKED]
    mail.send(mail.seal(first, mail.body(first, 1, field=LABEL, kind="set", value="before", context={})))
    run.group.await_drained(60)
    assert run.row(PLACE, "safe")[LABEL] == "after"
    assert verdicts(run, replica_of(second)) == [Verdict.ACCEPTED]


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


def test_what_a_stranger_writes_over_a_device_erases_nobody_and_is_put_back(run: LoadRun) -> None:
    sender = run.edges[0]
    mail = Mail(run)
    mail.send(mail.seal(sender, mail.body(sender, 1)))
    run.group.await_drained(60)
    key = sender.device_id.encode()
    line = last_words(run.bootstrap)[key]
    stranger = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
    stranger.produce(topics.DEVICES, None, key, 0)
    assert stranger.flush(30) == 0

    until(lambda: last_words(run.bootstrap)[key] == line, "the line is the last word again", 60)
    mail.send(mail.seal(sender, mail.body(sender, 2)))
    run.group.await_drained(60)
    assert run.row(PLACE, "safe")[COUNTER] == 2


def last_words(bootstrap: str) -> dict[bytes, bytes | None]:
    """key -> the last value in the device registry."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "last-words", "enable.auto.commit": False})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topics.DEVICES, 0), timeout=10)
        consumer.assign([TopicPartition(topics.DEVICES, 0, 0)])
        found: dict[bytes, bytes | None] = {}
        position = 0
        while position < end:
            for message in consumer.consume(500, 1.0):
                assert message.error() is None
                found[message.key() or b""] = message.value()
                position = (message.offset() or 0) + 1
        return found
    finally:
        consumer.close()
