"""`driftlog verify`: the digests of every scope that an agent holds, against what the state topics say."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import Annotated

import typer

from driftlog.cli.calling import Url, call
from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, rows
from driftlog.cli.operator import trusted_root
from driftlog.cli.terminal import DEFAULT_CACHE, Cache, Json, fail, told
from driftlog.client.sending import DEFAULT_URL
from driftlog.verification import verify as compared
from driftlog_schemas.digests import Versions
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.reading.state_digests import StateDigests
from driftlog_streams.registry.in_force import generations_now

app = typer.Typer()


@app.command()
@told
@connected
def verify(
    *,
    url: Url = DEFAULT_URL,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a common position.", min=0.0)] = 30.0,
    json: Json = False,
) -> None:
    """Compare what an agent holds with the cloud: the digest of every scope, counted anew from the state topics.

    Exit 0 when all are the same. Example: driftlog verify --url http://127.0.0.1:7420
    """
    ids = CachedRegistry(settings.registry, cache)
    versions = Versions(ids)
    in_force = generations_now(settings.kafka, RecordCodecs(ids), trusted_root(settings))
    with ExitStack() as clients:
        readers: dict[str, StateDigests] = {}

        def counted(place: str) -> StateDigests:
            if place not in readers:
                space, _, partition = place.rpartition("/")
                topic = SpaceTopics(space, in_force(space).read).state
                reader = StateDigests(settings.kafka, versions, topic, int(partition))
                readers[place] = clients.enter_context(closing(reader))
            return readers[place]

        lines = compared(lambda: call("GET", url, "/v1/status"), counted, timeout)
    data = [{name: facts[name] for name in _COLUMNS} for facts in map(asdict, lines)]
    table = [[entry[name] for name in _COLUMNS] for entry in data]
    emit(data, as_json=json, table=lambda: rows("edge and cloud", _COLUMNS, table))
    wrong = [f"{line.scope} in {line.place} is {line.verdict}" for line in lines if line.verdict != "same"]
    if wrong:
        fail("; ".join(wrong), "an agent that differs reads the partition again by itself: see `driftlog edge status`")


_COLUMNS = ("scope", "place", "verdict", "edge", "cloud", "documents", "offset")
