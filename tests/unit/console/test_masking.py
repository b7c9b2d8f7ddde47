"""Values that the declaration masks are in no byte that the console sends to people who may not see them, whatever the page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from driftlog_console.held_memory import FILE
from driftlog_console.history.by_device import Sent, SentBatch
from driftlog_console.history.kept import Moment, Reached
from driftlog_console.masking import HIDDEN, WITHHELD, Eyes, listed, masks_of
from driftlog_console.notices.telling import _told
from driftlog_console.people import Person, Right
from driftlog_console.words import dot
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_schemas.claims import Claim, ClaimKind
from driftlog_schemas.contract import AppContract
from driftlog_schemas.messages import Conflict, ConflictStatus, WaitingCommand
from driftlog_schemas.registry import FixedIds
from driftlog_streams.reading.claims import Held
from driftlog_streams.reading.conflict_lists import Filter, line_of
from driftlog_streams.reading.set_aside import PARKED
from driftlog_streams.replaying.retelling import Change, Step
from tests.unit.console.conftest import DAY_MS, OURS, TEA, Console, beside, conflict, now_ms, version
from tests.unit.console.test_gate import pages_of
from tests.unit.console.test_pages import member, quarantined, seen
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

NOT_A_PAGE = {"/live", "/healthz", "/readyz", "/sign-in", "/sign-out"}
"""The first tells names of what has changed, and never ends; the others know no documents."""
SECRETS = {
    "the value now": "secret-now-Muster",
    "a number now": "71007101",
    "the value then": "secret-then-Muster",
    "what a step wrote": "secret-step-Muster",
    "why a step was refused": "secret-refusal-Muster",
    "why a device's command was refused": "secret-sent-Muster",
    "what stands": "secret-stands-Muster",
    "what lost": "secret-lost-Muster",
    "what lost somewhere in a record": "secret-record-Muster",
    "what was decided": "secret-decided-Muster",
    "why it was decided": "secret-why-Muster",
    "what settled": "secret-settled-Muster",
    "a key of a map": "secret-key-Muster",
    "the value of that key": "secret-of-key-Muster",
    "what is said of a claim": "secret-note-Muster",
    "why a group was decided": "secret-group-Muster",
    "why one of a group was not decided": "secret-outcome-Muster",
    "why something was set aside": "secret-aside-Muster",
    "why a command waits at its device": "secret-waits-Muster",
    "why one of several documents was rejected": "secret-several-Muster",
    "what was decided here": "secret-here-Muster",
    "why that was refused": "secret-guard-Muster",
}
RULE = "/inbox/rule?collection=Stock&field=name&rule=standing"
EVERY_RIGHT_BUT = [Right.VIEW, Right.DECIDE, Right.OPERATE]


def masked(contract: AppContract, **fields: Any) -> AppContract:
    """The same app; the stock's fields are masked."""
    space = contract.spaces["retail"]
    stock = replace(space.collections["Stock"], masked=fields)
    retail = replace(space, collections={**space.collections, "Stock": stock})
    return replace(contract, spaces={**contract.spaces, "retail": retail})


CONTRACT = masked(app.contract, name="all", price="all", labels="all")


@pytest.fixture
async def agent(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> AsyncIterator[EdgeAgent]:
    async with EdgeAgent(CONTRACT, config, route=route, ids=ids) as running:
        yield running


@pytest.fixture
async def console(agent: EdgeAgent, cloud: Cloud, tmp_path: Path) -> AsyncIterator[Console]:
    async with beside(agent, cloud, tmp_path / "data") as found:
        yield found


@dataclass
class Planted:
    """Where each is."""

    open: Conflict
    here: Conflict
    """Decided by this console, which was refused."""
    others: Mapping[str, Conflict]
    group: str


def named(*values: str, place: str = "name", **more: Any) -> Conflict:
    one, other = values
    versions = version(one, actor="Anna", seen=3), version(other, "store-2.b2c3d4e5", 2, actor="Bob")
    return conflict(TEA, place, *versions, **more)


async def planted(console: Console) -> Planted:
    """A secret in every place."""
    s, at = SECRETS, now_ms()
    console.cloud.write(TEA, "name", "set", s["the value now"])
    console.cloud.write(TEA, "price", "set", int(s["a number now"]))
    by = version(s["what was decided"], "store-3.b2c3d4e5", 9, how="cli", reason=s["why it was decided"], actor="Carl")
    settled = version(s["what settled"], "cloud.settle", 9, how="deadline")
    record = {"name": s["what lost somewhere in a record"], "on_hand": 77001}
    milk, salt, rice = (TEA._replace(id=name) for name in ("milk", "salt", "rice"))
    one = named(s["what stands"], s["what lost"])
    here = replace(named("here-1", "here-2"), id="c-here", document=milk)
    others = {
        "decided": replace(named("d1", "d2", status=ConflictStatus.RESOLVED, decided_by=by), id="c-decided"),
        "settled": replace(named("s1", "s2", status=ConflictStatus.SETTLED, decided_by=settled), id="c-settled"),
        "record": replace(conflict(salt, "", version(record), version({"name": "x", "on_hand": 1}, "b.b2c3d4e5"))),
        "key": conflict(
            rice, f"labels.{s['a key of a map']}", version(s["the value of that key"]), version("y", "b.b2c3d4e5")
        ),
    }
    await console.opened(one, here, *others.values())
    step = Step(
        3, at, "till-7", "till-7.k3f7q2w7", "c1", "rename", "Anna", at, (Change("name", "set", s["what a step wrote"], 1),),
        {}, "rejected", "no", s["why a step was refused"],
    )  # fmt: skip
    value = {"store": "s1", "sku": "tea", "name": s["the value then"], "price": 1, "on_hand": 77002}
    console.history.kept.take("retail", TEA, Moment(3, at, (step,), value))
    refused = Sent(
        "c1",
        "rename",
        "Anna",
        at,
        "s1",
        (("Stock", "tea"),),
        0,
        "rejected",
        "no",
        s["why a device's command was refused"],
    )
    console.history.kept.send("retail", 0, "till-7", SentBatch(3, at, "till-7.k3f7q2w7", 1, (refused,)))
    console.history.kept.reach("retail", 0, Reached(4, at))
    console.history.kept.flush()
    note = Claim(one.id, "s1", ClaimKind.CLAIMED, "bob", "bob", at + DAY_MS, s["what is said of a claim"], "x", "k", at)
    console.fleet.claims = {one.id: Held(note, note.until_ms)}
    aside = quarantined(reason=s["why something was set aside"])
    waits = WaitingCommand(
        "review", "c-7", "rename", "Anna", "Stock", "s1", "tea", 1, "no", s["why a command waits at its device"], at
    )
    several = s["why one of several documents was rejected"]
    rejected = waits._replace(kind="rejected", command_id="c-8", collection="Price", documents=2, reason=several)
    till = member("till-7", review=1, rejected=1, waiting=(waits, rejected))
    console.fleet.seen = seen(till, set_aside=(aside, replace(aside, id="p", what=PARKED)))
    memory, lines = console.desk.groups.memory, [line_of(one), line_of(others["record"])]
    why = s["why a group was decided"]
    group = memory.add("bob", "open", Filter(), "standing", why, at, at + DAY_MS, lines)
    text = s["why one of a group was not decided"]
    first, second = memory.todo(group, 9)
    memory.record(group, [(first, False, text), (second, True, dot(others["record"].winner))])
    console.cloud.reasons[f"console.{line_of(here).mark}.0"] = s["why that was refused"]
    console.cloud.rejects[f"console.{line_of(here).mark}.0"] = "no"
    boss = Person("boss", "", (Right.DECIDE, Right.REVEAL))
    answer = await console.desk.deciding.decide(here, s["what was decided here"], boss, line_of(here).mark, 0)
    await until(lambda: console.desk.agent.command(answer.command_id).status == "rejected")
    return Planted(one, here, others, group)


def addresses(found: Planted) -> dict[str, list[str]]:
    """Route -> where it is asked for. A page that is not here fails the test below."""
    conflicts = [found.open, found.here, *found.others.values()]
    lists = ("open", "settled", "decided")
    tea = "/documents/Stock/s1/tea"
    return {
        "/": ["/"],
        "/inbox": [f"/inbox?which={which}" for which in lists] + ["/inbox?who=nobody", "/inbox?field=labels"],
        "/inbox/devices/{device_id}/{command_id}": ["/inbox/devices/till-7/c-7", "/inbox/devices/till-7/c-8"],
        "/inbox/export": [f"/inbox/export?which={w}&format={f}" for w in lists for f in ("csv", "jsonl")],
        "/inbox/groups": [f"/inbox/groups?by={by}" for by in ("field", "device", "command", "hour", "actor")],
        "/inbox/group": [f"/inbox/group?which={which}" for which in lists] + ["/inbox/group?field=labels"],
        "/inbox/rules": ["/inbox/rules"],
        "/inbox/rule": [RULE],
        "/inbox/groups/decided": ["/inbox/groups/decided"],
        "/inbox/groups/decided/{id}": [f"/inbox/groups/decided/{found.group}"],
        "/conflicts/{conflict_id}": [f"/conflicts/{one.id}" for one in conflicts],
        "/waiting": ["/waiting"],
        "/waiting/{space}/{id}": ["/waiting/retail/0%3A17", "/waiting/retail/p"],
        "/fleet": ["/fleet"],
        "/fleet/{device_id}": ["/fleet/till-7"],
        "/flow": ["/flow"],
        "/flow/{space}/{partition}": ["/flow/retail/0"],
        "/notices": ["/notices"],
        "/documents": ["/documents"],
        "/documents/{collection}/{scope}": ["/documents/Stock/s1"],
        "/documents/{collection}/{scope}/{id}": [tea, f"{tea}?at=3", f"{tea}?before=9", f"{tea}?nth=1"],
    }


def sent(found: Planted) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Route that changes something -> what is sent to it."""
    one, other = found.open, found.others["key"]
    shown = {"mark": line_of(one).mark, "times": "0"}
    wrong = {"mark": "another", "times": "0", "choice": "till-7.k3f7q2w7:1"}
    return {
        "/conflicts/{conflict_id}": [
            (f"/conflicts/{one.id}", {**shown, "choice": "write", "value": "guessed"}),
            (f"/conflicts/{one.id}", wrong),
            (f"/conflicts/{one.id}", {**shown, "choice": "store-2.b2c3d4e5:2"}),
            (f"/conflicts/{other.id}", {"mark": line_of(other).mark, "times": "0", "choice": "b.b2c3d4e5:1"}),
        ],
        "/conflicts/{conflict_id}/undo": [(f"/conflicts/{one.id}/undo", {"do": "undo", "asked": "x"})],
        "/conflicts/{conflict_id}/claim": [(f"/conflicts/{one.id}/claim", {"do": "claim", "hours": "1"})],
        "/inbox": [
            ("/inbox", {"id": one.id, "choice": "standing"}),
            ("/inbox", {"id": one.id, "choice": "device:till-7"}),
        ],
        "/inbox/group": [("/inbox/group", {"which": "open", "set": "x", "count": "1", "choice": "standing"})],
        "/inbox/groups/decided/{id}": [(f"/inbox/groups/decided/{found.group}", {"do": "undo"})],
        "/waiting": [("/waiting", {"space": "retail", "id": "p", "do": "drop"})],
    }


async def told(client: httpx.AsyncClient, found: Planted, *, blind: bool = False) -> dict[str, bytes]:
    """Address -> all that came back, headers too."""
    answers: dict[str, bytes] = {}
    for address in (address for some in addresses(found).values() for address in some):
        answer = await client.get(address)
        none = (404,) if address == RULE and blind else ()  # nothing that they may see was decided
        assert answer.status_code in (200, 303, *none), (address, answer.text)
        answers[address] = str(answer.headers).encode() + answer.content
    return answers


def leaks(answers: Mapping[str, bytes]) -> list[tuple[str, str]]:
    return [(at, what) for at, body in answers.items() for what, secret in SECRETS.items() if secret.encode() in body]


async def test_no_route_shows_what_is_masked_to_who_may_not_see_it_and_each_does_to_who_may(console: Console) -> None:
    found = await planted(console)
    gets = {r.path for r in pages_of(console) if "GET" in r.methods} - NOT_A_PAGE
    posts = {r.path for r in pages_of(console) if "POST" in r.methods} - NOT_A_PAGE
    assert (gets, posts) == (set(addresses(found)), set(sent(found))), "a page that this test does not know"
    async with console.client("boss", *EVERY_RIGHT_BUT, Right.REVEAL) as boss:
        shown = {what for _, what in leaks(await told(boss, found))}
        assert shown == set(SECRETS), "each of them is somewhere"
    async with console.client("anna", *EVERY_RIGHT_BUT) as anna:
        answers = await told(anna, found, blind=True)
        assert leaks(answers) == []
        page = answers["/documents/Stock/s1/tea?at=3"].decode()
        assert "77002" in page and HIDDEN in page, "what is not masked is there"
        assert "77001" in answers[f"/conflicts/{found.others['record'].id}"].decode()
        for address, fields in [one for some in sent(found).values() for one in some]:
            answer = await anna.post(address, data=fields, headers=OURS)
            assert answer.status_code < 500, answer.text
            assert leaks({address: str(answer.headers).encode() + answer.content}) == []
        assert leaks(await told(anna, found, blind=True)) == [], "what was decided blindly is not told afterwards"


async def test_who_may_not_see_a_field_chooses_by_who_wrote_it_and_writes_nothing_else(console: Console) -> None:
    one = named("secret-1", "secret-2")
    await console.opened(one)
    shown = {"mark": line_of(one).mark, "times": "0"}
    async with console.client("anna", Right.DECIDE) as anna:
        page = (await anna.get(f"/conflicts/{one.id}")).text
        assert "Keep •••• as Anna at till-7 set it" in re.sub(r",", "", page) and "Take" in page
        assert '<textarea id="value"' not in page and "with the right <code>reveal</code>" in page
        refused = await anna.post(f"/conflicts/{one.id}", data={**shown, "choice": "write", "value": "x"}, headers=OURS)
        assert (refused.status_code, "choose a version" in refused.text) == (403, True)
        assert console.desk.deciding.made(one) == []
        taken = await anna.post(f"/conflicts/{one.id}", data={**shown, "choice": "store-2.b2c3d4e5:2"}, headers=OURS)
        assert taken.status_code == 303
    assert [made.value for made in console.desk.deciding.made(one)] == ["secret-2"]


async def test_a_masked_value_that_is_held_is_on_no_page_of_others_in_no_file_and_in_no_log(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.desk.holding, "_undo_seconds", 600.0)
    one = named("a", "b")
    await console.opened(one)
    form = {"mark": line_of(one).mark, "times": "0", "choice": "write", "value": "secret-held", "reason": "secret-why"}
    async with console.client("boss", Right.DECIDE, Right.REVEAL) as boss, console.client("anna", Right.DECIDE) as anna:
        with capture_logs() as lines:
            assert (await boss.post(f"/conflicts/{one.id}", data=form, headers=OURS)).status_code == 303
            page = (await anna.get(f"/conflicts/{one.id}")).text
        assert (f"boss wants {HIDDEN} to stand" in page, WITHHELD in page, "secret" in page) == (True, True, False)
        assert "boss wants secret-held to stand" in (await boss.get(f"/conflicts/{one.id}")).text
    assert "secret" not in str(lines)
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert tmp_path / "data" / FILE in files
    assert [path for path in files if b"secret-" in path.read_bytes()] == []
    assert (tmp_path / "data" / FILE).stat().st_mode & 0o077 == 0
    console.desk.holding.undo(one.id, console.desk.deciding.held[one.id].id, Person("boss", ""))


async def test_who_was_shown_what_is_in_the_log(console: Console) -> None:
    await console.opened(named("secret-1", "secret-2"))
    async with console.client("boss", Right.REVEAL, scopes=("s1",)) as boss, console.client("anna") as anna:
        with capture_logs() as lines:
            assert "secret-1" not in (await anna.get("/inbox")).text
            await boss.get("/fleet")
        assert [line for line in lines if "masked" in line["event"]] == []
        with capture_logs() as lines:
            assert "secret-1" in (await boss.get("/inbox?which=open")).text
            assert (await boss.get("/inbox/export?which=open")).text.count("secret-") == 2
        said = [line for line in lines if line["event"] == "masked values were shown"]
        assert [(one["person"], one["page"], one["documents"]) for one in said] == [
            ("boss", "/inbox?which=open", ["Stock/s1/tea"]),
            ("boss", "/inbox/export?which=open", ["Stock/s1/tea"]),
        ]


def test_a_key_of_a_masked_map_is_in_no_list_so_nobody_can_filter_by_it() -> None:
    masks = masks_of(CONTRACT)
    line = listed(line_of(conflict(TEA, "labels.secret-key")), masks)
    assert line.field == "labels" and Filter(field="labels.secret-key").taken([line]) == []
    assert Filter(field="labels").taken([line]) == [line]
    assert "secret" not in str(_told(line)), "nor in what a webhook is told"
    assert listed(line_of(conflict(TEA, "tags.x")), masks).field == "tags.x"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("DE-1234-5678", f"{HIDDEN}5678"), ("12345678", f"{HIDDEN}5678"), ("1234567", HIDDEN), (12345678, HIDDEN), (None, HIDDEN), ("", HIDDEN)],
)  # fmt: skip
def test_last4_shows_the_end_of_a_text_that_is_long_enough(value: Any, shown: str) -> None:
    eyes = Eyes(masks_of(masked(app.contract, name="last4")), Person("anna", ""))
    assert eyes.values(TEA, {"name": value, "price": 3}) == {"name": shown, "price": 3}


def test_of_a_record_everybody_sees_that_it_was_deleted_and_the_other_fields() -> None:
    eyes = Eyes(masks_of(CONTRACT), Person("anna", ""))
    found = eyes.conflict(conflict(TEA, "", version({"name": "secret", "on_hand": 3}, reason="secret"), version(None)))
    assert [one.value for one in found.versions] == [{"name": HIDDEN, "on_hand": 3}, None]
    assert found.versions[0].reason == WITHHELD
    plain = conflict(TEA, "on_hand", version(1), version(2))
    assert eyes.conflict(plain) is plain and not eyes.blind(plain)


def test_what_was_done_to_a_masked_field_is_not_told_by_the_name_of_the_op() -> None:
    eyes = Eyes(masks_of(CONTRACT), Person("anna", ""))
    step = Step(0, 0, "d", "d.1", "c", "", "", 0, (Change("name", "enable", None, 1), Change("on_hand", "add", 5, 2)), {}, "", "", "")  # fmt: skip
    moment = eyes.moment(TEA, Moment(0, 0, (step,), None))
    assert [tuple(one) for one in moment.steps[0].changes] == [("name", "changed", HIDDEN, 1), ("on_hand", "add", 5, 2)]
