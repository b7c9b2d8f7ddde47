"""How a run of several processes shares out its files (`pytest -n N --dist loadfile`): N-1 take those with servers first, one only computes.

Who has a server mostly waits, and leaves a good part of the cores to nobody. So the last process never starts a server: from the beginning it takes what only
computes, the longest first, niced. The others follow when no file with a server is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

SERVERS = "tests/integration/"


class ServersApart(LoadFileScheduling):
    """xdist's own way, file by file, with one process for what has no server."""

    _computes: WorkerController | None = None

    def schedule(self) -> None:
        if self.collection is None and len(self.nodes) > 1:
            self._computes = self.nodes[-1]
        super().schedule()

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node is self._computes:
            mine = next((file for file in self.workqueue if not file.startswith(SERVERS)), None)
            if mine is None:
                node.shutdown()
                return
            self.workqueue.move_to_end(mine, last=False)
        super()._assign_work_unit(node)
