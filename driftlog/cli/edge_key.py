"""`driftlog edge key new|show|rotate`: the keys that an agent's folder is encrypted with."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from driftlog.cli.calling import Url, call
from driftlog.cli.drawing import emit, facts
from driftlog.cli.terminal import Json, fail, told
from driftlog.cli.texts import moment
from driftlog.client.sending import DEFAULT_URL

app = typer.Typer(
    no_args_is_help=True, help="The keys that the agent's folder is encrypted with. Example: driftlog edge key show"
)


@app.command()
@told
def new(
    out_file: Annotated[Path, typer.Option("--out", help="The file to write; nobody but its owner may read it.")],
    json: Json = False,
) -> None:
    """Write a key that wraps the data key of a folder. Example: driftlog edge key new --out /etc/driftlog/edge.key

    Name it in edge.toml as encryption_key_file. To replace a key, write the new one above it, into the same file.
    """
    try:
        fd = os.open(out_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    except FileExistsError:
        fail(f"{out_file} is there already", "give another with --out: what it wraps is lost without it")
    except OSError as error:
        fail(f"{out_file} cannot be written: {error.strerror}", "give another with --out")
    found = {"encryption_key_file": str(out_file)}
    emit(found, as_json=json, table=lambda: facts("a wrapping key; keep a copy where the device is not", found))


@app.command()
@told
def show(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Which data key encrypts, and whether older ones are being replaced. Example: driftlog edge key show --json"""
    _shown(call("GET", url, "/v1/status")["encryption"], json)


@app.command()
@told
def rotate(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Encrypt with another data key; the agent goes on working. Example: driftlog edge key rotate

    The key that wraps is read anew. What is stored is written anew in the background: `driftlog edge key show` says how that goes.
    """
    _shown(call("POST", url, "/v1/encryption/rotate"), json)


def _shown(found: dict[str, Any], json: bool) -> None:
    flat = {**found, "made_ms": moment(found["made_ms"]), "wrapped_by": found["wrapped_by"] or "nothing"}
    emit(found, as_json=json, table=lambda: facts("encryption", flat))
