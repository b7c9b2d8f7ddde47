"""`driftlog edge run`: an agent in a process of its own.

What is imported here stays in memory for as long as the agent runs. So the options are read with click, which the HTTP server has imported already,
and nothing is drawn (`tests/unit/edge/test_light.py`). Wrong calls and failures are told as by every other command.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from driftlog.agent_notes import noted
from driftlog.cli.failures import failure_of, misuse
from driftlog.cli.texts import no_text, printable

_FILE = click.Path(path_type=Path)


def main(arguments: Sequence[str]) -> int:
    """Run an agent until it is told to stop; the exit code."""
    try:
        command.main(list(arguments), prog_name="driftlog edge run", standalone_mode=False)
    except click.ClickException as error:
        return _end(misuse(error), 2)
    except click.Abort:
        return _end("aborted", 1)
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        return _end(failure.line, failure.code)
    return 0


def _end(line: str, code: int) -> int:
    click.echo(printable(line), err=True)
    return code


@click.command()
@click.option("--app", required=True, envvar="DRIFTLOG_APP", help="MODULE:ATTRIBUTE of the app, for example shop:app.")
@click.option(
    "--config",
    type=_FILE,
    envvar="DRIFTLOG_CONFIG",
    help="TOML file with the agent's settings, and the tables kafka, registry and trust.",
)
@click.option("--data-dir", type=_FILE, help="Folder of the replica.")
@click.option("--identity", type=_FILE, help="Identity file from `driftlog devices enrol`.")
@click.option("--bootstrap", help="HOST:PORT of a Kafka broker; DRIFTLOG_BOOTSTRAP.")
@click.option("--registry", help="URL of the schema registry; DRIFTLOG_REGISTRY.")
@click.option("--scope", "scopes", multiple=True, help="Scope to hold; may be repeated.")
@click.option("--http-port", type=int, help="Port of the API on loopback.")
@click.option("--durability", help="disk (fsync before the answer) or os.")
@click.option(
    "--metrics-address",
    help="HOST:PORT, or PORT on loopback, of /metrics, /healthz and /readyz, for whoever asks.",
)
@click.option("--encryption-key-file", type=_FILE, help="File with the key that wraps the folder's data key.")
def command(app: str, config: Path | None, scopes: Sequence[str], **given: Any) -> None:
    """Run an agent until it is told to stop. Example: driftlog edge run --app shop:app --config edge.toml

    On SIGHUP it reads the file again: what may change while it runs is changed, and the log names what may not.
    """
    typed = {"app": app, "scopes": scopes, **given}
    if (wrong := no_text(typed)) is not None:
        raise click.BadParameter(wrong[1], param_hint=repr(wrong[0]))
    # Who only asks for help, or has typed something wrong, need not wait for an agent's libraries.
    from driftlog_edge import EdgeConfig
    from driftlog_edge.http_api.access import TOKEN_FILE
    from driftlog_edge.http_api.server import serve
    from driftlog_schemas.loading import load_contract

    contract = load_contract(app)
    load = partial(EdgeConfig.load, config, scopes=list(scopes) or None, **given)
    settings = load()
    # Where there is no file, and where a terminal is closed, being hung up on is the end.
    reread = None if config is None or sys.stderr.isatty() else load
    token_file = settings.http_token_file or settings.data_dir / TOKEN_FILE
    asyncio.run(serve(contract, settings, lambda port: noted(port, token_file), reread))
