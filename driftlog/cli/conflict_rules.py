"""`driftlog conflicts rules`: rules proposed from past decisions, and a dry run of one of them over all of these."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from driftlog.cli.conflict_topics import read_all
from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, rows
from driftlog.cli.terminal import DEFAULT_CACHE, AppOption, Cache, Json, fail, told
from driftlog.cli.texts import MOST_ON_A_PAGE, printable
from driftlog_schemas.contract import AppContract
from driftlog_schemas.settings import ConnectionSettings
from driftlog_streams.reading.conflict_export import as_json, exact
from driftlog_streams.reading.conflict_rules import LEAST, SHARE, Judged, RuleName, Studied, Tried, study
from driftlog_streams.reading.rule_declarations import WORDS, change_of


@told
@connected
def rules(
    app: AppOption,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    collection: Annotated[str, typer.Option(help="Only of this collection.")] = "",
    field: Annotated[str, typer.Option(help="Only of this field.")] = "",
    rule: Annotated[
        RuleName | None, typer.Option(help="Try this rule on each decision; with --collection and --field.")
    ] = None,
    json: Json = False,
) -> None:
    """What people always picked, and the rule that would have decided as they did; nothing is changed.

    With --rule a dry run: what it would have chosen of each, and what to declare. Example: driftlog conflicts rules --app shop:app --collection Stock --field price --rule larger
    """
    if rule is not None and not (collection and field):
        raise typer.BadParameter("--rule is tried on one field: give --collection and --field")
    contract, known = read_all(app, settings, cache)
    found = [
        one
        for one in study(known, contract)
        if (not collection or one.collection == collection) and (not field or one.field == field)
    ]
    if rule is None:
        emit([told_of(one, contract) for one in found], as_json=json, table=lambda: _table(found))
        return
    tried = found[0].rule(rule) if found else None
    if tried is None:
        fail(f"no past decision about {collection}.{field} could have been made by {rule}", "see them without --rule")
    emit(dry_run(found[0], tried, contract), as_json=json, table=lambda: _page(found[0], tried, contract))


def told_of(studied: Studied, contract: AppContract) -> dict[str, Any]:
    """What was found about one field, as data."""
    proposal = studied.proposal
    return {
        "collection": studied.collection,
        "field": studied.field,
        "decisions": studied.decisions,
        "left_out": studied.left_out,
        "proposal": None if proposal is None else _tried(studied, proposal, contract),
        "tried": {one.rule: one.agreeing for one in studied.tried},
    }


def dry_run(studied: Studied, tried: Tried, contract: AppContract) -> dict[str, Any]:
    """What a rule would have chosen of each past decision, as data."""
    return _tried(studied, tried, contract) | {"judged": [_judged(one) for one in tried.judged]}


def _tried(studied: Studied, tried: Tried, contract: AppContract) -> dict[str, Any]:
    change = change_of(contract, studied.collection, studied.field, tried)
    return {
        "collection": studied.collection,
        "field": studied.field,
        "rule": tried.rule,
        "in_words": WORDS[tried.rule],
        "order": exact(list(tried.order)),
        "decisions": len(tried.judged),
        "agreeing": tried.agreeing,
        "exceptions": [one.conflict.id for one in tried.exceptions],
        "declare": list(change.lines),
        "how": change.how,
        "check": change.check,
    }


def _judged(judged: Judged) -> dict[str, Any]:
    chosen = None if judged.chosen is None else {"value": exact(judged.chosen.value), "replica": judged.chosen.replica}
    return {"conflict": as_json(judged.conflict), "chosen": chosen, "agrees": judged.agrees}


def _table(found: list[Studied]) -> Any:
    lines = [
        (one.collection, one.field or "the whole record", one.decisions, _proposed(one), _others(one)) for one in found
    ]
    return rows("what people always pick", ("collection", "field", "decisions", "proposed", "tried"), lines)


def _proposed(studied: Studied) -> str:
    proposal = studied.proposal
    if proposal is not None:
        exceptions = len(proposal.exceptions)
        return f"{proposal.rule}: {WORDS[proposal.rule]} ({proposal.agreeing} of {len(proposal.judged)}, {exceptions} otherwise)"
    few = studied.decisions < LEAST
    return f"nothing: fewer than {LEAST} decisions" if few else f"nothing: no rule explains {SHARE:.0%} of them"


def _others(studied: Studied) -> str:
    return ", ".join(f"{one.rule} {one.agreeing}" for one in studied.tried)


def _page(studied: Studied, tried: Tried, contract: AppContract) -> Group:
    """The exceptions first."""
    judged = [*tried.exceptions, *(one for one in tried.judged if one.agrees)]
    title = f"{studied.collection}.{studied.field}: {WORDS[tried.rule]}, {tried.agreeing} of {len(tried.judged)}"
    change = change_of(contract, studied.collection, studied.field, tried)
    return Group(
        rows(title, ("conflict", "document", "decided", "by the rule"), map(_line, judged)),
        Text(printable("\n".join((change.how, *(f"    {line}" for line in change.lines))), MOST_ON_A_PAGE)),
        Text(f"Before that: {change.check}" if change.check else ""),
    )


def _line(judged: Judged) -> tuple[str, ...]:
    one, by = judged.conflict, judged.conflict.decided_by
    decided = "" if by is None else jsonlib.dumps(by.value)
    chosen = (
        "the same" if judged.agrees else "cannot tell" if judged.chosen is None else jsonlib.dumps(judged.chosen.value)
    )
    return one.id, "/".join(one.document), decided, chosen
