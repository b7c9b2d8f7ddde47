"""How a run of several processes shares out its files (`pytest -n N --dist loadfile`): N-1 take those with servers first, one only computes.

Who has a server mostly waits, and leaves a good part of the cores to nobody. So the last process never starts a server: from the beginning it takes what only
computes, the longest first, niced. The others follow when no file with a server is left.

A process that is lost takes one test with it. A new one comes for it, what the lost one had not begun is run, and the run says how it ended.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

SERVERS = "tests/integration/"
END_SECONDS = 10.0
"""How long a process that says nothing any more is waited for."""


class ServersApart(LoadFileScheduling):
    """xdist's own way, file by file, with one process for what has no server."""

    _computes: WorkerController | None = None

    def schedule(self) -> None:
        if self.collection is None and len(self.nodes) > 1:
            self._computes = self.nodes[-1]
        super().schedule()

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        if self.collection is not None and self._computes is None:
            self._computes = node  # it comes for the one that is lost
        super().add_node_collection(node, collection)

    def remove_node(self, node: WorkerController) -> str | None:
        """The test that was running where this process is lost.

        xdist's own way gives out again all files that the process ever had. One of which nothing is left tells nobody that it is done, and with a few of
        those a process waits for ever (pytest-xdist 3.8, `LoadScopeScheduling`). And it runs the test again that may have ended the process.
        """
        left = {file: tests for file, tests in self.assigned_work.pop(node).items() if not all(tests.values())}
        lost = next((test for tests in left.values() for test, done in tests.items() if not done), None)
        if lost is None:
            return None
        if node is self._computes:
            self._computes = None
        file = self._split_scope(lost)
        left[file][lost] = True
        self.workqueue.update({file: tests for file, tests in left.items() if not all(tests.values())})
        for other in self.nodes:
            self._reschedule(other)
        return lost

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node is self._computes and any(other is not node and not other.shutting_down for other in self.nodes):
            mine = next((file for file in self.workqueue if not file.startswith(SERVERS)), None)
            if mine is None:
                node.shutdown()
                return
            self.workqueue.move_to_end(mine, last=False)
        super()._assign_work_unit(node)


def how_it_ended(process: subprocess.Popen[bytes]) -> str:
    """Of a process that was lost: its signal or exit code, which xdist does not tell."""
    try:
        code = process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return "runs on, and says nothing any more"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
