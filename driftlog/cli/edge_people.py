"""What waits for a person, or for a look of one: the review list, what was rejected, what the cloud has put off."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

from driftlog.cli.calling import Url, call, call_if_found
from driftlog.cli.drawing import emit, facts
from driftlog.cli.edge_lists import all_of, commands_table, path
from driftlog.cli.terminal import Json, fail, told
from driftlog.client.sending import DEFAULT_URL

Id: TypeAlias = Annotated[str, typer.Argument(help="The command's id, or as much of its beginning as names it.")]

review = typer.Typer(no_args_is_help=True, help="Commands that wait for a person. Example: driftlog edge review list")
rejected = typer.Typer(
    no_args_is_help=True, help="Commands that were rejected later. Example: driftlog edge rejected list"
)
deferred = typer.Typer(
    no_args_is_help=True, help="Commands that the cloud has put off. Example: driftlog edge deferred list"
)


@review.command("list")
@told
def review_list(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Commands that wait for a person. Example: driftlog edge review list"""
    found = all_of(url, "/v1/review", "commands")
    emit(found, as_json=json, table=lambda: commands_table("commands that wait for a person", found, by="id"))


@review.command("apply")
@told
def review_apply(command_id: Id, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Run a command on what is there now. Example: driftlog edge review apply 3f1c"""
    _decide(url, "review", command_id, {"apply": True}, json, "status", "code")


@review.command("drop")
@told
def review_drop(command_id: Id, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Give a command up. Example: driftlog edge review drop 3f1c"""
    _decide(url, "review", command_id, {"drop": True}, json, "status", "code")


@rejected.command("list")
@told
def rejected_list(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Commands that were rejected after they had been answered, and that nobody has looked at. Example: driftlog edge rejected list"""
    found = all_of(url, "/v1/rejected", "commands")
    emit(found, as_json=json, table=lambda: commands_table("rejected, and nobody has looked at them", found, by="id"))


@rejected.command("seen")
@told
def rejected_seen(command_id: Id, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Take a command off the list, for it was looked at. Example: driftlog edge rejected seen 3f1c"""
    _decide(url, "rejected", command_id, {"seen": True}, json, "status", "code", "reason")


@deferred.command("list")
@told
def deferred_list(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Commands that the cloud has put off, and what stands behind them. Example: driftlog edge deferred list"""
    found = all_of(url, "/v1/deferred", "commands")
    emit(found, as_json=json, table=lambda: commands_table("commands that the cloud has put off", found, by="id"))


@deferred.command("drop")
@told
def deferred_drop(
    command_id: Id,
    reason: Annotated[str, typer.Option(help="Why; kept with the command.")],
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Give a command up; what stands behind it goes on. Example: driftlog edge deferred drop 3f1c --reason 'field is gone'"""
    _decide(url, "deferred", command_id, {"reason": reason}, json, "status", "code", "reason")


def _decide(url: str, which: str, given: str, decision: dict[str, Any], json: bool, *told: str) -> None:
    """Decide about a command of one of the agent's lists, of which the id or its beginning was given; these facts of its answer are told.

    The list may be long, so it is read only where no command of it is called just so.
    """
    if not given:
        fail("no id was given", f"see `driftlog edge {which} list`")
    found = call_if_found("POST", url, _place(which, given), json=decision)
    if found is None:
        meant = [id for one in all_of(url, f"/v1/{which}", "commands") if (id := one["command_id"]).startswith(given)]
        if len(meant) > 1:
            fail(f"{len(meant)} commands of that list begin with {given!r}", "give more of the id")
        found = call("POST", url, _place(which, meant[0] if meant else given), json=decision)
    shown = found
    emit(shown, as_json=json, table=lambda: facts(shown["command_id"], {k: shown[k] for k in told}))


def _place(which: str, command_id: str) -> str:
    return f"/v1/{which}/{path(command_id)}"
