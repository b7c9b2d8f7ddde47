"""An embedded PostgreSQL, loopback only, with a password that is drawn when its data folder is made.

Whoever may log in to a PostgreSQL as its owner may run programs as that user, so on a machine with several users "loopback only" is no protection.
Root may not run it at all: see `servant`. A data folder is made under another name and renamed whole, as Kafka's.

With `security` it speaks TLS, and lets nobody in without it.

The server is stopped by SIGINT, which ends the sessions that there are; SIGTERM would wait for them. After SIGKILL its other processes end by themselves
within a moment, and hold the folder until then.
"""

from __future__ import annotations

import platform
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from driftlog_infra import artifacts
from driftlog_infra.errors import StartFailed
from driftlog_infra.ports import LOOPBACK
from driftlog_infra.process import STOP_SECONDS, start_time
from driftlog_infra.security import Security, write_private
from driftlog_infra.servant import Servant
from driftlog_infra.server import EmbeddedServer

USER = "driftlog"
DATABASE = "postgres"
"""The one that every PostgreSQL has."""

_INIT_SECONDS = 60.0
_ANSWER_SECONDS = 1.0
_PROTOCOL = 196_608
"""Version 3.0 of PostgreSQL's protocol."""
_TLS_REQUEST = struct.pack("!ii", 8, 80_877_103)
_TLS_GRANTED = b"S"
_ASKS_PASSWORD = b"R"
_ONLY_TLS = f"hostssl all all {LOOPBACK}/32 scram-sha-256\n"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "50",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class EmbeddedPostgres(EmbeddedServer):
    """One PostgreSQL over one data folder. `folder=None` makes an ephemeral one that goes when it is closed."""

    what: ClassVar[str] = "PostgreSQL"
    port_option: ClassVar[str] = "--port"
    artifact: ClassVar[str] = f"postgres-{platform.system().lower()}-{platform.machine().lower()}"
    log_name: ClassVar[str] = "postgres"
    misreads: ClassVar[str] = '"$`'
    ready_seconds: ClassVar[float] = 60.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    @property
    def url(self) -> str:
        """For clients; the password stands in `password_file`."""
        return f"postgresql://{USER}@{self.authority}/{DATABASE}"

    @property
    def password_file(self) -> Path:
        """Readable by its owner only."""
        return self.folder / "password"

    @property
    def conninfo(self) -> str:
        """All that a client needs, the password too."""
        password = self.password_file.read_text()
        tls = "" if self.security is None else f"?sslmode=verify-full&sslrootcert={self.security.authority}"
        return f"postgresql://{USER}:{password}@{self.authority}/{DATABASE}{tls}"

    @property
    def address(self) -> str:
        return self.url

    def fetch(self, *, quiet: bool) -> None:
        artifacts.fetch_unpacked(self.artifact, quiet=quiet)

    def prepare(self) -> Sequence[str]:
        servant = Servant.for_folder(self.folder)
        if servant is not None:
            servant.require_way_to(self.folder, self.what)
            servant.own(self.folder)
        home = self._home(servant)
        data = self.folder / "data"
        if data.exists():
            _forget_the_dead(data / "postmaster.pid")
        else:
            self._initialize(home, servant, data)
        settings = {**_SETTINGS, "port": self.port, "fsync": "off" if self.ephemeral else "on"}
        if self.security is not None:
            settings |= self._secured(self.security, servant)
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return _run_by(servant, [str(home / "bin" / "postgres"), "-D", str(data), *options])

    def _home(self, servant: Servant | None) -> Path:
        """Where the programs are that whoever runs them can reach."""
        cached = artifacts.fetch_unpacked(self.artifact, quiet=True)
        if servant is None or servant.barred_by(cached / "bin") is None:
            return cached
        copy = self.folder / f"programs-{cached.name}"
        if not copy.exists():
            draft = copy.with_name("programs.copying")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(cached, draft, symlinks=True, ignore=shutil.ignore_patterns("*.a", "include"))
            servant.own_all(draft)  # unpacked under a strict umask, they are their owner's only
            draft.rename(copy)
        return copy

    def _initialize(self, home: Path, servant: Servant | None, data: Path) -> None:
        draft = data.with_name("data.initializing")
        shutil.rmtree(draft, ignore_errors=True)
        self.password_file.unlink(missing_ok=True)
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(secrets.token_urlsafe(24))
        if servant is not None:
            servant.own(self.password_file)
        how = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--pwfile={self.password_file}")
        sync = ("--no-sync",) if self.ephemeral else ()
        tool = [str(home / "bin" / "initdb"), "-D", str(draft), "-U", USER, *how, *sync]
        try:
            done = self.run_tool(_run_by(servant, tool), _INIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StartFailed(f"PostgreSQL did not make {data} within {_INIT_SECONDS:.0f} s", "try again") from error
        if done.returncode != 0:
            output = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
            raise StartFailed(f"PostgreSQL could not make {data}: {output[-1][:300]}", "choose another folder")
        draft.rename(data)

    def _secured(self, security: Security, servant: Servant | None) -> dict[str, str]:
        """Settings for TLS, and nothing but TLS. The certificate lies where whoever runs the server may read it, and nobody else."""
        security.ensure()
        certificate, key, access = (self.folder / name for name in ("server.crt", "server.key", "pg_hba.conf"))
        write_private(certificate, security.certificate.read_bytes())
        write_private(key, security.key.read_bytes())
        write_private(access, _ONLY_TLS.encode())
        if servant is not None:
            for path in (certificate, key, access):
                servant.own(path)
        return {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key), "hba_file": str(access)}

    def kill(self) -> None:
        """SIGKILL, as a power cut would; returns when its other processes are gone too."""
        others = _children(self.pid)
        super().kill()
        end = time.monotonic() + STOP_SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in others) and time.monotonic() < end:
            time.sleep(0.02)

    def answers(self) -> bool:
        """It asks for a password; one that still recovers says so instead."""
        words = b"".join(f"{word}\0".encode() for word in ("user", USER, "database", DATABASE)) + b"\0"
        hello = struct.pack("!ii", 8 + len(words), _PROTOCOL) + words
        try:
            with socket.create_connection((LOOPBACK, self.port), _ANSWER_SECONDS) as plain, self._met(plain) as caller:
                caller.sendall(hello)
                return caller.recv(1) == _ASKS_PASSWORD
        except OSError:  # not listening yet; whoever asks again bounds how long
            return False

    def _met(self, plain: socket.socket) -> socket.socket:
        """The connection, inside TLS where that is asked for. Raises OSError."""
        if self.security is None:
            return plain
        plain.sendall(_TLS_REQUEST)
        if plain.recv(1) != _TLS_GRANTED:
            raise ConnectionRefusedError("no TLS there")
        context = ssl.create_default_context(cafile=str(self.security.authority))
        return context.wrap_socket(plain, server_hostname=LOOPBACK)


def _forget_the_dead(lock: Path) -> None:
    """Remove the lock of a server that has ended and that nobody has reaped: PostgreSQL asks only whether there is a process of that number, and where nobody
    reaps (a container without an init) there is one for ever. The folder is ours (`claim`, which all its processes hold), so none of them is left."""
    pid = lock.read_text().partition("\n")[0] if lock.exists() else ""
    if pid.isdecimal() and start_time(int(pid)) is None:
        lock.unlink()


def _run_by(servant: Servant | None, command: list[str]) -> list[str]:
    return command if servant is None else servant.command(command)


def _children(pid: int | None) -> list[int]:
    """What a process has started; nothing where the system does not tell."""
    told = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in told.read_text().split()] if pid is not None and told.exists() else []
