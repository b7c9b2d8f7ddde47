"""A whole Driftlog for an app's tests, on a broker that is there: topics, schemas, an operator, a merge worker, and agents in a few lines.

    cluster = driftlog_cluster(app)
    async with cluster.agent("till", scopes=["store-1"]) as till:
        await till.run("receive", store="store-1", sku="tea", qty=1, wait="merged")

The worker is the real `driftlog worker`, a process of its own that loads the app again; it dies with the test run, however that ends. Agents run in the
test's own event loop. Every cluster has an operator of its own, whose root is pinned, so that several can share a broker.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from driftlog.app import App
from driftlog.cli.schemas import register_all
from driftlog.demo.processes import Child, until
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_infra.ports import free_port, is_free
from driftlog_infra.warden import Warden
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.loading import load_contract
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.public_key import key_text
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.topics import plan, wanted_topics
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rights import FORGET
from driftlog_streams.registry.enrolment import Enrolment

READY_SECONDS = 120.0
SESSION_SECONDS = 6.0
"""So soon a worker that was killed is replaced."""
EVERYTHING = ("*",)


def place_of(app: App) -> str:
    """`module:name` of an app, by which another process finds it. Raises ValueError if none can."""
    for name, module in list(sys.modules.items()):
        if name == "__main__" or not _can_be_found(name):
            continue
        for attribute, value in list(vars(module).items()):
            if value is app:
                return f"{name}:{attribute}"
    raise ValueError(
        f"app {app.name!r} is no attribute of a module that a worker process can import; declare it in one, or give 'module:app'"
    )


def _can_be_found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


class Cluster:
    """One app on one broker, with a merge worker. A context manager; `folder` holds all that it writes."""

    def __init__(self, app: App | str, bootstrap: str, registry: str, folder: Path, root: Path) -> None:
        """`root` is where `module:name` is found."""
        self.bootstrap = bootstrap
        self.registry = registry
        self._place = app if isinstance(app, str) else place_of(app)
        self._root_folder = root
        self.contract: AppContract = load_contract(app, root) if isinstance(app, str) else app.contract
        self._folder = folder
        self._root = RootKey.create()
        self._operator = OperatorKey.create(self._root, time.time_ns() // 1_000_000)
        self._ids = CachedRegistry(registry, folder / "schemas", register=True)
        self._worker: Child | None = None
        self._warden: Warden | None = None

    def __enter__(self) -> Self:
        admin, wanted = TopicsAdmin(self.bootstrap), wanted_topics(self.contract)
        admin.apply(plan(wanted, admin.existing([topic.name for topic in wanted])))
        register_all(self.contract, self.registry)
        self._warden = Warden()
        try:
            self.start_worker()
        except BaseException:
            self._close(self._warden)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._warden is not None, "it was entered"
        self._close(self._warden)

    def _close(self, warden: Warden) -> None:
        try:
            self.stop_worker()
        finally:
            warden.dismiss()

    # -- the worker

    def start_worker(self) -> None:
        """Start it; returns when it merges. Raises `DemoFailed` with the end of its log if it does not."""
        assert self._warden is not None, "enter the cluster first"
        ports = _free_ports(len(self.contract.spaces))
        log = self._folder / "worker.log"
        worker = Child(
            "the worker",
            [
                *("worker", "--app", self._place, "--bootstrap", self.bootstrap, "--registry", self.registry),
                *("--data-dir", str(self._folder / "worker"), "--session-timeout", str(SESSION_SECONDS)),
                *self._cloud(),
                *("--metrics-address", f"127.0.0.1:{ports[0]}", "--config", str(self._settings())),
            ],
            self._root_folder,
            log,
            self._warden,
            {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._worker = worker
        until("the worker to merge", lambda: all(map(_ready, ports)), [worker], READY_SECONDS)

    def kill_worker(self) -> None:
        """SIGKILL to the worker and all its processes. Start it again with `start_worker`."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _cloud(self) -> list[str]:
        """The identity that a worker needs to write what reactions call for."""
        if not any(space.reactions for space in self.contract.spaces.values()):
            return []
        identity = self._folder / "cloud.json"
        if not identity.exists():
            with Enrolment(self.bootstrap, self._ids, self._operator) as enrolment:
                enrolment.enrol(CLOUD, identity, (), (FORGET,))
        return ["--cloud-identity", str(identity)]

    def stop_worker(self) -> None:
        """End it in order; agents work on without it."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _settings(self) -> Path:
        path = self._folder / "worker.toml"
        path.write_text(f"[trust]\nroot = {json.dumps(self.root)}\n")
        return path

    # -- devices

    @property
    def root(self) -> str:
        """The public key of the operator's root, as settings take it."""
        return key_text(self._root.public)

    def agent(
        self,
        name: str = "device",
        *,
        scopes: Sequence[str],
        permissions: Sequence[str] = EVERYTHING,
        writes: Sequence[str] = EVERYTHING,
        **settings: Any,
    ) -> EdgeAgent:
        """The agent of a new device, to be entered with `async with`.

        `scopes` are those that it holds, `writes` those that it may write, `permissions` the commands that it may send; `settings` are any others of
        `EdgeConfig`. To start a device again, make an `EdgeAgent` of the same `config`.
        """
        device = f"{name}-{secrets.token_hex(3)}"
        identity = self._folder / f"{device}.identity.json"
        with Enrolment(self.bootstrap, self._ids, self._operator) as enrolment:
            enrolment.enrol(device, identity, writes, permissions)
        config = EdgeConfig.load(
            None,
            data_dir=self._folder / device,
            identity=identity,
            bootstrap=self.bootstrap,
            registry=self.registry,
            trust={"root": self.root},
            scopes=list(scopes),
            **settings,
        )
        return EdgeAgent(self.contract, config)


def _free_ports(count: int) -> list[int]:
    """So many in a row, as the processes of a worker take them."""
    while True:
        ports = [first := free_port(), *range(first + 1, first + count)]
        if all(map(is_free, ports)):
            return ports


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, verify=False).is_success
    except httpx.TransportError:
        return False
