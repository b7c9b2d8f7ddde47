"""A command happens whole or not at all, and once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from driftlog import InvalidInput, Refused
from driftlog_crdt import TooLarge
from driftlog_edge.asking.intent import Earlier
from driftlog_edge.errors import Deleted, DiskFull, NotFound, OutboxFull
from driftlog_edge.ports import Family
from driftlog_edge.store.command_log import Status, entry_of
from driftlog_edge.store.logged import decode_logged
from driftlog_schemas.batch_codec import MAX_COMMAND_BYTES
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS, kept


def pull(replica: Replica, cloud: Cloud) -> None:
    partition = partition_of("s1", PARTITIONS)
    replica.pull_states(cloud.of("retail.state", partition), partition)
    replica.pull_receipts(cloud.of("retail.receipts", partition), partition)


def facts(replica: Replica) -> tuple[object, ...]:
    """All that a failed command must leave as it was."""
    return (
        replica.everything(),
        replica.journal.waiting,
        replica.executor.stamps.clock.last,
        replica.executor._last_lsn,
        len(replica.outbox.queue),
        len(replica.views.backlog),
        replica.value("Stock", "s1", "tea"),
        dict(replica.views.get(DocumentId("Stock", "s1", "tea")).state.vector),
        dict(replica.views.get(DocumentId("Ledger", "s1", "today")).state.vector),
    )


def test_a_command_answers_changes_the_view_and_is_durable_in_all_its_parts(replica: Replica) -> None:
    executed = replica.do("receive", "c1", store="s1", sku="tea", qty=5)

    assert executed.entry.result == 5
    assert executed.entry.dots == (("Stock/s1/tea", replica.lives.replica, 1),)
    assert replica.on_hand("tea") == 5
    found = {family: [k for k, _ in replica.store.scan(family, b"")] for family in Family}
    assert [len(found[f]) for f in (Family.OPLOG, Family.COMMANDS, Family.PENDING, Family.OUTBOX)] == [1, 1, 1, 1]
    command = decode_logged(replica.store.get(Family.OPLOG, found[Family.OPLOG][0]) or b"").command
    assert (command.id, command.name, command.scope, len(command.ops)) == ("c1", "receive", "s1", 1)


def test_one_command_may_change_several_documents_of_its_scope(replica: Replica) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    replica.do("sell", store="s1", sku="tea", qty=2)

    assert replica.on_hand("tea") == 3
    assert replica.value("Ledger", "s1", "today")["sold"] == 2


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("refused", Refused),
        ("defect", ZeroDivisionError),
        ("other_scope", InvalidInput),
        ("other_space", InvalidInput),
        ("too_large", TooLarge),
    ],
)
def test_a_command_that_fails_half_way_changes_nothing(replica: Replica, how: str, error: type[Exception]) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    before = facts(replica)

    with pytest.raises(error):
        replica.do("change_then_fail", store="s1", sku="tea", how=how)

    assert facts(replica) == before
    assert replica.do("receive", store="s1", sku="tea", qty=1).entry.dots == (
        ("Stock/s1/tea", replica.lives.replica, 2),
    )


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("receive", {"store": "s1", "sku": "tea", "qty": 0}, "qty"),
        ("receive", {"store": "s1", "sku": "tea", "qty": "many"}, "qty"),
        ("receive", {"store": "s1", "sku": "tea"}, "qty"),
        ("receive", {"store": "s1", "sku": "tea", "qty": 1, "colour": "red"}, "colour"),
        ("receive", {"store": "s1", "sku": "", "qty": 1}, "sku"),
        ("receive", {"store": "s1", "sku": "x" * 513, "qty": 1}, "sku"),
        ("receive", {"store": "s1", "sku": "a\0b", "qty": 1}, "sku"),
        ("receive", {"store": "s1", "sku": "\ud800" * 200, "qty": 1}, "sku"),
        ("receive", {"store": "elsewhere", "sku": "tea", "qty": 1}, "store"),
        ("count", {"shop": "s1", "article": "x" * 513}, "article"),
        ("count", {"shop": "elsewhere", "article": "tea"}, "shop"),
        ("count", {"shop": "elsewhere"}, "shop"),
        ("pack", {"store": "s1", "boxes": [{"sku": "", "qty": 1}]}, "sku"),
        ("fill", {"store": "s1", "prefix": "p", "count": 501}, "command"),
        ("nonsense", {}, "command"),
    ],
)
def test_bad_input_names_its_field_and_changes_nothing(
    replica: Replica, name: str, arguments: dict[str, object], field: str
) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    before = facts(replica)

    with pytest.raises(InvalidInput) as raised:
        replica.do(name, **arguments)

    assert raised.value.field == field
    assert facts(replica) == before


def test_the_same_id_gives_the_same_answer_and_no_second_effect(replica: Replica) -> None:
    first = replica.do("receive", "c1", store="s1", sku="tea", qty=5)
    replica.do("receive", "c2", store="s1", sku="tea", qty=1)
    again = replica.do("receive", "c1", store="s1", sku="tea", qty=5)

    assert again.entry == first.entry
    assert again.writes is None
    assert replica.on_hand("tea") == 6


def test_the_same_id_is_known_before_it_is_on_disk_and_in_the_next_life(lives: Callable[..., Replica]) -> None:
    replica = lives()
    first = replica.run("receive", "c1", store="s1", sku="tea", qty=5)
    assert replica.run("receive", "c1", store="s1", sku="tea", qty=5).entry == first.entry
    replica.commit()

    reborn = lives()

    assert reborn.do("receive", "c1", store="s1", sku="tea", qty=5).entry == first.entry
    assert reborn.on_hand("tea") == 5


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("receive", {"store": "s1", "sku": "tea", "qty": 6}), ("look", {"store": "s1", "sku": "tea"})],
)
def test_the_same_id_for_something_else_is_refused(replica: Replica, name: str, arguments: dict[str, object]) -> None:
    replica.do("receive", "c1", store="s1", sku="tea", qty=5)

    with pytest.raises(InvalidInput) as raised:
        replica.do(name, "c1", **arguments)

    assert raised.value.field == "Idempotency-Key"
    assert replica.on_hand("tea") == 5


def test_an_endless_id_is_refused(replica: Replica) -> None:
    with pytest.raises(InvalidInput) as raised:
        replica.do("receive", "k" * 129, store="s1", sku="tea", qty=5)
    assert raised.value.field == "Idempotency-Key"


def test_a_refused_command_may_be_tried_again_under_its_id(replica: Replica) -> None:
    with pytest.raises(Refused):
        replica.do("sell", "c1", store="s1", sku="tea", qty=1)
    replica.do("receive", store="s1", sku="tea", qty=5)

    assert replica.do("sell", "c1", store="s1", sku="tea", qty=1).entry.result == 4


def test_a_command_that_changes_nothing_is_answered_and_never_sent(replica: Replica) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    executed = replica.do("look", "c2", store="s1", sku="tea")

    assert (executed.entry.result, executed.entry.status, executed.entry.dots) == (5, Status.MERGED, ())
    assert len(replica.outbox.queue) == 1
    assert replica.entry("c2").result == 5


def test_a_full_outbox_refuses_writes_and_still_answers_what_changes_nothing(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    replica = lives(limit=2)
    replica.do("receive", store="s1", sku="tea", qty=1)
    replica.do("receive", store="s1", sku="tea", qty=1)
    before = facts(replica)

    with pytest.raises(OutboxFull) as raised:
        replica.do("receive", store="s1", sku="tea", qty=1)

    assert raised.value.remedy
    assert facts(replica) == before
    assert replica.do("look", store="s1", sku="tea").entry.result == 2
    (sealed,) = replica.ship()
    with pytest.raises(OutboxFull):
        replica.do("receive", store="s1", sku="tea", qty=1)  # sent is not decided
    cloud.merge(sealed)
    pull(replica, cloud)
    assert replica.do("receive", store="s1", sku="tea", qty=1).entry.result == 3


@pytest.mark.parametrize("limits", [{"limit": 20}, {"limit_bytes": 8_000}], ids=["in commands", "in bytes"])
def test_what_is_low_is_dropped_and_counted_before_the_outbox_is_full(
    lives: Callable[..., Replica], limits: dict[str, int]
) -> None:
    """The last tenth is for the other classes. Nobody is told that it was taken, so nothing that was answered is lost."""
    replica = lives(**limits)
    answered = 0
    with pytest.raises(OutboxFull, match="dropped, for its class is low"):
        for number in range(100):
            replica.do("rename", f"low{number}", store="s1", sku="tea", name="x" * 100)
            answered += 1
    before = facts(replica)
    assert (replica.outbox.dropped, len(replica.outbox.queue)) == (1, answered)
    if "limit" in limits:
        assert answered == 18
    with pytest.raises(OutboxFull, match="dropped"):
        replica.do("rename", "one more", store="s1", sku="tea", name="x")
    assert (facts(replica), replica.outbox.dropped) == (before, 2)
    with pytest.raises(OutboxFull, match="no verdict"):
        for number in range(100):
            replica.do("recall", f"critical{number}", store="s1", sku="tea")
    assert len(replica.outbox.queue) > answered
    assert replica.outbox.dropped == 2, "what is refused for another class was not dropped"


def test_what_was_answered_and_runs_again_is_not_dropped(lives: Callable[..., Replica]) -> None:
    replica = lives(limit=10)
    for number in range(9):
        replica.do("receive", f"c{number}", store="s1", sku="tea", qty=1)
    with pytest.raises(OutboxFull, match="dropped"):
        replica.do("rename", "low", store="s1", sku="tea", name="x")
    arguments = {"store": "s1", "sku": "tea", "name": "x"}
    executed = replica.executor.run("rename", arguments, "low", again=Earlier("mark", replica.lives.replica))
    assert executed.entry.status is Status.PENDING
    assert replica.outbox.dropped == 1


def test_the_outbox_is_bounded_in_bytes_too_and_counts_the_same_after_a_restart(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    replica = lives(limit_bytes=20_000)
    sent = 0
    with pytest.raises(OutboxFull) as raised:
        for number in range(1000):
            replica.do("label", store="s1", prefix=f"sku-{number}-", sizes=[1000])
            sent = number
    assert "outbox_bytes" in str(raised.value)
    assert 10 < sent < 20
    replica = lives(limit_bytes=20_000)
    with pytest.raises(OutboxFull):
        replica.do("receive", store="s1", sku="tea", qty=1)

    sealed = replica.ship()
    assert replica.outbox.sealed.bytes > 10_000
    with pytest.raises(OutboxFull):
        for number in range(10):  # sealed together they take less, and they still count
            replica.do("label", store="s1", prefix=f"sku-{number}-", sizes=[1000])
    replica = lives(limit_bytes=20_000)
    with pytest.raises(OutboxFull):
        replica.do("receive", store="s1", sku="tea", qty=1)
    for batch in sealed:
        cloud.merge(batch)
    pull(replica, cloud)
    replica.do("receive", store="s1", sku="tea", qty=1)


def test_a_full_disk_fails_the_command_and_leaves_no_trace(replica: Replica) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    before = facts(replica)
    replica.store.full = True

    with pytest.raises(DiskFull):
        replica.do("receive", "c1", store="s1", sku="tea", qty=1)

    assert facts(replica) == before
    assert entry_of(replica.journal, "c1") is None
    replica.store.full = False
    assert replica.do("receive", "c1", store="s1", sku="tea", qty=1).entry.dots[0][2] == 2


def test_a_write_without_a_command_names_field_op_and_arguments(replica: Replica) -> None:
    document = DocumentId("Stock", "s1", "tea")
    executed = replica.executor.write(document, [("on_hand", "increment", [5]), ("tags", "add", ["new"])], "w1")
    replica.journal.stage(executed.writes or {}, sync=True)
    replica.commit()

    assert replica.value("Stock", "s1", "tea")["tags"] == ["new"]
    assert (
        replica.executor.write(document, [("on_hand", "increment", [5]), ("tags", "add", ["new"])], "w1").writes is None
    )
    for changes, field in (
        ([], "body"),
        ([("colour", "set", ["red"])], "field"),
        ([("on_hand", "explode", [])], "op"),
    ):
        with pytest.raises(InvalidInput) as raised:
            replica.executor.write(document, changes)
        assert raised.value.field == field
    for scope, id, field in (("elsewhere", "tea", "scope"), ("s1", "x" * 513, "id")):
        with pytest.raises(InvalidInput, match="it is the document's s") as raised:
            replica.executor.write(DocumentId("Stock", scope, id), [("on_hand", "increment", [5])])
        assert raised.value.field == field
    assert replica.on_hand("tea") == 5


def test_deleted_and_never_written_documents_are_told_apart(replica: Replica) -> None:
    with pytest.raises(NotFound):
        replica.value("Stock", "s1", "tea")
    replica.do("receive", store="s1", sku="tea", qty=5)
    document = DocumentId("Stock", "s1", "tea")
    executed = replica.executor.write(document, [("", "delete", [])])
    replica.journal.stage(executed.writes or {}, sync=True)

    with pytest.raises(Deleted):
        replica.value("Stock", "s1", "tea")


def test_a_change_that_is_refused_and_caught_leaves_no_gap(lives: Callable[..., Replica]) -> None:
    replica = lives()
    executed = replica.do("stubborn", store="s1", sku="tea")

    assert [seq for _, _, seq in executed.entry.dots] == [1, 2, 3, 4]
    found = (replica.value("Stock", "s1", "tea"), replica.views.get(DocumentId("Stock", "s1", "tea")).size)
    assert (found[0]["on_hand"], found[0]["name"], found[0]["tags"]) == (3, "green", [])
    assert replica.do("receive", store="s1", sku="tea", qty=1).entry.dots[0][2] == 5
    assert lives().on_hand("tea") == 4


def test_a_document_that_was_kept_is_of_no_use_after_its_command(replica: Replica) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    replica.do("keep", "c1", store="s1", sku="tea")
    stock = kept.pop()
    before = facts(replica)

    with pytest.raises(RuntimeError, match="'c1' was used after"):
        stock.on_hand.increment(1)
    with pytest.raises(RuntimeError, match="'c1' was used after"):
        stock.on_hand.value  # noqa: B018  # the reading is what raises
    assert facts(replica) == before


def test_the_largest_command_that_is_accepted_can_be_sealed(replica: Replica) -> None:
    def accepted(count: int, last: int) -> bool:
        sizes = [*[3900] * count, last]
        try:
            replica.do("label", store="s1", prefix=f"{count}-{last}-", sizes=sizes)
        except TooLarge:
            return False
        return True

    count = next(n for n in range(230, 240) if not accepted(n, 3900))
    fits, too_large = 0, 3900
    while fits + 1 < too_large:
        middle = (fits + too_large) // 2
        fits, too_large = (middle, too_large) if accepted(count, middle) else (fits, middle)

    sent = replica.ship()

    assert len(sent) == replica.executor._last_lsn, "one batch for each: no second has room"
    assert max(len(batch.value) for batch in sent) > MAX_COMMAND_BYTES - 100
    assert len(replica.outbox.queue) == 0


def test_a_command_that_looks_at_more_than_the_cache_holds_uses_no_dot_twice(
    lives: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.store.views.CACHED_BYTES", 1)
    replica = lives()
    replica.do("fill", store="s1", prefix="p", count=20)
    for number in range(3):
        replica.do("stocktake", store="s1")
        executed = replica.do("receive", store="s1", sku="new", qty=1)
        assert executed.entry.dots[0][2] == 3 * (number + 1)
    assert lives().on_hand("new") == 9


def test_a_command_knows_when_for_whom_and_what_there_is(replica: Replica) -> None:
    for sku in ("tea", "coffee"):
        replica.do("receive", store="s1", sku=sku, qty=5)
    replica.do("receive", store="s2", sku="elsewhere", qty=5)
    replica.executor.write(DocumentId("Stock", "s1", "coffee"), [("", "delete", [])])
    executed = replica.executor.run("stocktake", {"store": "s1"}, "c9", "ann")

    assert executed.entry.result == {"new": 2, "tea": 6, "zz": 0}
    note = replica.value("Stock", "s1", "zz")["name"]
    assert note == f"ann c9 {datetime.fromtimestamp(replica.clock.ms / 1000, UTC).isoformat()} tea"
