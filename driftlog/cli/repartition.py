"""`driftlog topics repartition`: a space goes on with another number of partitions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, err, facts
from driftlog.cli.extras import needs
from driftlog.cli.operator import OperatorPath, operator_key, trusted_root
from driftlog.cli.terminal import DEFAULT_CACHE, AppOption, Cache, Json, fail, one_space, told
from driftlog_schemas.loading import load_contract
from driftlog_schemas.moves import present
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings

if TYPE_CHECKING:
    from driftlog_streams.replaying.repartitioning import Done, Outlook


@told
@connected
def repartition(
    app: AppOption,
    *,
    settings: ConnectionSettings,
    partitions: Annotated[int, typer.Option(min=1, help="How many the space is to have.")],
    space: Annotated[str | None, typer.Option(help="The space; the only one by default.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only said what would be done.")] = False,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds that the workers may take to confirm what was closed.")
    ] = 600.0,
    operator: OperatorPath = None,
    cloud_identity: Annotated[
        Path | None,
        typer.Option(
            envvar="DRIFTLOG_CLOUD_IDENTITY",
            help="Identity of the workers: of a space with reactions what they have called for comes along in their name.",
        ),
    ] = None,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Let a space go on with another number of partitions, in topics of its own, while its devices work. The old op topic is closed for good.

    From the closing on what devices write waits with them, until the end. Cut off, the same command goes on. There is no way back but another move; before the first log
    is closed the number that it has takes it back.

    Example: driftlog topics repartition --app shop:app --space retail --partitions 12 --yes
    Example: driftlog topics repartition --app transfers:app --partitions 12 --cloud-identity cloud.json --yes
    """
    needs("streams", "`driftlog topics repartition`")
    from driftlog_streams.registry.cloud_identity import load_cloud_identity
    from driftlog_streams.registry.enrolment import Enrolment
    from driftlog_streams.replaying.repartitioning import Repartitioning

    spaces = load_contract(app).spaces
    name = one_space(spaces, space)
    ids = CachedRegistry(settings.registry, cache)
    cloud = None if cloud_identity is None else load_cloud_identity(cloud_identity)
    with (
        Enrolment(settings.kafka, ids, operator_key(operator), trusted_root(settings)) as enrolment,
        Progress(console=err, transient=True, disable=json or not err.is_terminal) as bar,
    ):
        task = bar.add_task(name, total=None)

        def told_of(what: str, done: float, total: float) -> None:
            bar.update(task, description=f"{name}: {what}", completed=done, total=total or None)

        now = present(spaces[name], enrolment.view.moved)
        data: dict[str, Any] = {"space": name, "partitions": partitions, "before": now.partitions}
        if now.partitions == partitions and now.name in enrolment.view.lines.moving():
            with Repartitioning(now, ids, settings.kafka, enrolment, wait, told_of) as work:
                work.take_back()
        if now.partitions == partitions:
            emit(data | {"done": True, "topics": now.name}, as_json=json, table=lambda: f"{name} has {partitions}")
            return
        with Repartitioning(now, ids, settings.kafka, enrolment, wait, told_of, cloud) as work:
            if yes:
                data |= _reached(work.carry_out(partitions, time.time_ns() // 1_000_000))
            else:
                data |= _outlook(work.outlook(partitions))
    emit(data, as_json=json, table=lambda: facts(name, data))
    if not yes:
        fail(f"nothing was changed: {name} would go on with {partitions} partitions", "say --yes; there is no way back")


def _outlook(found: Outlook) -> dict[str, Any]:
    return {
        "done": False,
        "documents": found.documents,
        "lives": found.lives,
        "begins": found.begins,
        "closed": list(found.closed),
    }


def _reached(done: Done) -> dict[str, Any]:
    begins = done.moved.begins
    return {
        "done": True,
        "documents": done.documents,
        "calls": done.calls,
        "begins": begins,
        "topics": done.space,
        "written_before": done.written_before,
    }
