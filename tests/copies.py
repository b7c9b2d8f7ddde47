"""Programs without the second in which Python imports them: each is a copy of one process that has imported everything already.

A copy is a process of its own all the same: own folder, environment, output, and an end by Python's own rules or by a signal. Only what happens
while modules are imported is not repeated. So a test starts Python anew where it is about the start itself, about what is imported or how much memory that
takes, about an app that changes Driftlog's modules before others import them, and where the system loads a library first.

Whoever makes the copies reads one call after the other from a socket, and forks. It has one thread and no client of anything, so a fork is safe; the app
of a call is imported by its copy. A `driftlog worker` starts processes of its own: it takes somebody along who makes copies for it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, Self, cast

LONGEST_SECONDS = 180.0
COLUMNS = "200"
"""How wide a table is: a console asks for it when it is made, which is while modules are imported."""
DRIFTLOG = "tests.copies:driftlog"
WORKER = "driftlog_streams.process.worker:main"
MODULES = (
    "driftlog_console.server",
    "driftlog_edge.http_api.server",
    "driftlog_streams.core.rules",
    "driftlog_streams.faust_driver.host",
    "driftlog_streams.telling.health",
)
"""What programs import when they need it, besides the commands."""
_MAKER, _COPY = b"makes copies", b"copy"
"""What they are called (proc(5), comm)."""
_CHECKOUT = Path(__file__).resolve().parents[1]
_code: object = None
"""By which the copy that this process is ends, where it ends by itself and well or by a word of its own."""
_CALL_BYTES = 128 << 10
"""The longest call: most of it is the environment."""


class Copy:
    """A program that runs or has ended; what `subprocess.Popen` is to one that Python starts anew."""

    def __init__(self, told: int) -> None:
        """`told` is where its process id comes from, and at its end its exit code. Raises RuntimeError if nobody makes copies any more."""
        self._told = told
        self._unread = b""
        self._one_at_a_time = threading.Lock()
        self.returncode: int | None = None
        """Its exit code, negative for a signal; None until `poll` or `wait` has seen its end."""
        self.pid = self._line()

    def poll(self) -> int | None:
        """Its exit code; None as long as it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired after so many seconds."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"copy {self.pid}", timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """If it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        with self._one_at_a_time:
            if self.returncode is None:
                self.returncode = self._line()
                os.close(self._told)

    def _line(self) -> int:
        while b"\n" not in self._unread:
            more = os.read(self._told, 64)
            if not more:
                raise RuntimeError("whoever made this copy has ended")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return int(line)


class Copies:
    """The end of who wants copies."""

    def __init__(self, ours: socket.socket, pid: int) -> None:
        """`pid` is the process that makes them, and whose children they are."""
        self._socket = ours
        self._one_at_a_time = threading.Lock()
        self.pid = pid

    @classmethod
    def anew(cls) -> Self:
        """By a process that imports everything now, once."""
        ours, theirs = _pair()
        with theirs:
            command = [sys.executable, "-m", "tests.copies", str(theirs.fileno())]
            environment = os.environ | {"COLUMNS": COLUMNS}
            process = subprocess.Popen(
                command, cwd=_CHECKOUT, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        copies = cls(ours, process.pid)
        atexit.register(copies._close, process)
        return copies

    @classmethod
    def of_this_process(cls) -> Self:
        """By a copy of the process that calls, which must not have a thread yet. Returns in the copies, too, as the programs that were called."""
        ours, theirs = _pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _serve(theirs)
        theirs.close()
        return cls(ours, pid)

    def start(  # a program's surroundings
        self,
        entry: str,
        words: Sequence[str],
        folder: str | Path,
        environment: Mapping[str, str],
        *,
        stdin: int | None = None,
        stdout: int,
        stderr: int,
    ) -> Copy:
        """Call the function `entry` (MODULE:NAME) with these words in a copy. Its input is empty if nothing is given."""
        call = {"entry": entry, "words": [*words], "folder": str(folder), "environment": dict(environment)}
        told, tell = os.pipe()
        given = os.open(os.devnull, os.O_RDONLY) if stdin is None else os.dup(stdin)
        try:
            with self._one_at_a_time:
                socket.send_fds(self._socket, [json.dumps(call).encode()], [tell, given, stdout, stderr])
        finally:
            os.close(tell)
            os.close(given)
        return Copy(told)

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        self._socket.close()
        process.wait(LONGEST_SECONDS)


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@cache
def copies() -> Copies:
    """Those of this test process; who makes them ends with it."""
    return Copies.anew()


def driftlog_copied(
    words: Sequence[str], folder: str | Path, environment: Mapping[str, str], *, stdout: int, stderr: int
) -> Copy:
    """`driftlog` with these words, left running."""
    return copies().start(DRIFTLOG, words, folder, environment, stdout=stdout, stderr=stderr)


def ended(
    words: Sequence[str], folder: str | Path, environment: Mapping[str, str], entry: str = DRIFTLOG
) -> subprocess.CompletedProcess[str]:
    """The same to its end, with what it said. Raises subprocess.TimeoutExpired after `LONGEST_SECONDS`."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        copy = copies().start(entry, words, folder, environment, stdout=out.fileno(), stderr=err.fileno())
        try:
            code = copy.wait(LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            copy.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def children(pid: int) -> list[int]:
    """Process ids of a program's children, the oldest first; copies that were made for it are its own."""
    found: list[int] = []
    for child in _children(pid):
        found += _children(child) if _told_of(child, "comm").rstrip() == _MAKER else [child]
    return [child for child in found if alive(child)]


def alive(pid: int) -> bool:
    """Does the process do anything yet? One that has ended, and nobody has asked how, does not."""
    return bool(_told_of(pid, "cmdline"))


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _told_of(pid: int, what: str) -> bytes:
    """By Linux (proc(5)); nothing where the process is gone."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


# -- in the process that makes copies, and in the copies


def driftlog() -> None:
    """`python -m driftlog`; workers are copies, too."""
    if sys.argv[1:2] == ["worker"]:
        _copy_workers(Copies.of_this_process())
    from driftlog.cli import main

    main()


def _copy_workers(copies: Copies) -> None:
    """Whatever a supervisor of this process starts is a copy."""
    from driftlog_schemas.connection import REVEAL
    from driftlog_streams.process.supervisor import ChildPlan, Supervisor

    def start(plan: ChildPlan) -> Copy:
        taken, given = os.pipe()
        os.write(given, plan.settings.model_dump_json(context=REVEAL).encode())
        os.close(given)
        words = [str(copies.pid), plan.space, plan.slot]
        try:
            return copies.start(WORKER, words, Path.cwd(), os.environ, stdin=taken, stdout=1, stderr=2)
        finally:
            os.close(taken)

    _, trouble = Supervisor.__init__.__defaults__ or ()
    Supervisor.__init__.__defaults__ = (start, trouble)


def _serve(caller: socket.socket) -> NoReturn:
    """Fork for each call, and tell how each copy has ended. A copy calls what was asked for, and ends."""
    _call_it(_MAKER)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to everybody: the copies end by themselves
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    tell: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([caller.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_of_who_has_ended(tell)
        if caller.fileno() in ready:
            message, given, _, _ = socket.recv_fds(caller, _CALL_BYTES, 4)
            if not message:  # nobody calls any more
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                _call_it(_COPY)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                caller.close()
                for end in (woken, wake, given.pop(0), *tell.values()):
                    os.close(end)
                _run(_become(json.loads(message), given))
            tell[pid] = given.pop(0)
            os.write(tell[pid], b"%d\n" % pid)
            for end in given:
                os.close(end)


def _call_it(name: bytes) -> None:
    with suppress(FileNotFoundError):  # not Linux
        Path("/proc/self/comm").write_bytes(name)


def _tell_of_who_has_ended(tell: dict[int, int]) -> None:
    while tell:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        end = tell.pop(pid)
        with suppress(BrokenPipeError):  # nobody wants to know
            os.write(end, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(end)


def _become(call: dict[str, Any], given: Sequence[int]) -> Callable[[], Any]:
    """The function that was called for, in its surroundings: input, output and errors are `given`."""
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    for number, end in enumerate(given):
        os.dup2(end, number)
        os.close(end)
    search = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [call["folder"], *(place for place in search if place not in sys.path)]
    sys.argv[1:] = call["words"]
    module, _, name = call["entry"].partition(":")
    return cast(Callable[[], Any], getattr(importlib.import_module(module), name))


def _run(program: Callable[[], Any]) -> NoReturn:
    global _code  # noqa: PLW0603  # what is called at exit is not told
    try:
        program()
        sys.exit()
    except SystemExit as end:
        _code = end.code or 0
        raise


def _leave_the_rest() -> None:
    """Last of all that is done at exit: flush, and end. To take apart what all copies share, object by object, would copy it first."""
    if isinstance(_code, int):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_code & 0xFF)


def _import_all() -> None:
    from driftlog.cli import root

    commands = [place.partition(":")[0] for place, _, _ in root.GROUPS.values()]
    for module in (*commands, *MODULES):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is there now is shared with the copies


def main() -> None:
    """Import everything, then make copies for who holds the other end of the socket that is named."""
    atexit.register(_leave_the_rest)  # before all others: the last one is called first
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    importlib.import_module("tests.copies").main()  # the copies import it under this name
