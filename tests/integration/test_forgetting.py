"""What was deleted is forgotten once everybody has seen it, on a real broker with a retention of seconds; nobody who slept through it brings it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftlog_crdt import epoch_of
from driftlog_schemas import groups, topics
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.state_codec import StateCodec
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.conftest import LoadRun
from tests.integration.sender import Sender
from tests.load.app import COLLECTION, COUNTER
from tests.load.checker import latest_by_key
from tests.load.fleet import cloud, cloud_line, identity, registered
from tests.load.ground import enrol
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "guarded"
LOST, OTHER = DocumentId(COLLECTION, PLACE, "lost"), DocumentId(COLLECTION, PLACE, "other")
RETENTION_MS = 4_000


@pytest.fixture
def run(on_broker: Callable[..., LoadRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadRun]:
    """A run whose partitions remember for seconds, with one worker that has the cloud's identity."""
    made = on_broker()
    admin = TopicsAdmin(made.bootstrap)
    wanted = topics.space_topics(made.space.name, made.space.partitions, RETENTION_MS)
    admin.apply(topics.plan(wanted, admin.existing([topic.name for topic in wanted])))
    enrol(made.bootstrap, [cloud_line()], made.ids)
    cloud().save(tmp_path / "cloud.json")
    monkeypatch.setenv("DRIFTLOG_CLOUD_IDENTITY", str(tmp_path / "cloud.json"))
    with made.worker("only"):
        yield made


@pytest.mark.deep
def test_a_space_in_which_nobody_writes_forgets_too_and_keeps_who_is_heard_of(run: LoadRun) -> None:
    """Nothing is in the op log after the delete; one of the two silent devices goes on sending heartbeats, at its own times."""
    fleet = [identity(f"{run.space.name}-idle", number, seed=13) for number in range(2)]
    enrol(run.bootstrap, map(registered, fleet), run.ids)
    alive, silent = (Sender(run, device, PLACE) for device in fleet)
    alive.send(LOST, 1)
    silent.send(LOST, 1, delete=True)
    until(lambda: silent.row() is not None, "it is deleted", 60)

    def gone() -> bool:
        alive.heartbeat()
        time.sleep(0.5)
        found = latest_by_key(run.history().state).get(document_key(LOST))
        return found is not None and found.value is None

    until(gone, "the tombstone is forgotten", 90)

    def over() -> bool:
        alive.heartbeat()
        time.sleep(0.5)
        return (row := silent.row()) is not None and row.ended == "retired"

    until(over, "the silent life is retired", 60)
    row = alive.row()
    assert row is not None
    assert row.ended == "", "it wrote nothing either, and was heard of"


def test_a_deleted_document_is_forgotten_and_begins_anew(run: LoadRun) -> None:
    fleet = [identity(f"{run.space.name}-past", number, seed=13) for number in range(4)]
    enrol(run.bootstrap, map(registered, fleet), run.ids)
    maker, busy, later, sleeper = (Sender(run, device, PLACE) for device in fleet)
    maker.send(LOST, 1)
    maker.send(LOST, 2, delete=True)
    clock = iter(range(1, 1000))

    def gone() -> bool:
        busy.send(OTHER, next(clock))
        time.sleep(0.5)
        found = latest_by_key(run.history().state).get(document_key(LOST))
        return found is not None and found.value is None

    until(gone, "the tombstone is forgotten", 90)
    (null,) = [r for r in run.history().state if r.key == document_key(LOST) and r.value is None]
    purged = groups.parse(null.headers).purged
    assert purged > 1

    later.send(LOST, 1)
    until(lambda: "lost" in run.rows(PLACE), "it is there again", 90)
    assert run.row(PLACE, "lost")[COUNTER] == 1
    value = latest_by_key(run.history().state)[document_key(LOST)].value
    state = StateCodec(run.space.collections[COLLECTION], run.ids).decode(value or b"")
    assert epoch_of(state.vector) >= purged

    sleeper.send(LOST, 1, read=0)
    until(lambda: (row := sleeper.row()) is not None and row.notice is not None, "the sleeper is answered", 90)
    row = sleeper.row()
    assert row is not None
    assert row.notice is not None
    assert row.notice.code == "away"
    assert run.row(PLACE, "lost")[COUNTER] == 1
    # Then its row goes, too: whoever looks seldom sees only that.
    until(lambda: (found := maker.row()) is None or found.ended == "retired", "a silent life is retired", 90)
