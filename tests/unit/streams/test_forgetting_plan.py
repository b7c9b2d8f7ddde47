"""What is to be forgotten next follows from rows, tombstones and a floor; where nothing would change nothing is written."""

from __future__ import annotations

from dataclasses import replace

from driftlog_schemas import bounds
from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, encode_body
from driftlog_schemas.forgetting_codec import MAX_PURGE, MAX_RETIRED, digest_of
from driftlog_schemas.identity import CLOUD_REPLICA, DocumentId, document_key
from driftlog_schemas.messages import ChainRow, Forgetting, Forgot
from driftlog_streams.core.forgetting import is_full, next_batch, plan, readable, tombstones
from driftlog_streams.core.memory import MAX_FORGOT
from tests.unit.streams.cloud import Cloud, change, command, count, key, ledger, stock

HEAD = bytes(16)


def row(replica: str, offset: int, *forgot: Forgot, ended: str = "") -> ChainRow:
    device = replica.rpartition(".")[0]
    return ChainRow(device, replica, "retail", 0, 3, HEAD, 1, (), offset=offset, forgot=forgot, ended=ended)


def everybody(device: str) -> bool:
    return True


def test_lives_that_are_silent_since_below_the_floor_are_over_and_nobody_else() -> None:
    rows = [
        row("a.1", 9),
        row("b.1", 10),
        row("c.1", 3, ended="ended"),
        row(CLOUD_REPLICA, 2),
        replace(row("d.1", -1), head=b""),
        row("gone.1", 3),
    ]
    found = plan(None, 10, (), rows, lambda device: device != "gone")
    assert found == Forgetting(10, {"a.1": "a", "gone.1": ""}, over=("c.1",))


def test_a_silent_life_that_was_heard_of_is_not_over() -> None:
    rows = [row("idle.1", 3), row("away.1", 3)]
    assert plan(None, 10, (), rows, everybody, {"idle.1"}) == Forgetting(10, {"away.1": "away"})


def test_nothing_is_written_where_nothing_would_change() -> None:
    known = row(CLOUD_REPLICA, 20, Forgot(20, 10, 0))
    assert plan(known, 15, (), (), everybody) is None, "its own record is not below the floor yet"
    assert plan(known, 9, [(b"k", HEAD)], (), everybody) is None, "a floor never falls"
    assert plan(known, 21, (), (), everybody) == Forgetting(21)
    assert plan(known, 10, [(b"k", HEAD)], (), everybody) == Forgetting(10, {}, {b"k": HEAD})
    assert plan(None, -1, (), (), everybody) is None
    full = row(CLOUD_REPLICA, 20, *[Forgot(20, 10, 0)] * MAX_FORGOT)
    assert plan(full, 99, (), (), everybody) is None


def test_what_does_not_fit_waits_for_the_next_look() -> None:
    rows = [row(f"d{number}.1", 1) for number in range(MAX_RETIRED + 5)]
    dead = [(b"%d" % number, HEAD) for number in range(MAX_PURGE + 5)]
    found = plan(None, 10, dead, rows, everybody)
    assert found is not None
    assert (len(found.retired), len(found.purge)) == (MAX_RETIRED, MAX_PURGE)


def test_however_long_the_names_are_one_record_holds_what_is_to_be_forgotten() -> None:
    """What did not fit would never be written, and nothing else of any partition that is looked at behind this one."""
    scope = "s" * bounds.MAX_SCOPE
    dead = [(document_key(DocumentId("Stock", scope, f"{n:0512}")), HEAD[:8]) for n in range(MAX_PURGE)]
    rows = [row(f"{n:063}.{n:08}", offset=1) for n in range(MAX_RETIRED)]
    found = plan(None, 10, dead, rows, lambda device: True)
    assert found is not None and len(found.purge) > 300 and len(found.retired) > 1500
    assert len(encode_body(next_batch(None, "retail", 0, found))) < MAX_BATCH_BYTES
    assert is_full(found)
    small = plan(None, 10, dead[:5], rows[:5], lambda device: True)
    assert small is not None and not is_full(small)


def test_the_next_batch_is_the_next_of_the_clouds_chain() -> None:
    assert next_batch(None, "retail", 0, Forgetting(1)).number == 1
    batch = next_batch(row(CLOUD_REPLICA, 20), "retail", 0, Forgetting(1))
    assert (batch.replica, batch.number, batch.prev, batch.floor) == (CLOUD_REPLICA, 4, HEAD, 4)


def test_what_cannot_be_read_stays_as_it_is(cloud: Cloud) -> None:
    cloud.merge(command("a", count(stock(), 1, 1)), command("b", count(ledger(), 1, 1)))
    cloud.merge(command("c", change(stock(), "", "delete", None, 2, context={})))
    cloud.fly()
    stored = [(name, value) for name, value in cloud.store.items() if value is not None]
    strange = [(b"Stock/s1/bad", b"no state"), (b"Elsewhere/s1/x", b""), (b"no key", b"")]
    rows = [b"no row", *cloud.rows.values()]
    assert [found.replica for found in readable(cloud.rules, rows)] == ["store-1.1"]
    assert list(tombstones(cloud.rules, [*stored, *strange])) == [(key(stock()), digest_of({"store-1.1": 2}))]
