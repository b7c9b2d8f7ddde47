"""Who plays: a broker and a registry, two workers, three agents, each a process of its own.

Nothing of it outlives the demo: not the processes, not the identities' private keys. A folder of its own holds both, and a
warden ends the ones and removes the other when the demo cannot, because it was killed. What stays after a play that failed are the logs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from driftlog.cli.schemas import register_all
from driftlog.demo.processes import Child, DemoFailed, until
from driftlog.demo.shops import Shop
from driftlog_infra import EmbeddedBroker, EmbeddedRegistry
from driftlog_infra.ports import free_port
from driftlog_infra.server import EmbeddedServer
from driftlog_infra.signals import undisturbed
from driftlog_infra.warden import Warden
from driftlog_schemas.contract import AppContract
from driftlog_schemas.loading import load_contract
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics import plan, wanted_topics
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.registry.enrolment import Enrolment

S = TypeVar("S", bound=EmbeddedServer)

APP = "shop:app"
STORES = ("store-1", "store-2")
EDGES = (*STORES, "head-office")
WORKERS = 2

REMOVALS = 5
REMOVAL_PAUSE_SECONDS = 0.2

_HERE = Path(__file__).parent
_EXAMPLES = (_HERE.parent / "examples" / "retail", _HERE.parent.parent / "examples" / "retail")


class Cast:
    """Everything that runs; a context manager that leaves nothing behind (the logs stay if the play failed)."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stack = ExitStack()
        self._root = Path(tempfile.mkdtemp(prefix="driftlog-demo-"))
        self._warden = Warden(remove=self._root)
        self.folder = self._root / "run"
        self.logs = self._root / "logs"
        for folder in (self.folder, self.logs):
            folder.mkdir(mode=0o700)
        self.children: list[Child] = []
        self.shops: dict[str, Shop] = {}
        self.identities: dict[str, Identity] = {}
        self.bootstrap = ""
        self.registry = ""
        self.app = APP
        self.contract: AppContract
        self._operator = OperatorKey.create(RootKey.create(), time.time_ns() // 1_000_000)

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        with undisturbed():
            for child in self.children:
                child.ask_to_stop()
            self._stack.close()
            self._remove(self.folder if isinstance(error, Exception) else self._root)
            self._warden.dismiss()

    def _remove(self, folder: Path) -> None:
        attempts = Retrying(
            retry=retry_if_exception_type(OSError),  # what was killed may have written one file more
            stop=stop_after_attempt(REMOVALS),
            wait=wait_fixed(REMOVAL_PAUSE_SECONDS),
            reraise=True,
        )
        try:
            attempts(shutil.rmtree, folder)
        except OSError as failure:
            self._say(f"cannot remove {folder}, which holds private keys: {failure}; remove it yourself")

    def _open(self) -> None:
        shutil.copy(example() / "shop.py", self.folder / "shop.py")
        self.contract = load_contract(APP, self.folder)
        self._say("starting Apache Kafka and the schema registry")
        broker, registry = EmbeddedBroker(), EmbeddedRegistry()
        for server in (broker, registry):
            self._stack.callback(server.close)
            server.fetch(quiet=False)
        self.bootstrap = broker.start().bootstrap
        self.registry = registry.start().url
        self._say("creating topics, registering schemas, enrolling three devices")
        admin = TopicsAdmin(self.bootstrap)
        admin.apply(plan(wanted_topics(self.contract), admin.existing()))
        register_all(self.contract, self.registry)
        for name in EDGES:
            self.identities[name] = Identity.load(self.enrol(name))
        self._say(f"starting {WORKERS} merge workers and {len(EDGES)} edge agents")
        for slot in range(WORKERS):
            self.start(
                f"worker-{slot}", "worker", "--app", APP, "--bootstrap", self.bootstrap, "--registry", self.registry,
                "--data-dir", str(self.folder / f"worker-{slot}"), "--slot", str(slot),
            )  # fmt: skip
        for name in EDGES:
            self._start_edge(name)
        until("the agents to answer", lambda: all(s.up() for s in self.shops.values()), self.children)

    def enrol(self, name: str) -> Path:
        """A device more; where its identity is."""
        path = self.folder / f"{name}.identity.json"
        ids = CachedRegistry(self.registry, self.folder / "schemas", register=True)
        with Enrolment(self.bootstrap, ids, self._operator) as enrolment:
            enrolment.enrol(name, path)
        return path

    def start(self, name: str, *arguments: str) -> Child:
        """A process more; it ends with the rest."""
        child = Child(name, arguments, self.folder, self.logs / f"{name}.log", self._warden)
        self.children.append(child)
        self._stack.callback(child.stop)
        return child

    def run(self, name: str, *arguments: str, seconds: float, **environment: str) -> None:
        """A process that ends by itself. Raises `DemoFailed` where it does not, or not well."""
        child = Child(name, arguments, self.folder, self.logs / f"{name}.log", self._warden, environment)
        self._stack.callback(child.stop)
        child.require_end(seconds)

    def more(self, server: S) -> S:
        """A server more, started; it ends with the rest. Raises `InfraError`."""
        self._stack.callback(server.close)
        server.start(quiet=False)
        return server

    def _start_edge(self, name: str) -> None:
        port, replica = free_port(), self.folder / f"{name}.replica"
        config = {
            "data_dir": str(replica),
            "identity": str(self.folder / f"{name}.identity.json"),
            "bootstrap": self.bootstrap,
            "registry": self.registry,
            "scopes": list(STORES),
            "http_port": port,
        }
        toml = self.folder / f"{name}.toml"
        toml.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
        child = self.start(name, "edge", "run", "--app", APP, "--config", str(toml))
        self.shops[name] = Shop(name, f"http://127.0.0.1:{port}", replica / "token", child)


def example() -> Path:
    """The folder of the retail example. Raises `DemoFailed` where it is not installed."""
    for folder in _EXAMPLES:
        if (folder / "shop.py").exists():
            return folder
    raise DemoFailed("the retail example is not installed", "install driftlog again")
