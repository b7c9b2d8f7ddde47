"""Who may have what merged."""

from __future__ import annotations

import dataclasses

import pytest

from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, encode_body
from driftlog_schemas.devices import (
    SLACK_MS,
    Device,
    DeviceKey,
    DeviceStatus,
    ahead,
    enrolled,
    with_key,
    with_terms,
)
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Command, SignedBatch
from driftlog_schemas.signing import Identity
from driftlog_streams.core.admission import Admitted, Refusal
from tests.unit.streams.cloud import IDS, NOW_MS, SPACE, Cloud, change, command, count, device, stock
from tests.unit.streams.test_rights import declared

PARCEL = DocumentId("Parcel", "s1", "p")


def refusal(cloud: Cloud, value: bytes | None) -> Refusal:
    admission = cloud.admit(value)
    assert isinstance(admission, Refusal)
    return admission


def signed_by(identity: Identity, batch: Batch, key_id: str | None = None) -> SignedBatch:
    body = encode_body(batch)
    return SignedBatch(identity.device_id, key_id or identity.key_id, identity.sign(body), body)


def plain_batch(**changes: object) -> Batch:
    batch = Batch("retail", 0, "store-1.1", 1, (command("c1", count(stock(), 5, 1)),))
    return dataclasses.replace(batch, **changes)  # type: ignore[arg-type]


def test_a_signed_batch_of_an_enrolled_device_is_admitted(cloud: Cloud) -> None:
    admission = cloud.admit(cloud.batch(command("c1", count(stock(), 5, 1))))
    assert isinstance(admission, Admitted)
    assert admission.device.device_id == "store-1"


@pytest.mark.parametrize("value", [None, b"", b"\x00", b"garbage", b"\x00\x00\x00\x00\x07more garbage"])
def test_foreign_bytes_are_undecodable(cloud: Cloud, value: bytes | None) -> None:
    assert refusal(cloud, value).code == "undecodable"


def test_a_record_over_the_bound_is_refused_unread(cloud: Cloud) -> None:
    assert refusal(cloud, bytes(MAX_BATCH_BYTES + 5000)).code == "too_large"


def test_a_forged_batch_is_nobodys(cloud: Cloud) -> None:
    forger = dataclasses.replace(
        cloud.identities["store-2"], device_id="store-1", key_id=cloud.identities["store-1"].key_id
    )
    found = refusal(cloud, cloud.envelope(signed_by(forger, plain_batch(number=77))))
    assert (found.code, found.device_id, found.known) == ("bad_signature", "store-1", False)


def test_one_flipped_bit_spoils_the_signature(cloud: Cloud) -> None:
    good = signed_by(cloud.identities["store-1"], plain_batch())
    body = bytearray(good.body)
    body[len(body) // 2] ^= 1
    assert refusal(cloud, cloud.envelope(dataclasses.replace(good, body=bytes(body)))).code == "bad_signature"


def test_unknown_device_and_key_may_only_be_new(cloud: Cloud) -> None:
    from driftlog_streams.core.admission import UNKNOWN

    stranger = Identity.create("store-9")
    assert (
        refusal(cloud, cloud.envelope(signed_by(stranger, plain_batch(replica="store-9.1", commands=())))).code
        in UNKNOWN
    )
    known = cloud.identities["store-1"]
    found = refusal(cloud, cloud.envelope(signed_by(known, plain_batch(), key_id="other")))
    assert found.code == "unknown_key" and found.code in UNKNOWN


@pytest.mark.parametrize("status", [DeviceStatus.REVOKED, DeviceStatus.WIPE])
def test_a_revocation_counts_from_its_moment(cloud: Cloud, status: DeviceStatus) -> None:
    line = device(cloud.identities["store-1"], status=status, since_ms=NOW_MS)
    cloud.devices.lines["store-1"] = line
    value = cloud.batch(command("c1", count(stock(), 5, 1)))
    assert isinstance(cloud.admit(value, NOW_MS - 1), Admitted)
    found = cloud.admit(value, NOW_MS)
    assert isinstance(found, Refusal) and found.code == "revoked"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"partition": 1}, "wrong_partition"),
        ({"space": "other"}, "wrong_partition"),
        ({"replica": "store-2.1", "commands": ()}, "wrong_replica"),
        ({"replica": "store-1", "commands": ()}, "wrong_replica"),
    ],
)
def test_a_batch_that_is_not_for_here(cloud: Cloud, changes: dict[str, object], code: str) -> None:
    value = cloud.envelope(signed_by(cloud.identities["store-1"], plain_batch(**changes)))
    assert refusal(cloud, value).code == code


def test_any_life_may_send(cloud: Cloud) -> None:
    identity = cloud.identities["store-1"]
    for replica in ("store-1.aaaaaaaa", "store-1.zzzzzzzz"):
        batch = plain_batch(replica=replica, commands=())
        assert isinstance(cloud.admit(cloud.envelope(signed_by(identity, batch))), Admitted)


def test_ops_of_another_scope_are_refused_not_seen(cloud: Cloud) -> None:
    elsewhere = count(DocumentId("Stock", "s2", "tea"), 5, 1)
    mixed = Command("c1", "", "s1", elsewhere.op.hlc, (count(stock(), 1, 1), elsewhere))
    assert refusal(cloud, cloud.batch(mixed)).code == "malformed"


def test_a_scope_of_another_partition_is_refused_not_seen() -> None:
    from driftlog_streams.core.admission import admit
    from driftlog_streams.core.rules import SpaceRules

    cloud = Cloud()
    wide = SpaceRules(dataclasses.replace(SPACE, partitions=64), IDS)
    found = admit(cloud.batch(command("c1", count(stock(), 5, 1))), NOW_MS, 0, wide, cloud.devices)
    assert isinstance(found, Refusal) and found.code == "wrong_partition"


@pytest.mark.parametrize("seq", [0, -3])
def test_a_dot_that_is_none_is_refused(cloud: Cloud, seq: int) -> None:
    assert refusal(cloud, cloud.batch(command("c1", count(stock(), 5, seq)))).code in ("malformed", "undecodable")


def test_a_refused_batch_counts_nothing_as_seen(cloud: Cloud) -> None:
    cloud.merge_value(
        cloud.envelope(signed_by(Identity.create("store-9"), plain_batch(replica="store-9.1", commands=())))
    )
    cloud.fly()
    assert [n.code for n in cloud.notices()] == ["unknown_device"]
    assert not cloud.store
    assert cloud.acknowledged == [0]


@pytest.mark.parametrize(
    ("line", "sent", "verdict"),
    [
        ({"scopes": ("s2",)}, command("c", count(stock(), 1, 1)), "rejected forbidden"),
        ({"permissions": ("sell",)}, command("c", count(stock(), 1, 1)), "rejected forbidden"),
        ({"permissions": ("_write",)}, command("c", count(stock(), 1, 1)), "accepted"),
        ({"permissions": ("sell",)}, command("c", count(stock(), 1, 1), declared_as="sell"), "accepted"),
        ({"permissions": ("receive",)}, command("c", count(stock(), 1, 1), declared_as="sell"), "rejected forbidden"),
        ({}, command("c", change(stock(), "on_hand", "set", 3, 1)), "rejected invalid"),
        ({}, command("c", change(stock(), "on_hand", "increment", -3, 1)), "rejected invalid"),
        ({}, command("c", change(stock(), "nowhere", "increment", 3, 1)), "deferred undeclared"),
        ({}, command("c", count(DocumentId("Ghost", "s1", "x"), 1, 1)), "deferred undeclared"),
    ],
)
def test_commands_are_judged_one_by_one(cloud: Cloud, line: dict[str, object], sent: Command, verdict: str) -> None:
    cloud.devices.lines["store-1"] = device(cloud.identities["store-1"], **line)  # type: ignore[arg-type]
    cloud.merge(sent)
    assert cloud.verdicts() == {"c": verdict}


def test_what_a_newer_release_writes_waits_for_the_worker_of_that_release(cloud: Cloud) -> None:
    """Nothing of it is seen, so it can come again, and what its device wrote behind it waits."""
    stocks = cloud.rules.collections["Stock"]
    older = {name: kind for name, kind in stocks.type.fields.items() if name != "name"}
    cloud.rules.collections["Stock"] = stocks._replace(type=dataclasses.replace(stocks.type, fields=older), guards=())
    cloud.new_life()
    newer = command("newer", count(stock(), 1, 1), change(stock(), "name", "set", "tea", 2))
    cloud.merge(newer, command("behind", count(stock(), 4, 3)))
    assert cloud.verdicts() == {"newer": "deferred undeclared", "behind": "parked gap"}
    cloud.fly()
    cloud.rules.collections["Stock"] = stocks
    cloud.new_life(parking=cloud.merger.parking)
    cloud.merge(newer)
    assert cloud.verdicts() == {"newer": "accepted", "behind": "accepted"}
    assert (cloud.value(stock(), "name"), cloud.value(stock(), "on_hand")) == ("tea", 5)


def test_a_change_that_only_another_release_allows_is_not_for_this_one_to_reject(cloud: Cloud) -> None:
    """A value that a type takes since it was widened, or what a command touches since then: from this release it is nonsense."""
    cloud.rules.commands = {"sell": declared("sell", {"Stock": frozenset({"on_hand"})})}
    changes = (
        command("stage", change(PARCEL, "stage", "set", "lost", 1)),
        command("name", change(stock(), "name", "set", 7, 1)),
        command("price", change(stock("oat"), "price", "set", 1, 1), declared_as="sell"),
    )
    cloud.merge_value(cloud.batch(*changes, app_version="another's"))
    assert set(cloud.verdicts().values()) == {"deferred undeclared"}
    assert not any(cloud.state(document).vector for document in (PARCEL, stock(), stock("oat"))), "none of it is seen"

    cloud.merge_value(cloud.batch(*changes, app_version=cloud.rules.release))
    assert cloud.verdicts() == {"stage": "rejected invalid", "name": "rejected invalid", "price": "rejected forbidden"}


def test_a_rejected_command_counts_as_seen_and_the_next_one_goes_on(cloud: Cloud) -> None:
    cloud.merge(command("bad", change(stock(), "on_hand", "increment", -1, 1)), command("good", count(stock(), 4, 2)))
    assert cloud.verdicts() == {"bad": "rejected invalid", "good": "accepted"}
    assert cloud.value(stock(), "on_hand") == 4
    assert cloud.state(stock()).vector == {"store-1.1": 2}


# -- times: keys and terms count at the record's append time


def decided(cloud: Cloud, line: Device, identity: Identity, append_ms: int) -> str:
    """What becomes of a batch signed by this key: the refusal's code, "" for none."""
    cloud.devices.lines[line.device_id] = line
    value = cloud.envelope(signed_by(identity, plain_batch()))
    admission = cloud.admit(value, append_ms)
    return admission.code if isinstance(admission, Refusal) else ""


def test_enrolled_again_the_thiefs_key_is_over_and_what_it_signed_before_stays_good(cloud: Cloud) -> None:
    stolen, fresh = cloud.identities["store-1"], Identity.create("store-1")
    line = with_terms(device(stolen), device(stolen).latest._replace(status=DeviceStatus.REVOKED, from_ms=NOW_MS))
    again = with_key(line, DeviceKey(fresh.key_id, fresh.public_key, NOW_MS + 50_000), NOW_MS + 50_000)
    again = with_terms(again, again.latest._replace(status=DeviceStatus.ACTIVE, from_ms=ahead(NOW_MS + 50_000)))
    assert decided(cloud, again, stolen, NOW_MS - 1) == ""
    assert decided(cloud, again, stolen, NOW_MS) == "revoked"
    after = ahead(NOW_MS + 50_000)
    assert decided(cloud, again, stolen, after) == "unknown_key"
    assert decided(cloud, again, fresh, after) == ""


def test_what_was_appended_while_revoked_is_not_admitted_later(cloud: Cloud) -> None:
    identity = cloud.identities["store-1"]
    line = device(identity, status=DeviceStatus.REVOKED, since_ms=NOW_MS)
    back = with_terms(line, line.latest._replace(status=DeviceStatus.ACTIVE, from_ms=NOW_MS + 100))
    codes = [decided(cloud, back, identity, NOW_MS + late) for late in (-1, 0, 99, 100)]
    assert codes == ["", "revoked", "revoked", ""]


def test_terms_of_a_moment_decide_what_a_command_may(cloud: Cloud) -> None:
    line = device(cloud.identities["store-1"], permissions=("sell",))
    cloud.devices.lines["store-1"] = with_terms(line, line.latest._replace(permissions=("receive",), from_ms=NOW_MS))
    sell = command("before", count(stock(), 1, 1), declared_as="sell")
    cloud.merge(sell, append_ms=NOW_MS - 1)
    cloud.merge(sell._replace(id="after", ops=(count(stock(), 1, 2),)), append_ms=NOW_MS)
    assert cloud.verdicts() == {"before": "accepted", "after": "rejected forbidden"}


def test_a_key_counts_a_little_before_it_was_made_and_a_device_too(cloud: Cloud) -> None:
    identity = cloud.identities["store-1"]
    line = enrolled("store-1", DeviceKey(identity.key_id, identity.public_key, NOW_MS))
    assert decided(cloud, line, identity, NOW_MS - SLACK_MS) == ""
    assert decided(cloud, line, identity, NOW_MS - SLACK_MS - 1) == "unknown_key"


def test_a_permit_that_ended_defers_and_nothing_is_seen(cloud: Cloud) -> None:
    line = device(cloud.identities["store-1"], not_after_ms=NOW_MS, grace_ms=10)
    cloud.devices.lines["store-1"] = line
    cloud.merge(command("in grace", count(stock(), 1, 1)), append_ms=NOW_MS + 10)
    cloud.merge(command("late", count(stock(), 2, 2)), append_ms=NOW_MS + 11)
    cloud.devices.lines["store-1"] = with_terms(
        line, line.latest._replace(from_ms=NOW_MS + 20, not_after_ms=NOW_MS + 99_999)
    )
    assert cloud.verdicts() == {"in grace": "accepted", "late": "deferred expired"}
    assert cloud.state(stock()).vector == {"store-1.1": 1}
    cloud.merge(command("late", count(stock(), 2, 2)), append_ms=NOW_MS + 20)
    assert cloud.verdicts()["late"] == "accepted"
    assert cloud.value(stock(), "on_hand") == 3


def test_every_key_of_a_device_must_have_signed(cloud: Cloud) -> None:
    first, second = cloud.identities["store-1"], Identity.create("store-1")
    after = ahead(NOW_MS)
    line = with_key(device(first), DeviceKey(second.key_id, second.public_key, NOW_MS), NOW_MS)
    cloud.devices.lines["store-1"] = line
    assert decided(cloud, line, second, after) == ""
    body = encode_body(plain_batch())
    forged = SignedBatch("store-1", second.key_id, first.sign(body), body)
    found = cloud.admit(cloud.envelope(forged), after)
    assert isinstance(found, Refusal) and found.code == "bad_signature"
