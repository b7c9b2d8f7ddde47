"""The nodes of an embedded cluster: what each must know of all, kept in the data folder, so that one that died comes back into the same cluster.

Every node is a broker and a controller, so any majority of them goes on. A cluster keeps the number of nodes that it was made with: who
votes is a matter of every node's settings, not of one start. Where the controllers listen is nobody's business but the cluster's: the ports
are drawn when none of its nodes runs, and stay while one does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from driftlog_infra.claim import holder
from driftlog_infra.errors import FolderUnusable
from driftlog_infra.ports import LOOPBACK, free_port

_REPLICATION = 3
"""As many copies Kafka's own topics have where there are nodes enough; with all but one of them a write counts."""


@dataclass(frozen=True, slots=True)
class Member:
    """One node of a cluster: its number, from 1, and the ports at which the controllers of all nodes listen."""

    node: int
    controllers: tuple[int, ...]

    def folder(self, data: Path) -> Path:
        """Where this node keeps its data in the data folder of all."""
        return data / (f"kafka-{self.node}" if len(self.controllers) > 1 else "kafka")

    @property
    def controller(self) -> int:
        """The port of this node's own controller."""
        return self.controllers[self.node - 1]

    @property
    def voters(self) -> str:
        """All controllers, as Kafka is told them."""
        return ",".join(f"{node}@{LOOPBACK}:{port}" for node, port in enumerate(self.controllers, 1))

    @property
    def replication(self) -> int:
        """How many copies Kafka's own topics have."""
        return min(_REPLICATION, len(self.controllers))

    @property
    def min_insync(self) -> int:
        """How many of them must take a write."""
        return max(1, self.replication - 1)


def drawn(nodes: int) -> list[Member]:
    """The members of a cluster that nobody has met yet."""
    ports: set[int] = set()
    while len(ports) < nodes:
        ports.add(free_port())
    return _members(tuple(ports))


def node_folders(folder: Path) -> list[Path]:
    """Where the nodes of a data folder keep their data; where nothing is yet, that of a single one. Raises `FolderUnusable`."""
    return [member.folder(folder) for member in _made(folder) or drawn(1)]


def members(folder: Path, nodes: int | None) -> list[Member]:
    """The members of a folder's cluster; `nodes` is how many are wanted, None for as many as it has.

    Raises:
        FolderUnusable: it holds a cluster of another size.
    """
    made = _made(folder)
    if made and nodes not in (None, len(made)):
        raise FolderUnusable(
            f"{folder} holds a cluster of {len(made)} node{'s' if len(made) > 1 else ''}, not of {nodes}",
            "leave out --nodes, or choose another folder with --data",
        )
    if any(holder(member.folder(folder)) for member in made):
        return made
    fresh = drawn(nodes or len(made) or 1)
    if len(fresh) > 1:
        _keep(folder, fresh[0].controllers)
    return fresh


def _members(controllers: tuple[int, ...]) -> list[Member]:
    return [Member(node, controllers) for node in range(1, len(controllers) + 1)]


def _made(folder: Path) -> list[Member]:
    """Those that have been started there, ever; none where nothing was."""
    several = _members(_kept(folder))
    for found in (several, drawn(1)):
        if any(member.folder(folder).exists() for member in found):
            return found
    return []


def _file(folder: Path) -> Path:
    return folder / "cluster.json"


def _kept(folder: Path) -> tuple[int, ...]:
    path = _file(folder)
    try:
        controllers = json.loads(path.read_text())["controllers"]
        if (
            not isinstance(controllers, list)
            or not controllers
            or not all(isinstance(port, int) for port in controllers)
        ):
            raise TypeError("controllers")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (ValueError, KeyError, TypeError) as error:
        raise FolderUnusable(
            f"{path} does not say which nodes the cluster has",
            'write {"controllers": [PORT, ...]} into it, a free port for each kafka-N folder, or choose another folder with --data',
        ) from error
    return tuple(controllers)


def _keep(folder: Path, controllers: tuple[int, ...]) -> None:
    path = _file(folder)
    fresh = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps({"controllers": controllers}))
        fresh.replace(path)  # whole or not at all
    except OSError as error:
        raise FolderUnusable(
            f"cannot use data folder {folder}: {error.strerror}", "choose another folder with --data"
        ) from error
