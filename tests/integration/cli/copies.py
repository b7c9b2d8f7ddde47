"""`driftlog` without the half second in which Python imports it: each call is a copy of one process that has imported it already.

A call is a process of its own all the same: own folder, environment, output, and an end by Python's own rules. Only what happens while modules are
imported is not repeated; `test_usage.py`, `test_installed.py` and whatever is left running start Python anew.

The process reads one call after the other from a socket, forks, and answers with how the copy ended. It has one thread and no client of anything, so
a fork is safe; the app of a call is imported by its copy.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from driftlog.cli import main
from driftlog.cli.root import GROUPS

LONGEST_SECONDS = 180.0
COLUMNS = "200"
"""How wide a table is: a console asks for it when it is made, which is while modules are imported."""
_CHECKOUT = Path(__file__).resolve().parents[3]


class Copies:
    """The caller's end."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._socket.settimeout(LONGEST_SECONDS)
        with theirs:
            environment = os.environ | {"COLUMNS": COLUMNS}
            command = [sys.executable, "-m", __name__]
            self._process = subprocess.Popen(command, cwd=_CHECKOUT, env=environment, stdin=theirs)
        self._answers = ours.makefile("rb")

    def run(self, words: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path) -> int:
        """Run one call to its end; its exit code, negative for a signal. Raises TimeoutError."""
        call = {"words": words, "folder": str(folder), "environment": environment, "out": str(out), "err": str(err)}
        self._socket.sendall(json.dumps(call).encode() + b"\n")
        return int(self._answers.readline())


@cache
def copies() -> Copies:
    """Those of this test process; they end with it, for their socket does."""
    return Copies()


def _serve() -> None:
    """Fork for each call. Returns in the copies only, as the program that was called."""
    with socket.socket(fileno=os.dup(0)) as caller:
        for call in caller.makefile("rb"):
            pid = os.fork()
            if pid == 0:
                _become(json.loads(call))
                return
            _, status = os.waitpid(pid, 0)
            caller.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    sys.exit(0)  # nobody calls any more


def _become(call: dict[str, Any]) -> None:
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, call["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, call["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv[1:] = call["words"]
    sys.path[0] = call["folder"]


def _import_all() -> None:
    modules = [place.partition(":")[0] for place, _, _ in GROUPS.values()]
    for module in (*modules, "driftlog_edge.http_api.server"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is there now is shared with the copies


if __name__ == "__main__":
    _import_all()
    _serve()
    main()
