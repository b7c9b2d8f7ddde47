"""Who holds a folder: one at a time, known by name, and forgotten with the process."""

from __future__ import annotations

import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from driftlog_infra import local
from driftlog_infra.claim import Claim, Holder, holder
from driftlog_infra.errors import FolderBusy, FolderUnusable, PortTaken
from driftlog_infra.ports import free_port, is_free, require_free
from driftlog_infra.process import end_process, is_alive, start_time


def test_second_claim_is_refused_and_names_the_first(tmp_path: Path) -> None:
    first = Claim(tmp_path)
    with pytest.raises(FolderBusy, match=f"held by process {os.getpid()}"):
        Claim(tmp_path)
    assert (found := holder(tmp_path)) is not None and not found.server
    first.withdraw()
    assert holder(tmp_path) is None
    Claim(tmp_path).withdraw()


def test_holder_is_what_was_signed_while_it_lives(tmp_path: Path) -> None:
    claim = Claim(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as server:
        signed = Holder.of_server(server.pid, 9092, "127.0.0.1:9092")
        claim.sign(signed)
        assert holder(tmp_path) == signed
        server.kill()
    assert holder(tmp_path) is None
    claim.release()


def test_what_a_killed_server_has_started_is_waited_for(tmp_path: Path) -> None:
    claim = Claim(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as server:
        claim.sign(Holder.of_server(server.pid))
        server.kill()
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(claim.fd,)) as started,
        ThreadPoolExecutor(1) as pool,
    ):
        claim.release()
        again = pool.submit(Claim, tmp_path)
        with pytest.raises(TimeoutError):
            again.result(0.2)
        assert started.stdin is not None
        started.stdin.close()
        again.result(60).withdraw()


def test_what_a_killed_server_has_started_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as server:
        claim.sign(Holder.of_server(server.pid))
        server.kill()
    monkeypatch.setattr("driftlog_infra.claim.STOP_SECONDS", 0.1)
    with pytest.raises(FolderBusy, match="another process"):
        Claim(tmp_path)
    claim.release()


def test_program_that_is_starting_a_server_is_not_ended(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "kafka")
    with pytest.raises(FolderBusy, match=f"process {os.getpid()}"):
        local.down(tmp_path)
    claim.withdraw()
    assert local.down(tmp_path) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "started": "0"}'])
def test_left_overs_say_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.lock").write_text(content)
    assert holder(tmp_path) is None


def test_unusable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderUnusable, match="cannot use data folder"):
        Claim(tmp_path / "file" / "data")


def test_process_is_ended_only_if_it_is_the_one_that_was_meant() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        born = start_time(process.pid)
        assert born is not None
        end_process(process.pid, "another time")
        assert is_alive(process.pid, born)
        end_process(process.pid, born)
        assert not is_alive(process.pid, born)


def test_process_that_will_not_listen_is_killed() -> None:
    with subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.1; done"], stdout=subprocess.PIPE
    ) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        born = start_time(deaf.pid)
        assert born is not None
        end_process(deaf.pid, born, seconds=0.3)
        assert not is_alive(deaf.pid, born)


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    port = free_port()
    assert is_free(port)
    kernel = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if kernel.exists():
        assert port < int(kernel.read_text().split()[0])
    require_free(port, "broker", "--port")


def test_taken_port_is_refused_with_its_option() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortTaken, match="for the broker is taken") as refused:
            require_free(other.getsockname()[1], "broker", "--port")
        assert "--port" in refused.value.remedy
