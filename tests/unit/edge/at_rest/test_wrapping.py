"""Where the wrapping key comes from; whatever is wrong with a source is one line that names the setting, and never a key."""

from __future__ import annotations

import base64
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from driftlog_edge import EdgeConfig
from driftlog_edge.errors import KeyUnusable
from driftlog_edge.store.cipher import DataKey
from driftlog_edge.store.wrapping import WrappingKey, wrapping_keys
from driftlog_schemas.errors import BadSetting
from tests.unit.edge.waiting import until

ONE, TWO = b"\n" + bytes(range(30)) + b"\n", bytes(range(32, 64))
TEXT = {"hex": ONE.hex().encode(), "base64": base64.b64encode(ONE)}


def config(tmp_path: Path, **settings: Any) -> EdgeConfig:
    return EdgeConfig(data_dir=tmp_path / "data", identity=tmp_path / "id.json", scopes=["s1"], **settings)


def python(program: str) -> str:
    return shlex.join([sys.executable, "-c", program])


def key_file(tmp_path: Path, given: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "edge.key"
    path.write_bytes(given)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("given", [ONE, TEXT["hex"], TEXT["hex"].upper(), TEXT["base64"], TEXT["base64"] + b"\r\n"])
async def test_a_file_holds_32_bytes_as_they_are_or_as_text(tmp_path: Path, given: bytes) -> None:
    found = await wrapping_keys(config(tmp_path, encryption_key_file=key_file(tmp_path, given)))
    assert found == (WrappingKey(ONE),)


async def test_the_first_line_wraps_and_the_others_unwrap(tmp_path: Path) -> None:
    path = key_file(tmp_path, TEXT["hex"] + b"\n" + TWO.hex().encode() + b"\n")
    assert await wrapping_keys(config(tmp_path, encryption_key_file=path)) == (WrappingKey(ONE), WrappingKey(TWO))


async def test_the_environment_and_a_command_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await wrapping_keys(config(tmp_path)) == ()
    raw = python(f"import sys; sys.stdout.buffer.write({ONE!r})")
    assert await wrapping_keys(config(tmp_path, encryption_key_command=raw)) == (WrappingKey(ONE),)
    monkeypatch.setenv("DRIFTLOG_ENCRYPTION_KEY", TEXT["base64"].decode())
    found = config(tmp_path)
    assert await wrapping_keys(found) == (WrappingKey(ONE),)
    assert TEXT["base64"].decode() not in repr(found)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"", "no key"),
        (b"\n \n", "no key"),
        (b"short", "key 1 is not 32 bytes"),
        (base64.b64encode(ONE[:31]), "key 1 is not 32 bytes"),
        (TEXT["hex"][:-1] + b"x", "key 1 is not 32 bytes"),
        (TEXT["hex"] + b"\n" + bytes(40), "key 2 is not 32 bytes"),
        (bytes(5000), "more than 4096 bytes"),
    ],
)
async def test_what_is_no_key_is_told(tmp_path: Path, given: bytes, told: str) -> None:
    command = python(f"import sys; sys.stdout.buffer.write({given!r})")
    for settings in ({"encryption_key_file": key_file(tmp_path, given)}, {"encryption_key_command": command}):
        with pytest.raises(KeyUnusable, match=told) as raised:
            await wrapping_keys(config(tmp_path, **settings))
        assert str(raised.value).startswith(f"setting {next(iter(settings))}: ")
        assert raised.value.remedy


async def test_a_file_that_is_missing_closed_or_open_to_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="there is no file"):
        await wrapping_keys(config(tmp_path, encryption_key_file=tmp_path / "none"))
    with pytest.raises(KeyUnusable, match="cannot be read: Is a directory"):
        await wrapping_keys(config(tmp_path, encryption_key_file=tmp_path))
    with pytest.raises(KeyUnusable, match="read by every user") as raised:
        await wrapping_keys(config(tmp_path, encryption_key_file=key_file(tmp_path, ONE, 0o644)))
    assert raised.value.remedy == f"chmod 600 {tmp_path / 'edge.key'}"


async def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="exit code 3"):
        await wrapping_keys(config(tmp_path, encryption_key_command=python(f"print('{ONE.hex()}'); exit(3)")))
    with pytest.raises(KeyUnusable, match=r"no-such-command cannot be run: No such file"):
        await wrapping_keys(config(tmp_path, encryption_key_command="no-such-command --now"))


HANGING = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(600)
"""


async def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    command = f"{python(HANGING)} {shlex.quote(str(note))}"
    with pytest.raises(KeyUnusable, match="no answer within 2 s") as raised:
        await wrapping_keys(config(tmp_path, encryption_key_command=command, encryption_key_seconds=2))
    assert "encryption_key_seconds" in raised.value.remedy
    if note.exists():  # a busy machine may not have come so far
        pid = int(note.read_text() or 0)
        await until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    """Not gone, nor waiting for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except FileNotFoundError:
        return False


def test_one_source_is_given_and_a_command_can_be_read(tmp_path: Path) -> None:
    known = {"data_dir": tmp_path, "identity": tmp_path / "i", "scopes": ["s1"]}
    with pytest.raises(BadSetting, match="encryption_key: encryption_key_command is given too") as raised:
        EdgeConfig.load(None, encryption_key="s3cret", encryption_key_command="true", **known)
    assert "s3cret" not in str(raised.value)
    with pytest.raises(BadSetting, match="encryption_key_command"):
        EdgeConfig.load(None, encryption_key_command="print 'key", **known)


def test_only_the_key_that_wrapped_unwraps() -> None:
    key, wrapping = DataKey.draw(), WrappingKey(ONE)
    wrapped = wrapping.wrap(key)
    assert wrapping.unwrap(key.id, wrapped) == key
    assert wrapping.wrap(key) != wrapped, "with a nonce of its own"
    assert WrappingKey(TWO).unwrap(key.id, wrapped) is None
    assert wrapping.unwrap(os.urandom(4), wrapped) is None
    assert wrapping.unwrap(key.id, wrapped[:-1]) is None
    assert wrapping.unwrap(key.id, b"") is None
