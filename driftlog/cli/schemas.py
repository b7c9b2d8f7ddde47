"""`driftlog schemas check|register`: what readers and writers agree on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from driftlog.cli.drawing import emit, rows
from driftlog.cli.terminal import AppOption, Config, Json, Registry, fail, told
from driftlog_schemas import avro_files
from driftlog_schemas.connection import RegistrySettings
from driftlog_schemas.contract import AppContract
from driftlog_schemas.errors import UnknownSchema
from driftlog_schemas.loading import load_contract
from driftlog_schemas.registry import REMEDY, CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.state_codec import state_schema

BREAKING = "give every new field a default; never change a type"

app = typer.Typer(no_args_is_help=True, help="Schemas of an app. Example: driftlog schemas check --app shop:app")


@app.command()
@told
def check(app: AppOption, registry: Registry = None, config: Config = None, json: Json = False) -> None:
    """Would the registry take them all, and does every field mean what it meant? Changes nothing. Example: driftlog schemas check --app shop:app"""
    found = verdicts(load_contract(app), ConnectionSettings.load(config, registry=registry).registry)
    lines = [(name, one.told) for name, one in found.items()]
    good = {name: one.good for name, one in found.items()}
    emit(good, as_json=json, table=lambda: rows("schemas", ("record", "verdict"), lines))
    _refuse_breaking(found)


@app.command()
@told
def register(app: AppOption, registry: Registry = None, config: Config = None, json: Json = False) -> None:
    """Register them all; again is harmless. Example: driftlog schemas register --app shop:app"""
    contract = load_contract(app)
    where = ConnectionSettings.load(config, registry=registry).registry
    require_compatible(contract, where)
    ids = register_all(contract, where)
    emit(ids, as_json=json, table=lambda: rows("schemas", ("record", "id"), ids.items()))


def all_schemas(contract: AppContract) -> list[str]:
    """The texts of every record type that an app uses."""
    texts = [avro_files.text(name) for name in avro_files.REGISTERED]
    for space in contract.spaces.values():
        texts += [state_schema(collection) for collection in space.collections.values()]
    return texts


class Verdict(NamedTuple):
    """Would the registry take a schema, and what does it declare otherwise than before?"""

    compatible: bool
    changes: Sequence[str]

    @property
    def good(self) -> bool:
        return self.compatible and not self.changes

    @property
    def told(self) -> str:
        if self.changes:
            return f"CHANGES MEANING: {'; '.join(self.changes)}"
        return "compatible" if self.compatible else "BREAKS READERS"


def verdicts(contract: AppContract, where: RegistrySettings | str) -> dict[str, Verdict]:
    """Record name -> what speaks against its schema. Changes nothing."""
    with tempfile.TemporaryDirectory() as cache:
        client = CachedRegistry(where, Path(cache))
        return {
            avro_files.full_name(text): Verdict(client.compatible(text), client.changes(text))
            for text in all_schemas(contract)
        }


def unregistered(contract: AppContract, where: RegistrySettings | str) -> list[str]:
    """The names of the records whose schemas the registry does not have. Raises `RegistryUnreachable`."""
    found: list[str] = []
    with tempfile.TemporaryDirectory() as cache:
        client = CachedRegistry(where, Path(cache))
        for text in all_schemas(contract):
            try:
                client.id_of(text)
            except UnknownSchema:
                found.append(avro_files.full_name(text))
    return found


def require_compatible(contract: AppContract, where: RegistrySettings | str) -> None:
    """End with the line that names what would break readers, before anything is registered."""
    _refuse_breaking(verdicts(contract, where))


def _refuse_breaking(found: Mapping[str, Verdict]) -> None:
    if changed := [f"{name}: {'; '.join(one.changes)}" for name, one in found.items() if one.changes]:
        fail(" and ".join(changed), REMEDY)
    if bad := [name for name, one in found.items() if not one.good]:
        fail(f"the registry would refuse {', '.join(bad)}", BREAKING)


def register_all(contract: AppContract, where: RegistrySettings | str) -> dict[str, int]:
    """Record name -> id."""
    with tempfile.TemporaryDirectory() as cache:
        client = CachedRegistry(where, Path(cache), register=True)
        return {avro_files.full_name(text): client.id_of(text) for text in all_schemas(contract)}
