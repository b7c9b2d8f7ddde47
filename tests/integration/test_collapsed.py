"""What waits of a collapsed collection leaves the device as one op, and each of its commands is answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.messages import Command
from driftlog_schemas.partitioning import partition_of
from tests.integration.conftest import LoadRun
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "market"
COUNT = 1000


def sent(run: LoadRun) -> list[Command]:
    """All commands in the op topic of the place."""
    codec = BatchCodec(run.ids)
    partition = partition_of(PLACE, run.space.partitions)
    bodies = [codec.open(record.value or b"").body for record in run.history().ops if record.partition == partition]
    return [command for body in bodies for command in decode_body(body).commands]


def test_a_thousand_commands_on_a_document_leave_as_one_op(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as meter, run.edge(1, PLACE) as office, meter.client() as caller:
        meter.go_offline(True)
        arguments = {"place": PLACE, "meter": "m"}
        calls = [{"name": "turn", "arguments": arguments, "id": f"turn-{n}"} for n in range(COUNT)]
        answers = caller.post("/v1/commands", json=calls).raise_for_status().json()
        assert [answer["status"] for answer in answers] == [200] * COUNT, answers[:3]
        assert meter.status()["pending"] == COUNT
        meter.go_offline(False)
        meter.await_quiet()

        (command,) = sent(run)
        ((_, op),) = command.ops
        assert (op.value, op.seq, op.span, len(command.stands_for)) == (COUNT, COUNT, COUNT, COUNT - 1)
        for number in (0, 500, COUNT - 1):
            told = caller.get(f"/v1/commands/turn-{number}").raise_for_status().json()
            assert told["status"] == "merged", told
        with office.client() as reader:
            path = f"/v1/documents/Meter/{PLACE}/m"
            until(
                lambda: (found := reader.get(path)).status_code == 200 and found.json()["value"]["turns"] == COUNT,
                "the office reads the count",
                60,
                office.tail,
            )
