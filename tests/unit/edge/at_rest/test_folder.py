"""What lies in the folder: values are noise, in whatever file RocksDB keeps them; names are not. Whatever is wrong with the keys is told."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rocksdict import Rdict

from driftlog_edge.errors import Damaged, DiskFull, KeyUnusable
from driftlog_edge.ports import Family
from driftlog_edge.store import key_file
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_schemas import private_file
from driftlog_schemas.errors import IdentityProblem
from tests.unit.edge.at_rest.raw import changed
from tests.unit.edge.replica import Replica

MARKER = os.urandom(12).hex().encode()
NAME = b"Patient/ward-7/name-of-a-document"
WRAPPING = (WrappingKey(bytes(range(32))),)
STRANGER = WrappingKey(bytes(32))


def found(folder: Path, marker: bytes) -> list[str]:
    """In which files."""
    return [path.name for path in folder.rglob("*") if path.is_file() and marker in path.read_bytes()]


def filled(folder: Path, wrapping: Sequence[WrappingKey] = ()) -> RocksStore:
    store = RocksStore(folder, wrapping)
    for sync in (True, False):
        store.write({(family, NAME + b"%d" % sync): MARKER * 9 for family in Family}, sync=sync)
    return store


def keys_in(folder: Path) -> Any:
    return json.loads((folder / key_file.NAME).read_text())["keys"]


@pytest.mark.parametrize("wrapping", [(), WRAPPING])
def test_no_file_of_the_folder_holds_a_value_and_names_can_be_read(
    tmp_path: Path, wrapping: Sequence[WrappingKey]
) -> None:
    folder = tmp_path / "data"
    store = filled(folder, wrapping)
    assert found(folder, NAME), "in the write-ahead log"
    assert not found(folder, MARKER)
    store.reclaim(Family)
    assert [name for name in found(folder, NAME) if name.endswith(".sst")]
    assert not found(folder, MARKER)
    store.close()

    store = RocksStore(folder, wrapping)
    for family in Family:
        assert store.get(family, NAME + b"1") == MARKER * 9
        assert list(store.scan(family, b"")) == [(NAME + b"0", MARKER * 9), (NAME + b"1", MARKER * 9)]
    store.close()
    assert not found(folder, MARKER)


def test_the_data_key_is_there_for_its_owner_only_and_not_at_all_where_it_is_wrapped(tmp_path: Path) -> None:
    for folder, wrapping in ((tmp_path / "bare", ()), (tmp_path / "wrapped", WRAPPING)):
        filled(folder, wrapping).close()
        assert (folder / key_file.NAME).stat().st_mode & 0o777 == 0o600
        (held,) = keys_in(folder)
        assert held["wrapped_by"] == (wrapping[0].fingerprint if wrapping else "")
    RocksStore(tmp_path / "bare").close()
    with pytest.raises(KeyUnusable, match="no wrapping key is set") as raised:
        RocksStore(tmp_path / "wrapped")
    assert "encryption_key_file" in raised.value.remedy
    with pytest.raises(KeyUnusable, match=f"another: {STRANGER.fingerprint}") as raised:
        RocksStore(tmp_path / "wrapped", (STRANGER,))
    assert WRAPPING[0].fingerprint in str(raised.value)
    RocksStore(tmp_path / "wrapped", (STRANGER, *WRAPPING)).close()


def test_a_folder_without_its_key_is_not_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    filled(folder).close()
    kept = (folder / key_file.NAME).read_bytes()
    (folder / key_file.NAME).unlink()
    with pytest.raises(KeyUnusable, match="nobody can read") as raised:
        RocksStore(folder)
    assert key_file.NAME in raised.value.remedy
    assert not (folder / key_file.NAME).exists()
    (folder / key_file.NAME).write_bytes(kept)
    (folder / key_file.NAME).chmod(0o600)
    store = RocksStore(folder)
    assert store.get(Family.META, NAME + b"1") == MARKER * 9
    store.close()


def test_a_database_that_was_made_and_got_no_key_in_time_gets_one(tmp_path: Path) -> None:
    """The power went between the two: nothing was written, for nothing is before there is a key."""
    folder = tmp_path / "data"
    RocksStore(folder).close()
    (folder / key_file.NAME).unlink()
    filled(folder).close()
    RocksStore(folder).close()


def test_a_copy_of_the_folder_opens_and_one_of_the_files_alone_does_not(tmp_path: Path) -> None:
    filled(tmp_path / "data", WRAPPING).close()
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    store = RocksStore(tmp_path / "copy", WRAPPING)
    assert store.get(Family.META, NAME + b"1") == MARKER * 9
    store.close()
    filled(tmp_path / "other", WRAPPING).close()
    shutil.copy(tmp_path / "other" / key_file.NAME, tmp_path / "data" / key_file.NAME)
    store = RocksStore(tmp_path / "data", WRAPPING)
    with pytest.raises(Damaged, match="does not have"):
        store.get(Family.META, NAME + b"1")
    with pytest.raises(Damaged, match="does not have"):
        list(store.scan(Family.META, b""))
    store.close()


def test_values_that_were_swapped_on_the_disk_are_damage(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    filled(folder).close()
    changed(folder, lambda meta: swap(meta, NAME + b"0", NAME + b"1"))
    store = RocksStore(folder)
    with pytest.raises(Damaged, match="name-of-a-document1' in meta"):
        store.get(Family.META, NAME + b"1")
    assert store.get(Family.OPLOG, NAME + b"1") == MARKER * 9
    store.close()


def test_a_batch_whose_body_is_damaged_says_nothing(lives: Callable[..., Replica], tmp_path: Path) -> None:
    replica = lives()
    replica.do("receive", store="s1", sku="tea", qty=1)
    (sent,) = replica.ship()
    replica.store.close()
    changed(tmp_path / "replica", spoil, Family.BODIES)
    replica = lives()
    (batch,) = replica.outbox.sealed.all()
    assert batch.number == sent.number
    assert replica.outbox.sealed.batch(batch) is None


def spoil(family: Rdict) -> None:
    for key, value in list(family.items()):
        family[key] = value[:-1] + bytes((value[-1] ^ 1,))


def swap(family: Rdict, one: bytes, other: bytes) -> None:
    family[one], family[other] = family[other], family[one]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda facts: facts.update(format=2), "format is 2"),
        (lambda facts: facts.update(keys=[]), "holds no key"),
        (lambda facts: facts.pop("keys"), "keys"),
        (lambda facts: facts["keys"][0].update(key="AAAA"), "is damaged"),
        (lambda facts: facts["keys"][0].update(key="!"), "cannot be read"),
        (lambda facts: facts["keys"][0].update(id="0000"), "is damaged"),
        (lambda facts: facts["keys"][0].update(id=5), "cannot be read"),
        (lambda facts: facts["keys"][0].update(made_ms="soon"), "is no number"),
        (lambda facts: facts["keys"][0].update(made_ms=float("inf")), "is no number"),
    ],
)
@pytest.mark.parametrize("wrapping", [(), WRAPPING])
def test_a_damaged_key_file_is_told(tmp_path: Path, change: Any, told: str, wrapping: Sequence[WrappingKey]) -> None:
    folder = tmp_path / "data"
    filled(folder, wrapping).close()
    facts = json.loads((folder / key_file.NAME).read_text())
    change(facts)
    (folder / key_file.NAME).write_text(json.dumps(facts))
    with pytest.raises(KeyUnusable, match=told) as raised:
        RocksStore(folder, wrapping)
    assert str(folder / key_file.NAME) in str(raised.value) and raised.value.remedy
    RocksStore(tmp_path / "other").close()  # and the folder is free again: nothing holds it
    shutil.copy(tmp_path / "other" / key_file.NAME, folder / key_file.NAME)
    RocksStore(folder, wrapping).close()


FACTS = st.fixed_dictionaries(
    {"id": st.sampled_from(["00112233", "", 5, None]), "made_ms": st.integers() | st.text(max_size=2)},
    optional={
        "wrapped_by": st.sampled_from(["", WRAPPING[0].fingerprint, 7, None]),
        "key": st.binary(max_size=64).map(lambda data: base64.b64encode(data).decode())
        | st.text(max_size=5)
        | st.none(),
    },
)
JSON = st.recursive(st.none() | st.integers() | st.text(max_size=3) | FACTS, lambda one: st.lists(one, max_size=3))


@given(st.binary(max_size=64) | st.builds(lambda keys: json.dumps({"format": 1, "keys": keys}).encode(), JSON))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_key_file_is_keys_or_told(tmp_path: Path, given: bytes) -> None:
    path = tmp_path / key_file.NAME
    path.write_bytes(given)
    path.chmod(0o600)
    for wrapping in ((), WRAPPING):
        try:
            assert all(len(one.key.secret) == 32 for one in key_file.load(tmp_path, wrapping))
        except KeyUnusable as error:
            assert error.remedy


def test_a_key_that_cannot_be_written_is_a_full_disk_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path / "data")
    before = store.keys.newest

    def full(*args: object) -> None:
        raise IdentityProblem("key file cannot be written: No space left on device", "free some")

    with monkeypatch.context() as patched:
        patched.setattr(private_file, "save", full)
        with pytest.raises(DiskFull, match="No space left"):
            store.keys.begin(0, ())
        with pytest.raises(DiskFull, match="No space left"):
            RocksStore(tmp_path / "fresh")
    assert (store.keys.newest, store.keys.rotating) == (before, False)
    assert store.get(Family.META, NAME + b"1") == MARKER * 9
    store.close()
    RocksStore(tmp_path / "fresh").close()


def test_what_the_key_file_held_before_is_overwritten_where_it_lay(tmp_path: Path) -> None:
    store = filled(tmp_path / "data")
    with (tmp_path / "data" / key_file.NAME).open("rb") as before:
        old = before.read()
        store.keys.begin(0, ())
        before.seek(0)
        assert before.read() == b"" and old
    store.close()


def test_a_key_seals_when_its_file_is_on_the_disk_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path / "data")
    synced: list[tuple[Path, int, bool]] = []
    honest = private_file.sync_folder

    def noting(folder: Path) -> None:
        synced.append((folder, len(keys_in(tmp_path / "data")), store.keys.rotating))
        honest(folder)

    monkeypatch.setattr(private_file, "sync_folder", noting)
    store.keys.begin(0, ())
    store.keys.finish()
    assert synced == [(tmp_path / "data", 2, False), (tmp_path / "data", 1, True)]
    store.close()


def test_what_a_write_that_was_cut_off_has_left_goes_with_the_older_keys(tmp_path: Path) -> None:
    store = filled(tmp_path / "data")
    left = tmp_path / "data" / f".{key_file.NAME}.k3f9q2w7"
    shutil.copy(tmp_path / "data" / key_file.NAME, left)
    store.keys.begin(0, ())
    with left.open("rb") as old:
        store.keys.finish()
        assert old.read() == b""
    assert key_file.files_in(tmp_path / "data") == [tmp_path / "data" / key_file.NAME]
    store.close()
