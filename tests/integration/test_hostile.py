"""What an enrolled device may sign and a stranger may send, against a real broker and a real worker: it lives, and the queue goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from driftlog_schemas import topics
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus, SignedBatch, Version
from driftlog_schemas.record_codecs import RecordCodecs, conflict_id
from tests.integration.conftest import LoadRun
from tests.integration.test_refusals import PLACE, Mail, row
from tests.load.app import COLLECTION, COUNTER, LABEL
from tests.load.fleet import identity, replica_of
from tests.load.hostile import transactions, unreadable_headers
from tests.load.waiting import until
from tests.load.workers import WorkerProcess

pytestmark = pytest.mark.broker


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> Iterator[LoadRun]:
    """A run with one worker and nobody feeding."""
    made = on_broker()
    with made.worker("only"):
        yield made


def test_one_bad_record_never_stops_a_worker(run: LoadRun) -> None:
    honest, hostile = run.edges[:2]
    mail = Mail(run)
    stranger = identity("stranger", 0, seed=1)
    body = mail.body(honest, 1)
    for name in ("x" * 400_000, "\x00", ""):
        mail.send(mail.envelope(SignedBatch(name, "k", bytes(64), body)))
    mail.send(mail.envelope(SignedBatch(stranger.device_id, "k" * 400_000, bytes(64), body)))
    for seq in range(1, 4):  # sums that no column of a row holds
        mail.send(mail.seal(hostile, mail.body(hostile, seq, value=(1 << 62) + seq)))
    mail.send(mail.seal(hostile, mail.body(hostile, 4, field=LABEL, kind="set", value="v" * 300_000, context={})))
    mail.send(mail.seal(honest, body))
    run.group.await_drained(60)

    assert row(run, replica_of(honest)).last == 1
    assert row(run, replica_of(hostile)).last == 4
    assert run.row(PLACE, "safe")[COUNTER] > 0
    assert max(len(r.value or b"") for r in run.history().receipts) < 1 << 20


def test_nobody_takes_an_open_conflict_off_the_list(on_broker: Callable[..., LoadRun]) -> None:
    """By a tombstone over its record, noise, or the word that somebody of whom nobody knows has decided it: not while it is owned, not while nobody owns it, and not before somebody who begins with nothing."""
    run = on_broker()
    mail, topic = Mail(run), topics.conflicts_topic(run.space.name)
    stranger = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})

    def told() -> list[bytes | None]:
        return [record.value for record in run.history().conflicts]

    def over(name: bytes, value: bytes | None) -> None:
        stranger.produce(topic, value, name, mail.partition)
        assert stranger.flush(30) == 0

    with run.worker("only") as worker:
        for edge, label in zip(run.edges[:2], ("one", "two"), strict=True):
            mail.send(mail.seal(edge, mail.body(edge, 1, field=LABEL, kind="set", value=label, context={})))
        until(lambda: bool(told()), "a conflict is told", 60)
        (first,) = run.history().conflicts
        codecs = RecordCodecs(run.ids)
        open_one = codecs.decode_conflict(first.value or b"")
        nobodys = replace(open_one.versions[0], replica="nobody.1")
        forged = codecs.encode_conflict(replace(open_one, status=ConflictStatus.RESOLVED, decided_by=nobodys))
        for value in (None, b"noise", forged):
            over(first.key, value)
            until(lambda: told()[-1] == first.value, "its owner tells it again", 60)
        worker.kill()
        over(first.key, None)
    with run.worker("another") as worker:
        until(lambda: told()[-1] == first.value, "the next owner tells it again", 60)
        over(first.key, b"noise")
        until(lambda: told()[-1] == first.value, "and again", 60)
        worker.kill()
        over(first.key, forged)
    with run.worker("third"):
        until(lambda: told()[-1] == first.value, "and whoever owns it then", 60)


def test_nobody_puts_a_conflict_on_the_list_that_there_is_not(on_broker: Callable[..., LoadRun]) -> None:
    """Who can write the topic invents one, of writes that nobody has made: its owner takes it off, and so does the next one."""
    run = on_broker()
    mail, codecs = Mail(run), RecordCodecs(run.ids)
    stranger = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})

    def invent(id: str) -> bytes:
        document = DocumentId(COLLECTION, PLACE, id)
        versions = tuple(Version(f"nobody.{at}", 1, 1 << 40, 1 << 40, f"{at}") for at in (1, 2))
        name = conflict_id(document, LABEL)
        found = Conflict(name, document, LABEL, versions, "review", "register", 1, 1, 0, ConflictStatus.OPEN)
        value = codecs.encode_conflict(found)
        stranger.produce(topics.conflicts_topic(run.space.name), value, name.encode(), mail.partition)
        assert stranger.flush(30) == 0
        return name.encode()

    def closed(*names: bytes) -> bool:
        last = {record.key: record.value for record in run.history().conflicts}
        return [last[name] for name in names] == [None] * len(names)

    honest = run.edges[0]
    with run.worker("only") as worker:
        mail.send(mail.seal(honest, mail.body(honest, 1)))
        run.group.await_drained(60)
        alive = invent("never-written")
        until(lambda: closed(alive), "its owner closes it", 60)
        worker.kill()
    between = invent("never-written-either")
    mail.send(mail.seal(honest, mail.body(honest, 2)))
    with run.worker("another"):
        until(lambda: closed(alive, between), "the next owner closes it", 60)


# -- what a Kafka client raises, or passes over


def settled(run: LoadRun, mail: Mail, worker: WorkerProcess, seq: int) -> None:
    """The next good batch is merged, and no worker has ended by itself."""
    honest = run.edges[0]
    mail.send(mail.seal(honest, mail.body(honest, seq)))
    run.group.await_drained(60)
    assert row(run, replica_of(honest)).last == seq
    assert "worker ends" not in worker.log.read_text()


def everywhere(run: LoadRun) -> list[str]:
    """Every topic that a worker or an agent reads in the space, the op topic first."""
    made = (
        topics.ops_topic,
        topics.state_topic,
        topics.receipts_topic,
        topics.conflicts_topic,
        topics.parked_topic,
        topics.quarantine_topic,
    )
    return [topic(run.space.name) for topic in made]


def test_what_a_client_raises_or_passes_over_stops_nobody(on_broker: Callable[..., LoadRun]) -> None:
    """Transactions take offsets that nobody is given, and one that stays open hides what follows from who reads as a client does by default."""
    run = on_broker()
    mail, places = Mail(run), everywhere(run)
    stranger = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
    with run.worker("only") as worker:
        settled(run, mail, worker, 1)
        for topic in places:
            stranger.produce(topic, None, b"stranger", mail.partition)
            stranger.produce(topic, None, None, mail.partition, headers=[("driftlog.group", None)])
        assert stranger.flush(30) == 0
        asyncio.run(unreadable_headers(run.bootstrap, places, mail.partition, b"a", b"b"))
        with transactions(run.bootstrap, f"{run.space.name}-stranger", places, mail.partition, b"noise"):
            settled(run, mail, worker, 2)
            worker.kill()
            settled(run, mail, worker, 3)
            with run.edge(1, PLACE) as edge:
                until(lambda: (edge.find(PLACE, "safe") or {}).get(COUNTER) == 3, "an agent reads on", 60, edge.tail)
        settled(run, mail, worker, 4)
