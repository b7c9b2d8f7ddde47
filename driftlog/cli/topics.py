"""`driftlog topics plan|apply`: what would change on the broker, then change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer
from rich.table import Table

from driftlog.cli.drawing import emit, rows
from driftlog.cli.renumber import renumber
from driftlog.cli.repartition import repartition
from driftlog.cli.schemas import register_all, require_compatible, unregistered
from driftlog.cli.terminal import AppOption, Bootstrap, Config, Json, Registry, duration_ms, fail, told
from driftlog_schemas.connection import KafkaSettings, RegistrySettings
from driftlog_schemas.contract import AppContract
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.loading import load_contract
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.topics import REPLICATION, RETENTION_MS, Plan, plan, remembering, replicated, wanted_topics
from driftlog_schemas.topics_admin import Cluster, TopicsAdmin

app = typer.Typer(no_args_is_help=True, help="Topics of an app. Example: driftlog topics plan --app shop:app")


Replication = Annotated[
    int | None,
    typer.Option(
        envvar="DRIFTLOG_REPLICATION",
        min=1,
        help="Brokers that each new topic is on; a write needs all but one of them.",
        show_default=f"{REPLICATION}; 1 on a cluster of one broker",
    ),
]

Retention = Annotated[
    str,
    typer.Option(
        envvar="DRIFTLOG_RETENTION",
        help="How long whoever is away may come back as it is, and so how long what was deleted is remembered.",
        show_default="as it is; 30d for a new topic",
    ),
]


@app.command("plan")
@told
def plan_command(
    app: AppOption,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    replication: Replication = None,
    retention: Retention = "",
    json: Json = False,
) -> None:
    """Say what would change; change nothing. Example: driftlog topics plan --app shop:app"""
    contract = load_contract(app)
    settings = ConnectionSettings.load(config, bootstrap=bootstrap, registry=registry)
    made = Planned.of(contract, settings.kafka, replication, retention).with_schemas(contract, settings.registry)
    emit(made.data(), as_json=json, table=made.table)
    made.require_none_refused()


@app.command("apply")
@told
def apply_command(
    app: AppOption,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    replication: Replication = None,
    retention: Retention = "",
    json: Json = False,
) -> None:
    """Create and alter topics, register schemas; refuses what would lose data.

    Example: driftlog topics apply --app shop:app --bootstrap 127.0.0.1:9092
    """
    contract = load_contract(app)
    settings = ConnectionSettings.load(config, bootstrap=bootstrap, registry=registry)
    made = Planned.of(contract, settings.kafka, replication, retention)
    if not made.plan.refuse:  # before the first topic: a refusal must leave everything as it was
        require_compatible(contract, settings.registry)
        made = made.with_schemas(contract, settings.registry)
    made.admin.apply(made.plan)
    register_all(contract, settings.registry)
    emit(made.data(), as_json=json, table=made.table)


app.command("renumber")(renumber)
app.command("repartition")(repartition)


@dataclass(frozen=True)
class Planned:
    """What would change, and on which cluster."""

    admin: TopicsAdmin
    cluster: Cluster
    factor: int
    plan: Plan
    register: Sequence[str] | None = ()
    """Records whose schemas the registry does not have; None where it does not answer."""

    @classmethod
    def of(
        cls, contract: AppContract, kafka: KafkaSettings, replication: int | None = None, retention: str = ""
    ) -> Planned:
        """Raises `BrokerUnreachable`."""
        kept_ms = duration_ms("--retention", retention)
        admin = TopicsAdmin(kafka)
        cluster = admin.cluster()
        factor = replication or (1 if cluster.brokers == 1 else REPLICATION)
        there = admin.partition_counts()
        wanted = replicated(wanted_topics(contract, kept_ms or RETENTION_MS, there), factor)
        existing = admin.existing([t.name for t in wanted])
        return cls(admin, cluster, factor, plan(wanted if kept_ms else remembering(wanted, existing), existing))

    def with_schemas(self, contract: AppContract, registry: RegistrySettings) -> Planned:
        """With what would be registered."""
        try:
            return replace(self, register=unregistered(contract, registry))
        except RegistryUnreachable:
            return replace(self, register=None)

    @property
    def note(self) -> str:
        """What must be known of a cluster that keeps everything once, and of a registry that is silent."""
        once = () if self.factor > 1 else ("replication 1: with this broker's disk everything is lost",)
        silent = (
            () if self.register is not None else ("the schema registry does not answer: what it lacks is not known",)
        )
        return "; ".join([*once, *silent])

    def require_none_refused(self) -> None:
        """End with the first refusal, if there is one."""
        for refusal in self.plan.refuse:
            fail(f"topic {refusal.topic} {refusal.fact}", refusal.remedy)

    def data(self) -> dict[str, Any]:
        made = self.plan
        return {
            "cluster": self.cluster._asdict(),
            "replication": self.factor,
            "note": self.note,
            "create": [
                {"topic": t.name, "partitions": t.partitions, "settings": dict(t.settings)} for t in made.create
            ],
            "alter": [{"topic": a.topic, "settings": {k: list(v) for k, v in a.settings.items()}} for a in made.alter],
            "register": None if self.register is None else [*self.register],
            "refuse": [{"topic": r.topic, "fact": r.fact, "remedy": r.remedy} for r in made.refuse],
            "leave": [{"topic": r.topic, "fact": r.fact, "remedy": r.remedy} for r in made.leave],
        }

    def table(self) -> Table | str:
        made, place = self.plan, f"{self.cluster}" + (f" ({self.note})" if self.note else "")
        if made.empty and not made.leave and not self.register:
            return f"nothing to change on {place}"
        lines = [("create", t.name, f"{t.partitions} partitions, {t.settings['cleanup.policy']}") for t in made.create]
        for a in made.alter:
            lines += [
                ("alter", a.topic, f"{name}: {old or 'unset'} -> {new}") for name, (old, new) in a.settings.items()
            ]
        lines += [("register", name, "its schema") for name in self.register or ()]
        lines += [("REFUSE", r.topic, r.fact) for r in made.refuse]
        lines += [("leave", r.topic, f"{r.fact}: {r.remedy}") for r in made.leave]
        return rows(f"topics of {place}", ("what", "topic or record", "how"), lines)
