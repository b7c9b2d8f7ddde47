"""What only comes down is written by devices with the right to publish, whatever the command is called that brings it."""

from __future__ import annotations

import dataclasses

import pytest

from driftlog_crdt import DELETE, DOCUMENT
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.devices import PUBLISH
from driftlog_schemas.messages import Command
from tests.unit.streams.cloud import SPACE, Cloud, change, command, count, device, ledger, stock

DOWN = dataclasses.replace(
    SPACE,
    collections={
        **SPACE.collections,
        "Ledger": dataclasses.replace(SPACE.collections["Ledger"], direction="down"),
    },
)


@pytest.fixture
def shop() -> Cloud:
    """Where a ledger only comes down, and `store-2` may publish."""
    cloud = Cloud(declared_space=DOWN)
    cloud.devices.lines["store-2"] = device(cloud.identities["store-2"], permissions=("*", PUBLISH))
    return cloud


@pytest.mark.parametrize(
    "sent",
    [
        command("c", count(ledger(), 1, 1)),
        command("c", count(ledger(), 1, 1), declared_as="sell"),
        command("c", change(ledger(), DOCUMENT, DELETE, None, 1, context={})),
        command("c", count(stock(), 1, 1), count(ledger(), 1, 1)),
    ],
    ids=["written", "under a command's name", "deleted", "beside something else"],
)
def test_a_device_may_not_write_it_and_nothing_of_it_is_seen(shop: Cloud, sent: Command) -> None:
    shop.merge(sent)
    assert shop.verdicts() == {"c": "rejected forbidden"}
    assert not any(key.startswith(b"Ledger/") for key in shop.store)


def test_who_may_publish_writes_it(shop: Cloud) -> None:
    shop.merge(command("c", count(ledger(), 1, 1, "store-2.1")), replica="store-2.1")
    assert shop.verdicts() == {"c": "accepted"}


def test_that_one_device_was_let_pass_lets_nobody_else_pass(shop: Cloud) -> None:
    shop.merge(command("mine", count(stock(), 1, 1), declared_as="sell"))
    shop.merge(command("theirs", count(ledger(), 1, 1, "store-2.1"), declared_as="sell"), replica="store-2.1")
    shop.merge(command("late", count(ledger(), 1, 1), declared_as="sell"))
    assert shop.verdicts() == {"mine": "accepted", "theirs": "accepted", "late": "rejected forbidden"}


def test_the_right_to_publish_alone_is_a_right_to_no_command(shop: Cloud) -> None:
    shop.devices.lines["store-2"] = device(shop.identities["store-2"], permissions=(PUBLISH,))
    shop.merge(command("c", count(ledger(), 1, 1, "store-2.1")), replica="store-2.1")
    assert shop.verdicts() == {"c": "rejected forbidden"}
    assert not shop.store


def test_what_another_release_lets_devices_write_waits_for_a_worker_of_it(shop: Cloud) -> None:
    both: SpaceContract = SPACE
    assert both.release != DOWN.release
    shop.merge_value(shop.batch(command("c", count(ledger(), 1, 1)), app_version=both.release))
    assert shop.verdicts() == {"c": "deferred undeclared"}
