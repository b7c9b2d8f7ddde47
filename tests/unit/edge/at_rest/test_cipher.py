"""A value opens where it was written, unchanged, and nowhere else; no nonce serves twice."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_edge.errors import Damaged, StoreFailed
from driftlog_edge.ports import Family
from driftlog_edge.store.cipher import Cipher, DataKey

KEY, OTHER = DataKey.draw(), DataKey.draw()
NONCE = slice(5, 17)


@given(st.sampled_from(Family), st.binary(max_size=64), st.binary(max_size=300))
def test_what_is_sealed_opens(family: Family, key: bytes, value: bytes) -> None:
    sealed = Cipher([KEY]).seal(family, key, value)
    assert Cipher([OTHER, KEY]).open(family, key, sealed) == value
    assert len(sealed) == len(value) + 33


def test_a_value_of_another_place_is_damage() -> None:
    cipher = Cipher([KEY])
    sealed = cipher.seal(Family.CONFIRMED, b"Stock/s1/tea", b"5")
    for family, key in ((Family.CONFIRMED, b"Stock/s1/te"), (Family.UNREAD, b"Stock/s1/tea")):
        with pytest.raises(Damaged, match="not authenticate") as raised:
            cipher.open(family, key, sealed)
        assert str(key) in str(raised.value) and family.value in str(raised.value)
        assert isinstance(raised.value, StoreFailed) and raised.value.remedy


def test_every_bit_counts() -> None:
    cipher = Cipher([KEY])
    sealed = cipher.seal(Family.META, b"k", b"value")
    for at in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[at] ^= 1 << bit
            with pytest.raises(Damaged):
                cipher.open(Family.META, b"k", bytes(changed))
    for end in range(len(sealed)):
        with pytest.raises(Damaged):
            cipher.open(Family.META, b"k", sealed[:end])


def test_a_value_under_a_key_that_is_not_there_names_it() -> None:
    sealed = Cipher([OTHER]).seal(Family.META, b"k", b"value")
    with pytest.raises(Damaged, match=OTHER.id.hex()):
        Cipher([KEY]).open(Family.META, b"k", sealed)
    assert not Cipher([KEY, OTHER]).current(sealed)
    assert Cipher([OTHER, KEY]).current(sealed)


def test_no_nonce_comes_twice_in_one_run_nor_in_two() -> None:
    one, two = Cipher([KEY]), Cipher([KEY])  # a folder and its copy
    nonces = [cipher.seal(Family.META, b"k", b"")[NONCE] for cipher in (one, two) for _ in range(1000)]
    assert len(set(nonces)) == 2000


def test_the_last_nonce_is_followed_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"\xff" * size)
    cipher = Cipher([KEY])
    assert [cipher.seal(Family.META, b"k", b"")[NONCE] for _ in range(2)] == [b"\xff" * 12, bytes(12)]
