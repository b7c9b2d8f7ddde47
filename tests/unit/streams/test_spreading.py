"""A closed space laid anew by another number of partitions is the same read model, and is gone on in as if it had always been so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from driftlog_crdt import PAST, Plain
from driftlog_schemas.identity import CLOSING_REPLICA, CLOUD_REPLICA, DocumentId
from driftlog_schemas.messages import Command, DocumentOp, Forgetting
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.core import memory, over, taken
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.errors import SetupProblem
from driftlog_streams.replaying import predecessors, publication, spreading
from driftlog_streams.replaying.predecessors import gathered
from tests.few import few
from tests.unit.streams.cloud import IDS, change, command, count
from tests.unit.streams.spread import AFTER, BEFORE, Side, World
from tests.unit.streams.test_rights_that_come_back import app as hall

SCOPES = [f"store {number}" for number in range(12)]
OTHER = "store-2.1"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.end()


def stock(scope: str = SCOPES[0], sku: str = "tea") -> DocumentId:
    return DocumentId("Stock", scope, sku)


def sell(scope: str, name: str, seq: int, replica: str = "store-1.1", amount: int = 1) -> Command:
    return command(name, count(stock(scope), amount, seq, replica))


def once_in(partition: int, partitions: int = BEFORE) -> str:
    """A scope that lies there."""
    return next(scope for scope in SCOPES if partition_of(scope, partitions) == partition)


def moved_along(name: str, *ops: DocumentOp, written: int, root: str = "store-1.1") -> Command:
    return command(name, *ops)._replace(root=root, written=written)


@pytest.mark.parametrize("at_once", [1, 500])
def test_every_document_is_there_once_as_it_was_in_the_partition_of_its_scope(
    world: World, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "AT_ONCE", at_once)
    monkeypatch.setattr(publication, "AT_ONCE", at_once)
    random, seqs = Random(7), dict[tuple[str, DocumentId], int]()
    for turn in range(200):
        replica = random.choice(["store-1.1", OTHER, "store-3.1"])
        document = stock(random.choice(SCOPES), random.choice(["tea", "milk"]))
        seq = seqs[replica, document] = seqs.get((replica, document), 0) + 1
        field = random.choice(["on_hand", "tags", "name"])
        op = {
            "on_hand": change(document, "on_hand", "increment", turn, seq, replica=replica),
            "tags": change(document, "tags", "add", f"t{turn}", seq, replica=replica),
            "name": change(document, "name", "set", f"n{turn}", seq, replica=replica),
        }[field]
        world.before.send(command(f"c{turn}", op), replica=replica)
    after = world.move()
    there = world.before.documents()
    assert after.documents() == there and len(there) == world.documents > len(SCOPES)
    for number, store in enumerate(after.stores):
        for key, _ in store.documents():
            assert partition_of(key.decode().split("/")[1], AFTER) == number
        for scope in SCOPES:
            if partition_of(scope, AFTER) == number:
                before = world.before.stores[world.before.place(scope)].digest(scope)
                assert world.made.stores[number].digest(scope) == store.digest(scope) == before, "agents compare by it"
    assert sum(1 for store in after.stores for _ in store.documents()) == len(there)


@pytest.mark.parametrize("seed", few(range(6), 2))
def test_what_comes_of_all_is_what_would_have_come_of_one_log(world: World, seed: int) -> None:
    """The same commands, also in a space of one partition that never moved: the same state of each document in the end."""
    random, seqs = Random(seed), dict[tuple[str, DocumentId], int]()
    whole = world.beside(1)
    documents = [stock(scope, sku) for scope in SCOPES[:6] for sku in ("tea", "milk")]

    def act(side: Side, life: str, turn: int) -> None:
        document, replica = random.choice(documents), f"{random.choice(['store-1', 'store-2', 'store-3'])}.{life}"
        seq = seqs[replica, document] = seqs.get((replica, document), 0) + 1
        seen = {one: at for one, at in side.state(document).vector.items() if one != replica and random.random() < 0.7}
        choices: list[tuple[str, str, Plain]] = [
            ("on_hand", "increment", turn),
            ("tags", "add", f"t{turn % 5}"),
            ("tags", "remove", f"t{turn % 5}"),
            ("name", "set", f"n{turn}"),
            ("price", "set", turn),
        ]
        field, kind, value = random.choice(choices)
        context = seen if kind in ("set", "remove") else None
        op = change(document, field, kind, value, seq, replica=replica, context=context)
        for each in (side, whole):
            each.send(command(f"c{turn}", op), replica=replica)

    for turn in range(120):
        act(world.before, "1", turn)
    after = world.move()
    for turn in range(120, 240):
        act(after, "2", turn)
    assert set(after.said.values()) == {"accepted"} and after.said.items() <= whole.said.items()
    for document in documents:
        assert after.state(document).vector == whole.state(document).vector
        codec = after.rules.collections["Stock"].codec
        assert codec.encode(document, after.state(document)) == codec.encode(document, whole.state(document))


def test_a_device_goes_on_there_under_a_new_life(world: World) -> None:
    scope = SCOPES[0]
    world.before.send(sell(scope, "before", 1, amount=5))
    after = world.move()
    op = change(stock(scope), "name", "set", "x", 1, replica="store-1.2", context={"store-1.1": 1})
    after.send(command("after", op), replica="store-1.2", ends=("store-1.1",))
    after.send(sell(scope, "more", 1, OTHER), replica=OTHER)
    assert after.said == {"after": "accepted", "more": "accepted"}
    assert (after.value(stock(scope), "on_hand"), after.value(stock(scope), "name")) == (6, "x")


def test_what_a_life_of_before_sends_there_is_not_taken(world: World) -> None:
    scope = SCOPES[0]
    world.before.send(sell(scope, "before", 1))
    after = world.move()
    after.send(sell(scope, "old", 2))
    assert after.said == {} and after.value(stock(scope), "on_hand") == 1
    row = after.row("store-1.1", after.place(scope))
    assert row is not None and row.notice is not None and row.notice.code == "ended"


def test_who_has_not_read_it_is_away(world: World) -> None:
    scope = SCOPES[0]
    world.before.send(sell(scope, "before", 1))
    after = world.move()
    after.send(sell(scope, "blind", 1, "store-1.2"), replica="store-1.2", read=after.begins - 2)
    row = after.row("store-1.2", after.place(scope))
    assert after.said == {} and row is not None and row.notice is not None and row.notice.code == "away"


def test_where_nothing_lies_nobody_has_to_have_read_it(world: World) -> None:
    """What reads say that they have read they know from what lies there: who could never say it would be away for ever."""
    world.before.send(sell(SCOPES[0], "one", 1))
    after = world.move()
    empty = next(scope for scope in map("s{}".format, range(99)) if after.place(scope) != after.place(SCOPES[0]))
    after.send(sell(empty, "first", 1, "store-2.9"), replica="store-2.9", read=-1)
    after.send(sell(SCOPES[0], "unread", 1, "store-2.9"), replica="store-2.9", read=-1)
    assert after.said == {"first": "accepted"}


def test_a_command_that_another_copy_of_the_folder_had_brought_counts_once(world: World) -> None:
    """Two copies of a folder: one has brought the command by a later life before the log ended, the other brings it behind."""
    scope = SCOPES[0]
    world.before.send(sell(scope, "first", 1))
    again = moved_along("promised", count(stock(scope), 1, 1, "store-1.2"), written=0)
    world.before.send(again, replica="store-1.2", ends=("store-1.1",))
    after = world.move()
    late = moved_along("promised", count(stock(scope), 1, 1, "store-1.3"), written=after.begins - 1)
    new = moved_along("never sent", count(stock(scope), 1, 2, "store-1.3"), written=after.begins - 1)
    after.send(late, new, replica="store-1.3")
    assert after.said == {"promised": "accepted repeated", "never sent": "accepted"}
    assert after.value(stock(scope), "on_hand") == 3


def test_all_partitions_tell_what_they_know_of_a_life(world: World) -> None:
    first, second = once_in(0), once_in(1)
    for name, scope in (("one", first), ("two", second)):
        world.before.send(sell(scope, f"begins {name}", 1))
        brought = moved_along(name, count(stock(scope), 1, 1, "store-1.2"), written=0)
        world.before.send(brought, replica="store-1.2", ends=("store-1.1",))
    after = world.move()
    for name, scope in (("one", first), ("two", second)):
        again = moved_along(name, count(stock(scope), 1, 1, "store-1.3"), written=after.begins - 1)
        after.send(again, replica="store-1.3")
    assert after.said == {"one": "accepted repeated", "two": "accepted repeated"}


def test_who_had_not_read_that_the_row_of_a_life_went_is_told_so(world: World) -> None:
    scope = once_in(0)
    world.before.send(sell(scope, "first", 1))
    brought = moved_along("brought", count(stock(scope), 1, 1, "store-1.2"), written=0)
    at = world.before.send(brought, replica="store-1.2", ends=("store-1.1",))
    world.before.forget(0, at + 1)
    removed = world.before.send(replica=CLOUD_REPLICA, at=0, forget=Forgetting(at + 1, over=("store-1.1",)))
    after = world.move()
    assert gathered(world.before.rules, world.closed).since == (removed, 0, 0)
    again = moved_along("brought", count(stock(scope), 1, 1, "store-1.3"), written=at)
    new = moved_along("new", count(stock(scope), 1, 2, "store-1.3"), written=after.begins - 1)
    after.send(again, new, replica="store-1.3")
    assert after.said == {"brought": "rejected maybe_counted", "new": "accepted"}


def test_where_more_had_come_than_a_row_keeps_a_person_decides(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = SCOPES[0]
    world.before.send(sell(scope, "first", 1))
    for number in range(3):
        brought = moved_along(f"c{number}", count(stock(scope), 1, number + 1, "store-1.2"), written=0)
        world.before.send(brought, replica="store-1.2", ends=("store-1.1",))
    for module in (predecessors, taken):
        monkeypatch.setattr(module, "MAX_TAKEN", 2)
    after = world.move()
    again = moved_along("c1", count(stock(scope), 1, 1, "store-1.3"), written=after.begins - 1)
    after.send(again, replica="store-1.3")
    assert after.said == {"c1": "rejected maybe_counted"}
    assert after.value(stock(scope), "on_hand") == 4


def test_what_was_purged_does_not_come_back(world: World) -> None:
    scope = SCOPES[0]
    there, document = world.before.place(scope), stock(scope)
    world.before.send(sell(scope, "made", 1, OTHER), replica=OTHER)
    had_read = world.before.ends[there] - 1
    gone = command("gone", change(document, "", "delete", None, 2, replica=OTHER, context={OTHER: 1}))
    at = world.before.send(gone, replica=OTHER)
    purged = world.before.forget(there, at + 1, document)
    after = world.move()
    assert gathered(world.before.rules, world.closed).since[there] == purged > had_read
    late = moved_along("late", count(document, 1, 1, "store-1.2"), written=had_read)
    knowing = moved_along("knowing", count(stock(scope, "new"), 1, 1, "store-1.2"), written=after.begins - 1)
    after.send(late, knowing, replica="store-1.2", ends=("store-1.1",))
    assert after.said == {"late": "rejected gone", "knowing": "accepted"}


def test_each_partition_says_by_itself_since_when_its_readers_knew(world: World) -> None:
    first, second = once_in(0), once_in(1)
    world.before.send(sell(first, "made", 1, OTHER), replica=OTHER)
    for number in range(20):
        world.before.send(sell(second, f"busy {number}", number + 1, OTHER), replica=OTHER)
    document = stock(first)
    gone = change(document, "", "delete", None, 2, replica=OTHER, context={OTHER: 1})
    at = world.before.send(command("gone", gone), replica=OTHER)
    purged = world.before.forget(0, at + 1, document)
    known = world.close()
    assert known.since == (purged, 0, 0) and known.purged == purged


@pytest.mark.parametrize(
    ("inactive", "spender", "verdict"),
    [(False, "store-1.2", "accepted"), (False, "store-2.2", "rejected invalid"), (True, "store-2.2", "accepted")],
)
def test_rights_go_over(
    tmp_path: Path, inactive: bool, spender: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the device whose lives had them, or to the counter's holder where that may write no more."""
    monkeypatch.setattr(memory, "FOLD_FROM", 2)
    world = World(tmp_path, hall.contract.spaces["retail"])
    if inactive:
        world.inactive.add("store-1")
    event = DocumentId("Event", SCOPES[0], "x")

    def act(replica: str, seq: int, kind: str, value: object) -> Command:
        return command(f"{kind} {seq}", change(event, "kept", kind, value, seq, replica=replica))  # type: ignore[arg-type]

    world.before.send(act(OTHER, 1, "transfer", ["store-1.1", 10]), replica=OTHER)
    world.before.send(act("store-1.1", 1, "decrement", 1))
    after = world.move()
    after.send(act("store-3.1", 1, "increment", 0), replica="store-3.1")
    after.send(act(spender, 1, "increment", 0), replica=spender)
    after.send(act(spender, 2, "decrement", 9), replica=spender)
    assert list(after.said.values())[-1] == verdict
    assert after.value(event, "kept") == (0 if verdict == "accepted" else 9)
    world.end()


def test_a_life_that_was_forgotten_by_name_stays_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a writer had seen of it counts as seen, in the partition that has folded it and in its successors."""
    monkeypatch.setattr(memory, "FOLD_FROM", 2)
    scope = SCOPES[0]
    there, document = world.before.place(scope), stock(scope)
    at = world.before.send(sell(scope, "old", 1))
    world.before.send(sell(scope, "other", 1, OTHER), replica=OTHER)
    world.before.forget(there, at + 1, retired=["store-1.1"])
    world.before.forget(there, at + 3)
    world.before.send(sell(scope, "fold", 1, "store-3.1"), replica="store-3.1")
    world.before.send(sell(scope, "fold", 1, "store-3.2"), replica="store-3.2")
    assert PAST in world.before.state(document).vector
    after = world.move()
    seen = change(document, "name", "set", "x", 1, replica="store-2.2", context={"store-1.1": 1, OTHER: 1})
    after.send(command("named", seen), replica="store-2.2")
    assert after.said == {"named": "accepted"}


def test_open_conflicts_are_told_in_the_successors_topic(world: World) -> None:
    scope = SCOPES[0]
    document = stock(scope)
    world.before.send(command("one", change(document, "price", "set", 1, 1)))
    world.before.send(command("two", change(document, "price", "set", 2, 1, replica=OTHER)), replica=OTHER)
    world.before.send(sell(SCOPES[1], "plain", 1))
    after = world.move()
    ((partition, told),) = world.conflicts(after)
    assert partition == after.place(scope)
    assert (told.document, told.field, {version.value for version in told.versions}) == (document, "price", {1, 2})


def test_nothing_waits_there_and_the_lives_of_the_cloud_begin_anew(world: World) -> None:
    scope = SCOPES[0]
    world.before.forget(world.before.place(scope), 0)
    world.before.send(sell(scope, "gap", 2))
    after = world.move()
    assert world.before.said["gap"] == "deferred closed"
    assert not any(record.topic == after.rules.topics.parked for record in world.published)
    for number in range(AFTER):
        row = after.row(CLOUD_REPLICA, number)
        assert row is not None and not row.head and after.row(CLOSING_REPLICA, number) is None
    after.forget(after.place(scope), after.begins)
    row = after.row(CLOUD_REPLICA, after.place(scope))
    assert row is not None and row.last == 1 and row.forgot[-1].floor == after.begins


def test_lives_without_a_row_are_known_in_every_partition(world: World) -> None:
    scope = SCOPES[0]
    there = world.before.place(scope)
    at = world.before.send(sell(scope, "old", 1))
    world.before.send(replica="store-1.2", at=there, ends=("store-1.1",))
    world.before.forget(there, at + 2)
    world.before.send(replica=CLOUD_REPLICA, at=there, forget=Forgetting(at + 2, over=("store-1.1",)))
    after = world.move()
    known = gathered(world.before.rules, world.closed)
    assert len(known.gone) == 1 and "store-1.1" not in known.lives
    for number in range(AFTER):
        row = after.row("store-1.1", number)
        assert row is not None and row.ended and 0 <= row.ended_at < after.begins


def test_more_of_them_than_a_row_keeps_are_refused_before_anything_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_lives_without_a_row_are_known_in_every_partition(world)
    monkeypatch.setattr(over, "MAX_OVER", 0)
    with pytest.raises(SetupProblem, match="1 lives that are over"):
        gathered(world.before.rules, world.closed)


def test_a_document_that_cannot_be_read_is_not_left_behind_in_silence(world: World) -> None:
    world.before.send(sell(SCOPES[0], "one", 1))
    known = world.close()
    store = world.closed[0].store
    store.write([(b"Unheard/s/1", b"x")], store.mark)
    with pytest.raises(SetupProblem, match="Unheard/s/1 cannot be read"):
        spread_into(world, known)


def spread_into(world: World, known: predecessors.Predecessors) -> None:
    space = replace(world.before.rules.space, partitions=AFTER)
    targets = [world._stores.partition(10 + number) for number in range(AFTER)]
    spreading.spread(SpaceRules(space, IDS), world.closed, targets, known, 99, lambda name: True)
