"""An op that takes several dots: merged once, in its order, whole, and remembered so."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog_schemas.messages import Command
from driftlog_streams.core.admission import Refusal
from tests.unit.streams.cloud import Cloud, change, command, count, stock

TEA = stock()


def joined(name: str, amount: int, seq: int, span: int, **changed: Any) -> Command:
    """A command that stands for others, whose changes its op adds up."""
    one = count(TEA, amount, seq)
    return command(name, one._replace(op=one.op._replace(span=span)))._replace(stands_for=(bytes(8),), **changed)


def test_it_is_merged_once_and_in_its_order(cloud: Cloud) -> None:
    cloud.merge(joined("third", 30, 9, 3))
    assert cloud.verdicts() == {"third": "parked gap"}
    cloud.merge(joined("first", 4, 4, 4))
    assert cloud.verdicts()["third"] == "parked gap", "5 and 6 have not come"
    cloud.merge(joined("second", 2, 6, 2))
    assert cloud.verdicts() == {"first": "accepted", "second": "accepted", "third": "accepted"}
    assert (cloud.value(TEA, "on_hand"), cloud.state(TEA).vector) == (36, {"store-1.1": 9})
    cloud.merge(joined("again", 2, 6, 2), command("next", count(TEA, 100, 10)))
    assert (cloud.value(TEA, "on_hand"), cloud.verdicts()["next"]) == (136, "accepted")


def test_a_guard_refuses_all_that_it_stands_for(cloud: Cloud) -> None:
    cloud.merge(command("stocked", count(TEA, 3, 1)))
    cloud.merge(joined("oversold", -5, 6, 5), command("sold", count(TEA, -2, 7)))
    assert cloud.verdicts() == {"stocked": "accepted", "oversold": "rejected recount", "sold": "accepted"}
    assert (cloud.value(TEA, "on_hand"), cloud.state(TEA).vector) == (1, {"store-1.1": 7})


def test_of_which_a_part_was_merged_nothing_more_takes_effect(cloud: Cloud) -> None:
    """Only where a row was lost and a copied folder has sent a shorter row. What cannot be told apart is not counted twice."""
    cloud.merge(joined("short", 2, 2, 2))
    cloud.merge(joined("long", 5, 5, 5))
    cloud.merge(command("next", count(TEA, 10, 6)))
    assert cloud.verdicts() == {"short": "accepted", "long": "rejected invalid", "next": "accepted"}
    assert (cloud.value(TEA, "on_hand"), cloud.state(TEA).vector) == (12, {"store-1.1": 6})


def test_what_another_life_took_along_stands_for_nobody(cloud: Cloud) -> None:
    found = cloud.admit(cloud.batch(joined("c", 2, 2, 2, root="store-1.0"), ends=("store-1.0",)))
    assert isinstance(found, Refusal)
    assert (found.code, "stands for others" in found.reason) == ("malformed", True)


@pytest.mark.parametrize("context", [{"store-2.1": 1}, {}])
def test_what_it_had_seen_must_have_come(cloud: Cloud, context: dict[str, int]) -> None:
    one = change(TEA, "name", "set", "green", 3, context=context)
    cloud.merge(command("set", one._replace(op=one.op._replace(span=3))))
    assert cloud.verdicts() == {"set": "parked gap" if context else "accepted"}
