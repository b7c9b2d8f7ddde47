"""`driftlog topics plan|apply`: what would change on the broker, then change it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from driftlog.cli.schemas import register_all, require_compatible
from driftlog.cli.terminal import (
    AppOption,
    Bootstrap,
    Config,
    Json,
    Registry,
    emit,
    fail,
    rows,
    told,
)
from driftlog_schemas.contract import AppContract
from driftlog_schemas.loading import load_contract
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.topics import Plan, plan, wanted_topics
from driftlog_schemas.topics_admin import TopicsAdmin

app = typer.Typer(no_args_is_help=True, help="Topics of an app. Example: driftlog topics plan --app shop:app")


@app.command("plan")
@told
def plan_command(app: AppOption, bootstrap: Bootstrap = None, config: Config = None, json: Json = False) -> None:
    """Say what would change; change nothing. Example: driftlog topics plan --app shop:app"""
    made = _plan(load_contract(app), TopicsAdmin(ConnectionSettings.load(config, bootstrap=bootstrap).kafka))
    emit(_data(made), as_json=json, table=lambda: _table(made))
    if made.refuse:
        fail(f"topic {made.refuse[0].topic} {made.refuse[0].fact}", made.refuse[0].remedy)


@app.command("apply")
@told
def apply_command(
    app: AppOption,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    replication: Annotated[
        int, typer.Option(envvar="DRIFTLOG_REPLICATION", min=1, help="Replication factor of new topics.")
    ] = 1,
    json: Json = False,
) -> None:
    """Create and alter topics, register schemas; refuses what would lose data.

    Example: driftlog topics apply --app shop:app --bootstrap 127.0.0.1:9092
    """
    contract = load_contract(app)
    settings = ConnectionSettings.load(config, bootstrap=bootstrap, registry=registry)
    admin = TopicsAdmin(settings.kafka)
    made = _plan(contract, admin)
    if not made.refuse:
        require_compatible(
            contract, settings.registry
        )  # before the first topic: a refusal must leave everything as it was
    admin.apply(made, replication)
    register_all(contract, settings.registry)
    emit(_data(made), as_json=json, table=lambda: _table(made))


def _plan(contract: AppContract, admin: TopicsAdmin) -> Plan:
    wanted = wanted_topics(contract)
    return plan(wanted, admin.existing([t.name for t in wanted]))


def _data(made: Plan) -> dict[str, Any]:
    return {
        "create": [{"topic": t.name, "partitions": t.partitions, "settings": dict(t.settings)} for t in made.create],
        "alter": [{"topic": a.topic, "settings": {k: list(v) for k, v in a.settings.items()}} for a in made.alter],
        "refuse": [{"topic": r.topic, "fact": r.fact, "remedy": r.remedy} for r in made.refuse],
    }


def _table(made: Plan) -> Table | str:
    if made.empty:
        return "nothing to change"
    lines = [("create", t.name, f"{t.partitions} partitions, {t.settings['cleanup.policy']}") for t in made.create]
    for a in made.alter:
        lines += [("alter", a.topic, f"{name}: {old or 'unset'} -> {new}") for name, (old, new) in a.settings.items()]
    lines += [("REFUSE", r.topic, r.fact) for r in made.refuse]
    return rows("topics", ("what", "topic", "how"), lines)
