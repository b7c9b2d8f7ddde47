"""An operator's keys in their folder, and which root is believed: whatever is wrong is told with the file and the way out."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driftlog_schemas.errors import BadSetting, IdentityProblem
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.public_key import key_text
from driftlog_streams.errors import SetupProblem
from driftlog_streams.registry.operator_folder import OperatorFolder
from driftlog_streams.registry.pinning import PIN, given_root, keep_root, kept_root

NOW = 1_790_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    return OperatorFolder(tmp_path / "keys")


def test_keys_come_back_and_sign_the_same(folder: OperatorFolder) -> None:
    made = folder.create(NOW)
    found = folder.operator()
    assert found.certificate == made.certificate
    assert found.sign(b"line") == made.sign(b"line")
    assert folder.root().public == made.certificate.root
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder.root_file, folder.operator_file)} == {0o600}


def test_a_second_root_is_not_made_over_the_first(folder: OperatorFolder) -> None:
    folder.create(NOW)
    with pytest.raises(SetupProblem, match="exists already"):
        folder.create(NOW)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda facts: facts.pop("private_key"), "private_key is missing"),
        (lambda facts: facts.pop("certificate"), "certificate: not all of it"),
        (lambda facts: facts["certificate"].update(generation=7), "not signed by the root"),
        (lambda facts: facts["certificate"].update(root="short"), "certificate"),
        (lambda facts: facts.update(private_key=key_text(bytes(32))), "for another key"),
    ],
)
def test_a_spoiled_operator_file_is_named(folder: OperatorFolder, change: Callable[[Any], Any], fact: str) -> None:
    folder.create(NOW)
    facts = json.loads(folder.operator_file.read_text())
    change(facts)
    folder.operator_file.write_text(json.dumps(facts))
    with pytest.raises(IdentityProblem, match=fact) as caught:
        folder.operator()
    assert str(folder.operator_file) in str(caught.value)
    assert "driftlog operator init" in caught.value.remedy


def test_a_root_that_is_kept_elsewhere_is_asked_for(folder: OperatorFolder, tmp_path: Path) -> None:
    folder.create(NOW)
    folder.root_file.rename(tmp_path / "safe.json")
    with pytest.raises(IdentityProblem) as caught:
        folder.root()
    assert "--root" in caught.value.remedy
    assert folder.root(tmp_path / "safe.json").public == folder.operator().certificate.root


def test_no_key_is_in_what_is_shown() -> None:
    root = RootKey.create()
    operator = OperatorKey.create(root, NOW)
    assert "key=" not in repr(root) + repr(operator).replace("OperatorKey", "")


def test_a_signature_for_a_line_is_none_for_a_certificate() -> None:
    """What a signature is for is in what is signed."""
    root = RootKey.create()
    operator = OperatorKey.create(root, NOW)
    line = OperatorKey(root.key, operator.certificate).sign(operator.certificate.facts())
    assert not operator.certificate._replace(signature=line.signature).genuine()


def test_a_root_is_given_as_text_or_file(tmp_path: Path) -> None:
    public = RootKey.create().public
    (tmp_path / "root.pub").write_text(key_text(public) + "\n")
    assert given_root(key_text(public)) == given_root(str(tmp_path / "root.pub")) == public
    assert given_root(None) is None


@pytest.mark.parametrize("setting", ["", "nowhere.pub", "c2hvcnQ="])
def test_what_is_no_root_is_told(setting: str) -> None:
    with pytest.raises(BadSetting, match=r"trust\.root") as caught:
        given_root(setting)
    assert "driftlog operator show" in caught.value.remedy


def test_the_first_root_is_kept_and_no_other_takes_its_place(tmp_path: Path) -> None:
    first, other = RootKey.create().public, RootKey.create().public
    assert kept_root(tmp_path / "data") is None
    keep_root(tmp_path / "data", first)
    keep_root(tmp_path / "data", other)
    assert kept_root(tmp_path / "data") == first
    (tmp_path / "data" / PIN).write_text("spoiled")
    with pytest.raises(BadSetting):
        kept_root(tmp_path / "data")


def test_a_folder_that_cannot_be_made_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupProblem, match="cannot be made") as refused:
        OperatorFolder(tmp_path / "file" / "operator").create(1)
    assert "--operator" in refused.value.remedy
