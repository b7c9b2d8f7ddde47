"""The embedded PostgreSQL as its users meet it, also as root: it starts, keeps what was committed, asks for its password, and is gone when it is closed."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psycopg
import pytest

from driftlog_infra import EmbeddedPostgres, artifacts
from driftlog_infra.errors import FolderBusy, FolderUnusable, PortTaken
from driftlog_infra.servant import Servant
from tests.integration.test_broker import is_unclaimed
from tests.load.waiting import until


def ask(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.conninfo) as connection:
        found = connection.execute(query).fetchone()
        return None if found is None else found[0]


def write(server: EmbeddedPostgres, *statements: str) -> None:
    with psycopg.connect(server.conninfo) as connection:
        for statement in statements:
            connection.execute(statement)


def test_what_was_committed_is_there_after_stop_and_kill() -> None:
    with EmbeddedPostgres() as server:
        write(server, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
        for end in (server.stop, server.kill):
            port = server.port
            left_open = psycopg.connect(server.conninfo)
            left_open.execute("SELECT 1")
            end()
            left_open.close()
            server.start()
            assert server.port == port
            assert ask(server, "SELECT count(*) FROM kept") == 1
        folder = server.folder
    assert not folder.exists()


def test_one_that_was_killed_and_that_nobody_has_reaped_is_started_again() -> None:
    with EmbeddedPostgres() as unreaped:
        write(unreaped, "CREATE TABLE kept (n int)")
        pid = unreaped.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)  # and it stays a zombie: its parent, which is this process, does not look
        until(lambda: is_unclaimed(unreaped.folder), "its other processes are gone", 60)
        with EmbeddedPostgres(unreaped.folder) as server:
            assert Path(f"/proc/{pid}").exists()
            assert ask(server, "SELECT count(*) FROM kept") == 0


def test_nobody_is_let_in_without_the_password(tmp_path: Path) -> None:
    with EmbeddedPostgres() as server:
        assert server.password_file.stat().st_mode & 0o077 == 0
        passwords = tmp_path / "none"
        with pytest.raises(psycopg.OperationalError, match=r"password"):
            psycopg.connect(server.url, passfile=str(passwords))
        with pytest.raises(psycopg.OperationalError, match=r"password authentication failed"):
            psycopg.connect(server.url, password="guessed")


def test_a_folder_and_a_port_that_are_taken_are_refused(tmp_path: Path) -> None:
    with EmbeddedPostgres() as server:
        with pytest.raises(FolderBusy):
            EmbeddedPostgres(server.folder).start()
        with pytest.raises(PortTaken):
            EmbeddedPostgres(tmp_path / "other", server.port).start()
        assert ask(server, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
def test_root_runs_it_as_nobody_or_as_the_folders_owner(tmp_path: Path) -> None:
    with EmbeddedPostgres() as server:
        servant = Servant.for_folder(server.folder)
        assert servant is not None and servant.uid != 0
        assert Path(f"/proc/{server.pid}").stat().st_uid == servant.uid
    owned = tmp_path / "owned"
    owned.mkdir()
    os.chown(owned, 12345, 12345)
    assert Servant.for_folder(owned) == (12345, 12345)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
def test_programs_that_were_unpacked_for_root_alone_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = shutil.copytree(
        artifacts.fetch_unpacked(EmbeddedPostgres.artifact, quiet=True), tmp_path / "cache", symlinks=True
    )
    for path in (strict, *strict.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setattr(artifacts, "fetch_unpacked", lambda *_, **__: strict)
    with EmbeddedPostgres() as server:
        assert ask(server, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
def test_a_folder_that_the_other_user_cannot_reach_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(FolderUnusable, match=r"may not enter") as refused:
        EmbeddedPostgres(closed / "data").start()
    assert "another user than root" in refused.value.remedy
