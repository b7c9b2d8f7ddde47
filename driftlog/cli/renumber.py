"""`driftlog topics renumber`: an op topic that was made anew goes on counting behind the one that was lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, err, rows
from driftlog.cli.extras import needs
from driftlog.cli.operator import trusted_root
from driftlog.cli.terminal import DEFAULT_CACHE, AppOption, Cache, Json, fail, one_space, told
from driftlog_schemas.loading import load_contract
from driftlog_schemas.moves import present
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings

if TYPE_CHECKING:
    from driftlog_streams.replaying.renumbering import Gap


@told
@connected
def renumber(
    app: AppOption,
    *,
    settings: ConnectionSettings,
    space: Annotated[
        str | None, typer.Option(help="The space whose op topic was lost; the only one by default.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only said what would be done.")] = False,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Let an op topic that was deleted and made again count on behind what was merged from the old one. All workers must be stopped.

    What devices had sent and no worker has merged they send again by themselves. Nothing is done to partitions whose log is the one that was merged.

    Example: driftlog topics renumber --app shop:app --space retail --yes
    """
    needs("streams", "`driftlog topics renumber`")
    from driftlog_streams.core.rules import SpaceRules
    from driftlog_streams.registry.in_force import devices_now
    from driftlog_streams.replaying.logs import Logs
    from driftlog_streams.replaying.renumbering import Renumbering

    spaces = load_contract(app).spaces
    name = one_space(spaces, space)
    ids = CachedRegistry(settings.registry, cache)
    lines = devices_now(settings.kafka, RecordCodecs(ids), trusted_root(settings))
    now = present(spaces[name], lines.moved)
    rules = SpaceRules(now, ids, generation=lines.generations(now.name).merged)
    with closing(Logs(settings.kafka)) as logs:
        renumbering = Renumbering(settings.kafka, rules, logs)
        gaps = renumbering.gaps()
        if yes:
            with Progress(console=err, transient=True, disable=json or not err.is_terminal) as bar:
                between = sum(max(0, gap.goes_on_at - gap.ends) for gap in gaps)
                task = bar.add_task(f"filling {rules.topics.ops}", total=between)
                renumbering.carry_out(gaps, lambda written: bar.advance(task, written))
    done = yes and bool(gaps)
    emit(
        {"space": name, "done": done, "partitions": _data(gaps)},
        as_json=json,
        table=lambda: _table(rules.topics.ops, gaps),
    )
    if gaps and not yes:
        fail(
            f"nothing was changed: {len(gaps)} partitions of {rules.topics.ops} would begin behind what was lost",
            "stop all workers, then say --yes; or bring the topic back from a backup",
        )


def _data(gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    return [
        {"partition": g.partition, "begins": g.begins, "ends": g.ends, "highest": g.highest, "goes_on_at": g.goes_on_at}
        for g in gaps
    ]


def _table(topic: str, gaps: Sequence[Gap]) -> Any:
    if not gaps:
        return f"nothing to do: each partition of {topic} has, or begins behind, what was merged from it"
    lines = [(g.partition, g.begins, g.ends, g.highest, g.goes_on_at) for g in gaps]
    return rows(topic, ("partition", "begins", "ends", "highest that is told of", "goes on at"), lines)
