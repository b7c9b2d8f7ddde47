"""What an enrolled device may sign and a stranger may send, against a real broker and a real worker: it lives, and the queue goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from driftlog_schemas.messages import SignedBatch
from tests.integration.conftest import LoadRun
from tests.integration.test_refusals import PLACE, Mail, row
from tests.load.app import COUNTER, LABEL
from tests.load.fleet import identity, replica_of

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
