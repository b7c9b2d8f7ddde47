"""The registry believes its operator and nobody else, whatever a stranger writes, and in whatever order it is read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from driftlog_schemas import device_lines
from driftlog_schemas.device_lines import DeviceLines
from driftlog_schemas.devices import Device, DeviceKey, DeviceStatus, enrolled, with_terms
from driftlog_schemas.operator_keys import VALID_MS, OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds

CODECS = RecordCodecs(FixedIds())
NOW = 1_790_000_000_000
ROOT, STRANGER = RootKey.create(), RootKey.create()
OPERATOR = OperatorKey.create(ROOT, NOW)
NEXT = OperatorKey.create(ROOT, NOW, 2)


class Put(NamedTuple):
    """A record of the topic."""

    key: bytes
    value: bytes | None
    append_ms: int | None = NOW


def signed(device: Device, operator: OperatorKey = OPERATOR) -> Put:
    return Put(device.device_id.encode(), CODECS.encode_signed_line(operator.sign(CODECS.encode_device(device))))


def line(name: str = "store-1", version: int = 1) -> Device:
    first = enrolled(name, DeviceKey("k", bytes(32), NOW))
    return Device(name, version, first.keys, first.terms)


def read(*puts: Put, root: bytes | None = ROOT.public) -> DeviceLines:
    lines = DeviceLines(CODECS, root)
    for put in puts:
        lines.take(*put)
    return lines


def known(lines: DeviceLines) -> dict[str, int]:
    return {device.device_id: device.version for device in lines.all()}


def unsigned() -> Put:
    return Put(b"store-1", CODECS.encode_device(line(version=9)))


def spoiled() -> Put:
    record = OPERATOR.sign(CODECS.encode_device(line(version=9)))
    return Put(b"store-1", CODECS.encode_signed_line(record._replace(signature=bytes(64))))


def self_certified() -> Put:
    """The root's name under somebody else's signature."""
    thief = OperatorKey.create(STRANGER, NOW)
    forged = OperatorKey(thief.key, thief.certificate._replace(root=ROOT.public))
    return signed(line(version=9), forged)


def misplaced() -> Put:
    return signed(line("store-2", 9))._replace(key=b"store-1")


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (Put(b"store-1", None), device_lines.TOMBSTONE),
        (Put(b"store-1", b"no line at all"), device_lines.UNREADABLE),
        (unsigned(), device_lines.UNREADABLE),
        (signed(line(version=9), OperatorKey.create(STRANGER, NOW)), device_lines.FOREIGN),
        (self_certified(), device_lines.FOREIGN),
        (spoiled(), device_lines.BAD_SIGNATURE),
        (misplaced(), device_lines.MISPLACED),
        (signed(line(version=2)), device_lines.OLDER),
        (signed(line(version=9))._replace(append_ms=None), device_lines.UNTIMED),
        (signed(line(version=9))._replace(append_ms=NOW + VALID_MS), device_lines.OUT_OF_TIME),
    ],
)
def test_what_is_not_the_operators_changes_nothing_and_is_counted(put: Put, reason: str) -> None:
    good = signed(line(version=3))
    lines = read(good, put)
    assert known(lines) == {"store-1": 3}
    assert dict(lines.ignored) == {reason: 1}
    assert lines.covered == {"store-1"}
    lines.take(*good)
    assert not lines.covered, "put back, it is the last word again"
    assert dict(lines.ignored) == {reason: 1}


def test_a_stranger_enrols_nobody() -> None:
    lines = read(signed(line("thief"), OperatorKey.create(STRANGER, NOW)), unsigned())
    assert known(lines) == {}
    assert not lines.covered


def test_without_a_pinned_root_the_first_genuine_one_is_taken() -> None:
    lines = read(spoiled(), signed(line()), signed(line("thief"), OperatorKey.create(STRANGER, NOW)), root=None)
    assert lines.root == ROOT.public
    assert known(lines) == {"store-1": 1}


def test_the_next_operators_word_ends_the_one_before() -> None:
    lines = read(
        signed(line(version=1)),
        signed(line("store-2", 1)),
        signed(line(version=2), NEXT),
        signed(line("store-2", 2), NEXT),
        signed(line("thief", 1)),
        signed(line(version=99)),
    )
    assert known(lines) == {"store-1": 2, "store-2": 2}
    assert dict(lines.ignored) == {device_lines.RETIRED: 2}


def test_until_it_says_so_both_operators_count() -> None:
    interim = OperatorKey(NEXT.key, ROOT.certify(NEXT.certificate.public, 2, NOW, oldest=1))
    assert known(read(signed(line(version=2), interim), signed(line("store-2", 1)))) == {"store-1": 2, "store-2": 1}


def histories() -> Sequence[Put]:
    first = line()
    revoked = with_terms(first, first.latest._replace(status=DeviceStatus.REVOKED, from_ms=NOW + 5))
    return [
        signed(first), signed(revoked), signed(line("store-2", 4)), signed(line("store-2", 5), NEXT),
        signed(Device("store-1", 3, revoked.keys, revoked.terms), NEXT), signed(line("old", 7)), unsigned(), spoiled(),
        Put(b"store-1", None), Put(b"store-2", None), signed(line("thief", 1), OperatorKey.create(STRANGER, NOW)),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(30))
def test_what_stands_does_not_depend_on_the_order_of_reading(seed: int) -> None:
    """Compaction, and whoever puts lines back, change the order; a restart reads what another has read long ago."""
    puts = list(histories())
    expected = {device.device_id: device for device in read(*puts).all()}
    random.Random(seed).shuffle(puts)
    assert {device.device_id: device for device in read(*puts).all()} == expected
    assert set(expected) == {"store-1", "store-2"}
