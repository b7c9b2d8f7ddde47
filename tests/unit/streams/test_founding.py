"""Texts and lists under lives that come and go: flat, and nothing lost that is on its way while they are founded anew."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from driftlog import App, Counter, Document, List, Text
from driftlog_crdt import DocumentState, EverybodyBut, sequence
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import DocumentOp
from driftlog_streams.core import memory
from driftlog_streams.core.flight import Stage
from tests.unit.streams.cloud import NOW_MS, Cloud, command, key

app = App("office")


@app.space("retail", partitions=1).collection(scope="place", id="name")
class Board(Document):
    place: str
    name: str
    note: Text
    tasks: List[str]
    looks: Counter


BOARD = DocumentId("Board", "s1", "today")
MOST_BYTES = 12_000
"""What a board takes at most, however many lives have written on it."""
KIND = app.contract.collection("Board").document


class Life:
    """A device's life that has read the partition up to `read` and writes on what it saw then, with its own changes on it."""

    def __init__(self, cloud: Cloud, replica: str) -> None:
        self.cloud, self.replica = cloud, replica
        self.own: list[DocumentOp] = []
        self.catch_up()

    def catch_up(self) -> None:
        self.read = self.cloud.end - 1
        self.view = KIND.copy(self.cloud.state(BOARD))
        seen = self.view.vector.get(self.replica, 0)
        self.own = [pair for pair in self.own if pair.op.seq > seen]
        for _, op in self.own:
            KIND.apply(self.view, op, EverybodyBut(self.replica))

    def change(self, field: str, kind: str, value: Any) -> DocumentOp:
        op = KIND.prepare(self.view, self.replica, NOW_MS << 16, field, kind, value)
        KIND.apply(self.view, op, EverybodyBut(self.replica))
        self.own.append(DocumentOp(BOARD, op))
        return self.own[-1]

    def send(self, *ops: DocumentOp, read: int | None = None, **more: Any) -> None:
        sent = command(f"{self.replica}:{ops[0].op.seq}", *ops)._replace(**more)
        ends = (sent.root,) if sent.root else ()
        self.cloud.merge_value(
            self.cloud.batch(sent, replica=self.replica, read=self.read if read is None else read, ends=ends)
        )


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(declared_space=app.contract.spaces["retail"])


def shown(state: DocumentState) -> tuple[Any, Any]:
    return KIND.field_value(state, "note"), KIND.field_value(state, "tasks")


def many(cloud: Cloud, lives: int, first: int = 1) -> list[int]:
    """Lives that come, see, write somewhere, take something away, and go; the size of the state now and then."""
    random, sizes = Random(lives), []
    for number in range(first, first + lives):
        life = Life(cloud, f"store-1.{number:x}")
        text, tasks = shown(life.view)
        ops = [life.change("note", "insert", [random.randint(0, len(text)), "ab c"])]
        ops.append(life.change("tasks", "insert", [random.randint(0, len(tasks)), [f"t{number}"]]))
        ops.append(life.change("looks", "increment", 1))
        if len(text) > 200:
            ops.append(life.change("note", "delete", [random.randint(0, len(text) - 10), 4]))
        if len(tasks) > 20:
            ops.append(life.change("tasks", "delete", [0, 1]))
        ends = (f"store-1.{number - 1:x}",) if number > first else ()
        value = cloud.batch(command(f"c{number}", *ops), replica=life.replica, ends=ends, read=life.read)
        cloud.merge_value(value, append_ms=NOW_MS + number * 3_600_000)
        if number % 25 == 0:
            cloud.forget(cloud.end - 1)
        if number % 50 == 0:
            cloud.fly()
            sizes.append(len(cloud.store[key(BOARD)] or b""))
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("lives", [1_000, pytest.param(10_000, marks=pytest.mark.deep)])
def test_thousands_of_short_lived_devices_leave_a_text_and_a_list_flat(cloud: Cloud, lives: int) -> None:
    sizes = many(cloud, lives)
    text, tasks = shown(cloud.state(BOARD))
    assert (len(text), len(tasks), cloud.value(BOARD, "looks")) == (204, 21, lives)
    assert max(sizes[2:]) < 1.5 * max(sizes[2:8])
    assert max(sizes) < MOST_BYTES


@pytest.mark.slow
def test_the_same_without_founding_grows(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "FEW", 1 << 30)
    sizes = many(cloud, 400)  # each costs more than the one before
    assert sizes[-1] > MOST_BYTES
    assert sizes[-1] > 1.8 * sizes[len(sizes) // 2 - 1]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three lives that are over are enough to found anew."""
    monkeypatch.setattr(memory, "FOLD_FROM", 4)
    monkeypatch.setattr(sequence, "FEW", 2)


def passing(cloud: Cloud, number: int, *change: Any) -> None:
    """A life that makes one change, and is over."""
    life = Life(cloud, f"store-1.{number:x}")
    sent = command(f"c{number}", life.change(*change))
    cloud.merge_value(cloud.batch(sent, replica=life.replica, ends=(life.replica,), read=life.read))


def founded(cloud: Cloud, *words: str) -> Life:
    """Three lives have written these words into the note and are over; the floor is above them. Another is there that has read it all."""
    for number, word in enumerate(words, 1):
        passing(cloud, number, "note", "insert", [sum(map(len, words[: number - 1])), word])
    for _ in range(2):  # the last one's end lies below the second one's floor
        cloud.forget(cloud.end - 1)
    return Life(cloud, "store-2.1")


def found(cloud: Cloud) -> None:
    """The fourth life writes: the three are folded, and the note is founded anew."""
    life = Life(cloud, "store-1.f")
    life.send(life.change("note", "insert", [0, "^"]))
    assert cloud.state(BOARD).fields["note"].before is not None


@pytest.mark.usefixtures("few")
def test_what_was_on_its_way_while_the_text_was_founded_anew_is_merged_where_it_was_meant(cloud: Cloud) -> None:
    away = founded(cloud, "one ", "two ", "three")
    offline = [away.change("note", "insert", [4, "and "]), away.change("note", "delete", [8, 4])]
    offline.append(away.change("note", "insert", [8, "then "]))
    assert shown(away.view)[0] == "one and then three"
    written = away.read
    found(cloud)
    away.send(offline[0])
    away.catch_up()  # with what it has not sent on top of what was founded anew
    assert shown(away.view)[0] == "^one and then three"
    away.send(*offline[1:], read=written)
    assert set(cloud.verdicts().values()) == {"accepted"}
    assert shown(cloud.state(BOARD))[0] == "^one and then three"
    later = away.change("note", "insert", [len("^one and then three"), "!"])
    away.send(later)
    assert shown(cloud.state(BOARD))[0] == "^one and then three!"


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("stage", list(Stage))
def test_a_worker_that_dies_over_a_founding_comes_to_the_same_bytes(cloud: Cloud, stage: Stage) -> None:
    """At each point of its flights; the next worker reads the same records again."""
    undisturbed = Cloud(declared_space=app.contract.spaces["retail"])
    for one in (cloud, undisturbed):
        away = founded(one, "one ", "two ", "three")
        one.fly()
        life, records, begin = Life(one, "store-1.f"), [], one.end
        for sender, *ops in (
            (life, life.change("note", "insert", [0, "^"]), life.change("looks", "increment", 1)),
            (away, away.change("note", "insert", [4, "and "])),
        ):
            records.append(one.batch(command(sender.replica, *ops), replica=sender.replica, read=sender.read))
            one.merge_value(records[-1])
            one.seal()
        if one is cloud:
            one.carry_out(until=stage)
            one.new_life(committed=begin)
            for offset, record in enumerate(records, begin):
                one.merge_value(record, offset)
        one.carry_out()
        one.fly()
    assert shown(cloud.state(BOARD))[0] == "^one and two three"
    assert cloud.value(BOARD, "looks") == 1
    assert cloud.store[key(BOARD)] == undisturbed.store[key(BOARD)]


@pytest.mark.usefixtures("few")
def test_what_names_the_old_text_when_nobody_can_any_more_goes_to_a_person(cloud: Cloud) -> None:
    """Its device was away for too long, and its new life has taken it along."""
    away = founded(cloud, "one ", "two ", "three")
    offline = away.change("note", "insert", [4, "and "])
    found(cloud)
    cloud.forget(cloud.end - 1)
    for number in range(0x10, 0x16):
        passing(cloud, number, "looks", "increment", 1)
        cloud.forget(cloud.end - 1)
    assert cloud.state(BOARD).fields["note"].before is None
    again = Life(cloud, "store-2.2")
    taken = offline._replace(op=_renamed(offline, again.replica))
    again.send(taken, root=away.replica, written=away.read)
    assert cloud.verdicts()["store-2.2:1"] == "rejected gone"
    assert shown(cloud.state(BOARD))[0] == "^one two three"


def _renamed(pair: DocumentOp, replica: str) -> Any:
    from driftlog_crdt.takeover import Takeover

    return KIND.renamed(pair.op, 1, Takeover(pair.op.replica, replica))._replace(context={})


@pytest.mark.usefixtures("few")
def test_an_edit_beside_what_never_was_has_no_effect(cloud: Cloud) -> None:
    away = founded(cloud, "one ", "two ", "three")
    stranger = Life(cloud, "store-2.2")
    stranger.change("note", "insert", [0, "xyz"])
    forged = stranger.change("note", "insert", [2, "!"])  # beside what it has never sent
    found(cloud)
    op = forged.op._replace(seq=1)
    stranger.send(DocumentOp(BOARD, op))
    assert cloud.verdicts()["store-2.2:1"] == "no_effect no_effect"
    assert shown(cloud.state(BOARD))[0] == "^one two three"
    away.send(away.change("note", "insert", [0, "zero "]))
    assert "zero " in shown(cloud.state(BOARD))[0]
