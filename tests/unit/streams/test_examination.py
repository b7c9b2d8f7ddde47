"""What was found good once is remembered, and never more than that: each verdict is the one that the whole way gives."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from driftlog_crdt import DELETE, DOCUMENT
from driftlog_schemas.devices import with_terms
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command, DocumentOp
from driftlog_streams.core import examination
from driftlog_streams.core.examination import Examiner
from tests.few import few
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, count, device, ledger, stock
from tests.unit.streams.test_rights import declared

SELL = {"Stock": frozenset({"on_hand"}), "Ledger": frozenset({"sold"})}
PARCEL = DocumentId("Parcel", "s1", "p")


def shop() -> Cloud:
    cloud = Cloud()
    cloud.rules.commands = {"sell": declared("sell", SELL), "anything": declared("anything", None)}
    return cloud


def permit(cloud: Cloud, **line: Any) -> None:
    cloud.devices.lines["store-1"] = device(cloud.identities["store-1"], **line)


SALE = command("sale", count(stock(), 1, 1), declared_as="sell")


def following(first: Command, *ops: DocumentOp, **changes: Any) -> Command:
    return first._replace(id="next", ops=ops or (count(stock(), 1, 2),), **changes)


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        (following(SALE), "accepted"),
        (following(SALE, name="anything"), "accepted"),
        (following(SALE, change(stock(), "price", "set", 1, 2)), "rejected forbidden"),
        (following(SALE, change(stock(), "on_hand", "set", 1, 2)), "rejected invalid"),
        (following(SALE, change(stock(), "on_hand", "increment", -1, 2)), "rejected invalid"),
        (following(SALE, change(stock(), "on_hand", "increment", True, 2)), "rejected invalid"),
        (following(SALE, change(stock(), "on_hand", "increment", 1, 2, context={"store-1.1": 2})), "rejected invalid"),
        (following(SALE, change(stock(), DOCUMENT, DELETE, None, 2, context={})), "rejected forbidden"),
        (following(SALE, count(stock(), 1, 2), count(ledger(), -1, 1)), "accepted"),
        (following(SALE, count(stock(), 1, 2), change(ledger(), "nowhere", "add", 1, 1)), "deferred undeclared"),
    ],
)
def test_what_was_found_good_says_nothing_of_what_is_not_the_same(second: Command, verdict: str) -> None:
    cloud = shop()
    cloud.merge(SALE)
    cloud.merge(second)
    assert cloud.verdicts() == {"sale": "accepted", "next": verdict}


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ({"permissions": ("sell",)}, "accepted"),
        ({"permissions": ("anything",)}, "rejected forbidden"),
        ({"scopes": ("s2",)}, "rejected forbidden"),
        ({"not_after_ms": NOW_MS - 1}, "deferred expired"),
    ],
)
def test_a_right_that_is_taken_away_is_not_remembered(line: dict[str, Any], verdict: str) -> None:
    cloud = shop()
    cloud.merge(SALE)
    permit(cloud, **line)
    cloud.merge(following(SALE))
    assert cloud.verdicts() == {"sale": "accepted", "next": verdict}


def test_what_one_device_may_another_may_not() -> None:
    cloud = shop()
    permit(cloud, permissions=("sell",))
    other = command("other", count(stock("oat"), 1, 1, "store-2.1"))
    cloud.merge(other, replica="store-2.1")
    cloud.merge(SALE)
    cloud.merge(command("next", count(stock("oat"), 1, 1)))
    cloud.merge(other._replace(id="more", ops=(count(stock("oat"), 1, 2, "store-2.1"),)), replica="store-2.1")
    assert cloud.verdicts() == {
        "other": "accepted",
        "sale": "accepted",
        "next": "rejected forbidden",
        "more": "accepted",
    }


def test_a_scope_is_looked_at_each_time() -> None:
    cloud = shop()
    permit(cloud, scopes=("s1",))
    elsewhere = DocumentId("Stock", "s2", "tea")
    cloud.merge(SALE, following(SALE, count(elsewhere, 1, 1), scope="s2"))
    assert cloud.verdicts() == {"sale": "accepted", "next": "rejected forbidden"}


def test_what_a_writer_calls_its_commands_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "MAX_STANDINGS", 3)
    monkeypatch.setattr(examination, "MAX_NAMES", 5)
    cloud = Cloud()
    for seq in range(1, 40):
        permit(cloud, permissions=("*", f"right-{seq // 8}"))
        cloud.merge(command(f"c{seq}", count(stock(), 1, seq), declared_as=f"called-{seq}"))
    assert set(cloud.verdicts().values()) == {"accepted"}
    examiner = cloud.merger._net._decider._examiner
    assert len(examiner._granted) <= 3 and max(map(len, examiner._granted.values())) <= 5
    assert len(examiner._good) == 1, "of commands that nobody has declared the same is good"


# -- whole days, with and without a memory


class Day:
    """What several devices of changing rights send, good and bad; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.cloud, self.random = shop(), random.Random(seed)
        self.seqs: Counter[tuple[str, DocumentId]] = Counter()

    def live(self) -> None:
        for number in range(60):
            if self.random.random() < 0.15:
                self._other_terms()
            device_id = self.random.choice(["store-1", "store-2"])
            sent = [self._command(f"{number}-{n}", f"{device_id}.1") for n in range(self.random.randint(1, 4))]
            value = self.cloud.batch(*sent, replica=f"{device_id}.1", app_version=self.random.choice(["", "another's"]))
            self.cloud.merge_value(value, append_ms=NOW_MS + number)
            if self.random.random() < 0.3:
                self.cloud.fly()

    def _other_terms(self) -> None:
        line = self.cloud.devices.lines["store-1"]
        terms = line.latest._replace(
            from_ms=NOW_MS + self.random.randint(0, 60),
            scopes=self.random.choice([("*",), ("s1",), ("s2",)]),
            permissions=self.random.choice([("*",), ("sell",), ("sell", "anything"), ("_write",)]),
            not_after_ms=self.random.choice([0, 0, NOW_MS + 30]),
        )
        self.cloud.devices.lines["store-1"] = with_terms(line, terms)

    def _command(self, name: str, replica: str) -> Command:
        scope = self.random.choice(["s1", "s1", "s2"])
        ops = [self._op(replica, scope) for _ in range(self.random.randint(1, 3))]
        return command(name, *ops, declared_as=self.random.choice(["sell", "sell", "anything", "", "unheard of"]))

    def _op(self, replica: str, scope: str) -> DocumentOp:
        collection, field, kind, value = self.random.choice(
            [
                *[("Stock", "on_hand", "increment", 3)] * 20,
                *[("Ledger", "sold", "increment", 2)] * 10,
                ("Stock", "on_hand", "decrement", 9),
                ("Stock", "on_hand", "increment", -1),
                ("Stock", "on_hand", "set", 1),
                ("Stock", "name", "set", "tea"),
                ("Stock", "name", "set", 7),
                ("Stock", "tags", "add", "hot"),
                ("Stock", "nowhere", "add", 1),
                ("Ghost", "on_hand", "increment", 1),
                ("Parcel", "stage", "set", "lost"),
                ("Address", DOCUMENT, "put", {"street": "long", "city": "here"}),
                ("Address", DOCUMENT, "put", {"street": 7}),
                ("Stock", DOCUMENT, DELETE, None),
            ]
        )
        document = DocumentId(collection, scope, self.random.choice("abcdefgh"))
        self.seqs[replica, document] += 1
        context = {} if kind in ("put", DELETE) else None
        return change(document, field, kind, value, self.seqs[replica, document], replica=replica, context=context)


@pytest.mark.parametrize("seed", few(range(25), 5))
def test_a_day_ends_as_it_does_where_nothing_is_remembered(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known, asked = [], Examiner.nothing_against
    monkeypatch.setattr(Examiner, "nothing_against", lambda *given: known.append(asked(*given)) or known[-1])
    day = Day(seed)
    day.live()
    assert sum(known) > 10, "something was remembered"
    monkeypatch.setattr(Examiner, "nothing_against", lambda self, arrival: False)
    again = Day(seed)
    again.live()
    assert again.cloud.verdicts() == day.cloud.verdicts()
    assert again.cloud.store == day.cloud.store
    assert again.cloud.rows == day.cloud.rows
