"""One worker process: checks that it can work, says in one line why not, or merges one space until SIGTERM.

Started by the supervisor as `python -m driftlog_streams.process.worker`, with its settings as JSON on standard input: a fresh interpreter,
because neither librdkafka nor RocksDB survives a fork. It dies with its parent (Linux: PR_SET_PDEATHSIG; elsewhere a
thread watches the parent), so that no worker is left behind that nobody supervises.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.contract import AppContract, SpaceContract
from driftlog_schemas.device_lines import UNKNOWN_SCHEMA, UNREADABLE
from driftlog_schemas.errors import BrokerUnreachable, ContractError, RegistryMadeAnew, RegistryUnreachable
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.loading import load_contract
from driftlog_schemas.moves import present
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import BRING_BACK, CachedRegistry
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import Exit, SetupProblem, WorkerError, exit_of
from driftlog_streams.process.lost_devices import require_devices
from driftlog_streams.process.surroundings import require_room
from driftlog_streams.registry.cloud_identity import KeyWatch, cloud_identity
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.registry.in_force import devices_now
from driftlog_streams.registry.pinning import given_root, keep_root, kept_root
from driftlog_streams.settings import WorkerSettings
from driftlog_streams.telling.logs import configure_logs

_PR_SET_PDEATHSIG = 1


def chosen_spaces(contract: AppContract, names: tuple[str, ...]) -> list[SpaceContract]:
    """The spaces to merge. Raises `SetupProblem` for one that is not declared."""
    for name in names:
        if name not in contract.spaces:
            known = ", ".join(sorted(contract.spaces)) or "none"
            raise SetupProblem(f"app {contract.name!r} declares no space {name!r}; it has {known}", "mend --space")
    spaces = [contract.spaces[name] for name in names or contract.spaces]
    if not spaces:
        raise SetupProblem(f"app {contract.name!r} declares no space", "declare one: app.space('retail', partitions=8)")
    return spaces


def check_topics(spaces: Sequence[SpaceContract], kafka: KafkaSettings | str, wait: float) -> dict[str, int]:
    """The device registry, and what these spaces have whichever generation is in force: raise what `TopicsAdmin.require` raises.

    A silent broker is waited for. Space -> how many partitions it has, wherever it has moved.
    """
    end = time.monotonic() + wait
    while True:
        try:
            admin = TopicsAdmin(kafka, timeout=max(1.0, min(5.0, wait)))
            there = admin.partition_counts()
            own = {space.name: topics.laid(space.name, space.partitions, there) for space in spaces}
            laid = [one for all_of_it in own.values() for one in all_of_it]
            every = [topic for name, count in laid for topic in topics.space_topics(name, count, generations=())]
            admin.require([topics.devices_topic(), *every])
            return {name: all_of_it[-1][1] for name, all_of_it in own.items()}
        except BrokerUnreachable as error:
            if time.monotonic() > end:
                raise BrokerUnreachable(f"{error} (waited {wait:.0f} s)", error.remedy) from error
            time.sleep(0.3)


def check_schemas(spaces: list[SpaceContract], settings: WorkerSettings) -> None:
    """Raise what the registry raises, and `DevicesUnknown`; one that is silent and must be asked is waited for."""
    from driftlog_streams.core.rules import SpaceRules

    end = time.monotonic() + settings.wait
    while True:
        ids = CachedRegistry(settings.registry, settings.data_dir / "schemas", register=True, lasting=True)
        try:
            if not ids.remembers:
                require_readable(settings)
            for space in spaces:
                SpaceRules(space, ids).register()
            return
        except RegistryUnreachable as error:
            if time.monotonic() > end:
                raise RegistryUnreachable(f"{error} (waited {settings.wait:.0f} s)", error.remedy) from error
            time.sleep(0.3)


def require_readable(settings: WorkerSettings) -> None:
    """A worker that has kept nothing believes of old records what the registry says: one that was made anew cannot read the operator's lines either.

    Raises `RegistryMadeAnew`, `RegistryUnreachable`, `DevicesUnknown`.
    """
    with tempfile.TemporaryDirectory() as cache:
        ids = CachedRegistry(settings.registry, Path(cache))
        lines = devices_now(settings.kafka, RecordCodecs(ids), given_root(settings.trust.root))
    unread = lines.ignored[UNREADABLE] + lines.ignored[UNKNOWN_SCHEMA]
    if unread and not len(lines):
        raise RegistryMadeAnew(
            f"schema registry {settings.registry.url} was made anew, or is another one: of {unread} lines of {topics.DEVICES} it can read none",
            BRING_BACK,
        )


def run_worker(settings: WorkerSettings, space: str, slot: str) -> None:
    """Merge one space until SIGTERM; then the process exits with 0."""
    from driftlog_streams.core.rules import SpaceRules
    from driftlog_streams.faust_driver.host import WorkerHost
    from driftlog_streams.telling.health import serve

    configure_logs(settings.log_level, space=space, slot=slot)
    require_room(settings.data_dir)
    contract = load_contract(settings.app)
    (chosen,) = chosen_spaces(contract, (space,))
    check_topics([chosen], settings.kafka, settings.wait)
    ids = CachedRegistry(settings.registry, settings.data_dir / "schemas", register=True, lasting=True)
    cloud = cloud_identity(settings.cloud_identity, reacting=bool(chosen.reactions))
    devices = known_devices(settings, RecordCodecs(ids))
    require_devices(devices.lines, chosen, settings.kafka)
    if cloud is not None and chosen.reactions:
        KeyWatch(cloud, reacting=True).require(devices.find(CLOUD))
    chosen = present(chosen, devices.moved)
    generation = devices.generations(chosen.name).merged
    own = topics.space_topics(chosen.name, chosen.partitions, generations=(generation,))
    TopicsAdmin(settings.kafka).require(own)
    rules = SpaceRules(chosen, ids, cloud, generation)
    rules.register()
    spare_the_collector()
    host = WorkerHost(rules, settings, slot, devices)
    if settings.metrics_address:
        serve(host.health, host.metrics.registry, settings.metrics_address)
    host.run()


def work(settings: WorkerSettings, space: str, slot: str) -> None:
    """`run_worker` as all that a process does: its exit code says how it has ended (`errors.Exit`), and its last line why."""
    from driftlog_streams.faust_driver.sudden_end import die

    try:
        run_worker(settings, space, slot)
    except (ContractError, WorkerError) as error:
        print(f"worker {space}/{slot}: {error}; {error.remedy}", file=sys.stderr)  # noqa: T201
        sys.exit(exit_of(error))
    except Exception as error:  # noqa: BLE001  # nobody foresaw it; Python's own exit code would call it a missing setting
        die(error)


def known_devices(settings: WorkerSettings, codecs: RecordCodecs) -> DeviceView:
    """The device registry, read to its present end, and followed from there. Raises `DevicesUnknown`, `BadSetting`."""
    root = given_root(settings.trust.root) or kept_root(settings.data_dir)
    view = DeviceView(settings.kafka, codecs, root, mend=True, met=lambda root: keep_root(settings.data_dir, root))
    view.start()
    return view


def spare_the_collector() -> None:
    """Look for cyclic garbage seldom.

    What a worker makes is values in trees, freed by their counts; the cycles are a task here and an exception there. But it keeps
    hundreds of thousands of merged states, and with Python's thresholds the collector would walk through them again and again:
    half of a worker's time where many documents change.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def die_with_parent(parent: int) -> None:
    """End this process when `parent` is gone, however it went."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(Exit.STOPPED)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(Exit.STOPPED)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main() -> None:
    """The child of `supervisor`: argv = parent pid, space, slot; settings on stdin."""
    parent, space, slot = sys.argv[1:4]
    die_with_parent(int(parent))
    settings = WorkerSettings.model_validate_json(sys.stdin.read())
    sys.path.insert(0, str(Path.cwd()))
    work(settings, space, slot)


if __name__ == "__main__":
    main()
