"""An identity file: only its owner reads it, and whatever is wrong with it is told with the file and the remedy."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.errors import IdentityProblem
from driftlog_schemas.signing import Identity, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "store-1.json"


def saved(path: Path, **changed: Any) -> None:
    """An identity file of which some facts are not as they should be; None takes one away."""
    Identity.create("store-1", bytes(range(32))).save(path)
    facts = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({name: fact for name, fact in facts.items() if fact is not None}))


def test_an_identity_comes_back_and_signs_the_same(path: Path) -> None:
    made = Identity.create("store-1", bytes(range(32)))
    made.save(path)
    found = Identity.load(path)
    assert (found.device_id, found.key_id, found.root) == ("store-1", made.key_id, bytes(range(32)))
    assert found.sign(b"body") == made.sign(b"body")
    assert verify(found.public_key, made.sign(b"body"), b"body")


def test_only_its_owner_reads_the_file(path: Path) -> None:
    Identity.create("store-1").save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_key_is_not_in_what_is_shown() -> None:
    made = Identity.create("store-1")
    secret = base64.b64encode(made.key.private_bytes_raw()).decode()
    assert "key=" not in repr(made).replace("key_id=", "")
    assert secret not in repr(made)


@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_a_file_that_everybody_reads_is_refused(path: Path, mode: int) -> None:
    saved(path)
    path.chmod(mode)
    with pytest.raises(IdentityProblem) as caught:
        Identity.load(path)
    assert caught.value.remedy == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"device_id": None}, "device_id is missing"),
        ({"device_id": "no such/name"}, "cannot name a device"),
        ({"device_id": 7}, "device_id"),
        ({"key_id": None}, "key_id is missing"),
        ({"key_id": ""}, "key_id"),
        ({"private_key": None}, "private_key is missing"),
        ({"private_key": "no base 64!"}, "private_key"),
        ({"private_key": "c2hvcnQ="}, "private_key"),
        ({"private_key": "ü"}, "private_key"),
        ({"private_key": ["a"]}, "private_key"),
        ({"root": "c2hvcnQ="}, "root: 5 bytes"),
        ({"root": 7}, "root"),
    ],
)
def test_a_wrong_fact_is_named_with_its_file(path: Path, changed: dict[str, Any], fact: str) -> None:
    saved(path, **changed)
    with pytest.raises(IdentityProblem, match=fact) as caught:
        Identity.load(path)
    assert str(path) in str(caught.value)
    assert "driftlog devices enrol" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_a_foreign_file_is_refused(path: Path, content: bytes) -> None:
    saved(path)
    path.write_bytes(content)
    with pytest.raises(IdentityProblem, match="not an identity file"):
        Identity.load(path)


def test_a_missing_file_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(IdentityProblem, match="does not exist") as caught:
        Identity.load(path)
    assert "driftlog devices enrol" in caught.value.remedy


def test_a_folder_is_no_identity(tmp_path: Path) -> None:
    with pytest.raises(IdentityProblem, match="cannot be read"):
        Identity.load(tmp_path)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IdentityProblem, match="cannot be written"):
        Identity.create("store-1").save(tmp_path / "taken")
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


def test_an_identity_without_a_good_name_is_not_made() -> None:
    with pytest.raises(ValueError, match="cannot name a device"):
        Identity.create("a b")


@given(st.binary(max_size=40), st.binary(max_size=80), st.binary(max_size=40))
def test_anything_that_is_no_signature_is_just_not_one(key: bytes, signature: bytes, body: bytes) -> None:
    assert verify(key, signature, body) is False


def test_one_key_does_not_sign_for_another() -> None:
    one, other = Identity.create("store-1"), Identity.create("store-1")
    assert one.key_id != other.key_id
    assert not verify(other.public_key, one.sign(b"body"), b"body")
