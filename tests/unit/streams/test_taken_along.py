"""What a new life has taken along was written before it: where a purge lies between, it never makes a document be there again."""

from __future__ import annotations

import pytest

from driftlog_schemas.messages import Command, DocumentOp
from tests.unit.streams.cloud import Cloud, change, command, count, ledger, stock

OLD, NEW = "store-1.1", "store-1.2"


def send(cloud: Cloud, *commands: Command, replica: str = NEW) -> None:
    """By somebody who has read all."""
    cloud.merge_value(cloud.batch(*commands, replica=replica, read=cloud.end - 1))


def taken_along(name: str, *ops: DocumentOp, written: int) -> Command:
    return command(name, *ops)._replace(root=OLD, written=written)


@pytest.fixture
def purged(cloud: Cloud) -> int:
    """Made at 0, deleted at 1, purged at 2, which is the answer; at 3 the old life has ended."""
    send(cloud, command("made", count(stock(), 5, 1)), replica=OLD)
    send(cloud, command("gone", change(stock(), "", "delete", None, 2, context={})), replica=OLD)
    cloud.fly()
    offset = cloud.forget(2, stock())
    cloud.merge_value(cloud.batch(replica=NEW, ends=(OLD,)))
    return offset


@pytest.mark.parametrize("fields", ["a count", "a set"])
def test_an_op_that_is_older_than_a_purge_does_not_bring_the_document_back(
    cloud: Cloud, purged: int, fields: str
) -> None:
    """Its new life has read all, so its batch is not away; and a count, or a write on what was not there, names nothing that it had seen."""
    op = count(stock(), 5, 1, NEW) if fields == "a count" else change(stock(), "name", "set", "x", 1, replica=NEW)
    send(cloud, taken_along("old", op, count(ledger(), 7, 1, NEW), written=purged - 1))
    assert cloud.verdicts()["old"] == "rejected gone"
    kind = cloud.rules.collections["Stock"].type
    assert not kind.exists(cloud.state(stock()))
    assert cloud.value(ledger(), "sold") == 0, "a command is refused as a whole"
    send(cloud, command("next", count(ledger(), 1, 2, NEW)))
    send(cloud, taken_along("new", count(stock(), 1, 2, NEW), written=purged))
    assert (cloud.verdicts()["next"], cloud.verdicts()["new"]) == ("accepted", "accepted"), "its dots are seen"
    assert cloud.value(stock(), "on_hand") == 1


def test_it_has_no_effect_on_a_document_that_somebody_has_made_since(cloud: Cloud, purged: int) -> None:
    send(cloud, command("made anew", count(stock(), 9, 1, "store-2.1")), replica="store-2.1")
    send(cloud, taken_along("old", count(stock(), 5, 1, NEW), written=purged - 1))
    assert cloud.verdicts()["old"] == "rejected gone"
    assert cloud.value(stock(), "on_hand") == 9


def test_who_had_read_nothing_yet_makes_new_documents(cloud: Cloud, purged: int) -> None:
    """A new device writes before its first contact; it was refused as away, and has read since."""
    send(cloud, taken_along("c", count(stock(), 5, 1, NEW), written=-1))
    assert cloud.verdicts()["c"] == "accepted"
    assert cloud.value(stock(), "on_hand") == 5


def test_what_was_gone_is_decided_anew_when_a_person_applies_it(cloud: Cloud, purged: int) -> None:
    send(cloud, taken_along("c", count(stock(), 5, 1, NEW), written=purged - 1))
    assert cloud.verdicts()["c"] == "rejected gone"
    send(cloud, command("c", count(stock(), 5, 2, NEW))._replace(root=OLD))
    assert cloud.verdicts()["c"] == "accepted"
    assert cloud.value(stock(), "on_hand") == 5


def test_a_document_that_was_there_all_the_time_takes_it(cloud: Cloud) -> None:
    send(cloud, command("there", count(ledger(), 1, 1), count(stock(), 5, 1)), replica=OLD)
    send(cloud, command("gone", change(stock(), "", "delete", None, 2, context={})), replica=OLD)
    cloud.fly()
    cloud.forget(2, stock())
    cloud.merge_value(cloud.batch(replica=NEW, ends=(OLD,)))
    send(cloud, taken_along("c", count(ledger(), 10, 1, NEW), written=0))
    assert cloud.verdicts()["c"] == "accepted"
    assert cloud.value(ledger(), "sold") == 11


def test_who_claims_to_have_read_what_was_not_there_yet_had_read_another_log(cloud: Cloud, purged: int) -> None:
    send(cloud, taken_along("c", count(stock(), 5, 1, NEW), written=1 << 40))
    assert cloud.verdicts()["c"] == "rejected gone"


@pytest.mark.parametrize("row_out", [True, False], ids=["its row is out", "nothing is out"])
def test_it_is_gone_as_well_when_the_record_is_read_again_after_a_crash(
    cloud: Cloud, purged: int, row_out: bool
) -> None:
    cloud.fly()
    value = cloud.batch(taken_along("old", count(stock(), 5, 1, NEW), written=purged - 1), replica=NEW, read=3)
    cloud.merge_value(value)
    (part,) = cloud.seal().partitions
    if row_out:
        cloud.rows.update(part.rows)
    cloud.new_life(committed=4)
    cloud.merge_value(value, offset=4)
    assert cloud.verdicts()["old"] == "rejected gone"
    assert not cloud.rules.collections["Stock"].type.exists(cloud.state(stock()))
