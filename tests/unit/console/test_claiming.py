"""Who looks after a conflict: it is told, ends by itself, and blocks nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from driftlog_console.claims import FRESH_MS, Claims
from driftlog_console.desk import now_ms
from driftlog_console.people import Right
from driftlog_edge import EdgeAgent
from driftlog_schemas.claims import HOUR_MS, LONGEST_MS, Claim, ClaimKind
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.reading.claims import Held
from tests.unit.console.conftest import OURS, Console, conflict, version
from tests.unit.console.test_deciding import sent


@pytest.fixture
async def open_one(console: Console) -> Conflict:
    one = conflict()
    await console.opened(one)
    return one


@pytest.fixture
async def anna(console: Console) -> AsyncIterator[httpx.AsyncClient]:
    async with console.client("anna", Right.DECIDE) as client:
        yield client


async def say(client: httpx.AsyncClient, one: Conflict, do: str, **more: str) -> httpx.Response:
    form = {"do": do, "hours": "4", "person": "", "note": ""} | more
    return await client.post(f"/conflicts/{one.id}/claim", data=form, headers=OURS)


async def test_a_claim_is_shown_and_signed_and_let_go_of(
    console: Console, agent: EdgeAgent, open_one: Conflict, anna: httpx.AsyncClient
) -> None:
    answer = await say(anna, open_one, "claim", note="on the phone with the shop")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/conflicts/{open_one.id}")
    (claim,) = console.fleet.written
    assert claim == claim._replace(signature=b"").signed(agent.identity)
    assert (claim.kind, claim.person, claim.by, claim.scope) == ("claimed", "anna", "anna", "s1")
    assert abs(claim.until_ms - now_ms() - 4 * HOUR_MS) < 60_000
    page = (await anna.get(f"/conflicts/{open_one.id}")).text
    assert "<b>anna</b> looks after it until" in page
    assert "“on the phone with the shop”" in page
    assert "anna looks after it until" in (await anna.get("/inbox")).text
    assert (await say(anna, open_one, "release")).status_code == 303
    assert "Nobody has said so" in (await anna.get(f"/conflicts/{open_one.id}")).text


async def test_it_is_given_to_another_and_put_off(
    console: Console, open_one: Conflict, anna: httpx.AsyncClient
) -> None:
    console.people.add("bob", [Right.DECIDE])
    console.people.add("eve", [Right.DECIDE], ["s2"])
    console.people.add("joe")
    assert (await say(anna, open_one, "claim", person="bob")).status_code == 303
    page = (await anna.get(f"/conflicts/{open_one.id}")).text
    assert "<b>bob</b> looks after it until" in page
    assert "as anna said" in page
    assert ">bob</option>" in page
    assert (">eve</option>" in page, ">joe</option>" in page) == (False, False)
    for nobody in ("eve", "joe", "mallory"):
        refused = await say(anna, open_one, "claim", person=nobody)
        assert (refused.status_code, "may not decide there" in refused.text) == (422, True)
    assert (await say(anna, open_one, "defer", hours="720")).status_code == 303
    assert "<b>anna</b> has put it off until" in (await anna.get(f"/conflicts/{open_one.id}")).text


async def test_it_blocks_nobody(
    console: Console, agent: EdgeAgent, open_one: Conflict, anna: httpx.AsyncClient
) -> None:
    await say(anna, open_one, "claim")
    await agent.run("reprice", store="s1", sku="tea", price=420)
    async with console.client("bob", Right.DECIDE) as bob:
        decided = await bob.post(f"/conflicts/{open_one.id}", data=sent(open_one, "write", value="7"), headers=OURS)
        assert decided.status_code == 303
    await console.opened(
        replace(open_one, status=ConflictStatus.RESOLVED, decided_by=version(7, "store-1.abcdefgh", 9, actor="bob"))
    )
    page = (await anna.get(f"/conflicts/{open_one.id}")).text
    assert "looks after it" not in page
    assert (await say(anna, open_one, "claim")).status_code == 422


async def test_the_inbox_shows_what_is_mine_and_what_is_nobodys(console: Console, anna: httpx.AsyncClient) -> None:
    mine, theirs, free = (conflict(DocumentId("Stock", "s1", name)) for name in ("tea", "milk", "rice"))
    await console.opened(mine, theirs, free)
    await say(anna, mine, "claim")
    console.people.add("bob", [Right.DECIDE])
    await say(anna, theirs, "claim", person="bob")
    for who, there in (("me", {"tea"}), ("nobody", {"rice"}), ("", {"tea", "milk", "rice"})):
        page = (await anna.get(f"/inbox?who={who}")).text
        assert {name for name in ("tea", "milk", "rice") if f">Stock {name}<" in page} == there, who
        assert ("decide all" in page) == (not who), "a group would be all of them"
    assert (await anna.get("/inbox?who=others")).status_code == 422


async def test_another_console_is_believed_and_the_newer_word_counts(
    console: Console, agent: EdgeAgent, open_one: Conflict, anna: httpx.AsyncClient
) -> None:
    await say(anna, open_one, "claim")
    ours = console.fleet.written[0]
    later = ours._replace(person="zoe", by="zoe", said_ms=ours.said_ms + 1)
    for claim, who in ((ours._replace(person="old", said_ms=ours.said_ms - 1), "anna"), (later, "zoe")):
        console.fleet.claims = {open_one.id: Held(claim, claim.until_ms)}
        assert f"<b>{who}</b> looks after it" in (await anna.get(f"/conflicts/{open_one.id}")).text
    started_again = Claims(lambda: agent.identity, console.fleet, console.fleet.written.append, now_ms)  # type: ignore[arg-type]  # stands in for it
    held = started_again.of(open_one)
    assert held is not None and held.claim.person == "zoe"


async def test_it_ends_by_itself(console: Console, agent: EdgeAgent, open_one: Conflict) -> None:
    now = now_ms()
    clock = [now]
    claims = Claims(lambda: agent.identity, console.fleet, console.fleet.written.append, lambda: clock[0])  # type: ignore[arg-type]  # stands in for it
    console.people.add("anna", [Right.DECIDE])
    anna = console.people.named("anna")
    assert anna is not None
    said = claims.made(open_one, ClaimKind.CLAIMED, anna, "anna", 1, "")
    claims.tell(said)
    assert claims.of(open_one) is not None
    clock[0] += FRESH_MS
    assert claims.of(open_one) is None, "nobody has read it, so nobody else knows it"
    console.fleet.claims = {open_one.id: Held(said, said.until_ms)}
    assert claims.of(open_one) is not None
    clock[0] = now + HOUR_MS
    assert claims.of(open_one) is None
    far = Claim(open_one.id, "s1", "claimed", "a", "a", now + 2 * LONGEST_MS, "", "store-1", "k", now)
    assert far.ends_ms(now) == now + LONGEST_MS


@pytest.mark.parametrize(
    "wrong", [{"do": "own"}, {"hours": "0"}, {"hours": "721"}, {"hours": "-1"}, {"hours": ""}, {"note": "x" * 300}]
)
async def test_what_makes_no_sense_tells_nobody(
    console: Console, open_one: Conflict, anna: httpx.AsyncClient, wrong: dict[str, str]
) -> None:
    assert (await say(anna, open_one, wrong.pop("do", "claim"), **wrong)).status_code == 422
    assert console.fleet.written == []


async def test_who_may_not_decide_there_claims_nothing(console: Console, open_one: Conflict) -> None:
    async with console.client("joe") as joe, console.client("eve", Right.DECIDE, scopes=("s2",)) as eve:
        assert [(await say(one, open_one, "claim")).status_code for one in (joe, eve)] == [403, 404]
        assert "Let them look after it" not in (await joe.get(f"/conflicts/{open_one.id}")).text
    assert console.fleet.written == []


async def test_without_the_topic_or_the_broker_it_is_said_and_decisions_go_on(
    console: Console, agent: EdgeAgent, open_one: Conflict, anna: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(claim: Claim) -> None:
        raise DeliveryFailed("the broker did not take the record", "")

    with monkeypatch.context() as away:
        away.setattr(console.desk.claims, "_write", lost)
        answer = await say(anna, open_one, "claim")
        assert (answer.status_code, "nobody was told" in answer.text) == (503, True)
    console.fleet.claims_problem = "there is no topic driftlog.desk"
    page = (await anna.get(f"/conflicts/{open_one.id}")).text
    assert ("driftlog topics apply" in page, "Let them look after it" in page) == (True, False)
    assert (await say(anna, open_one, "claim")).status_code == 503
    assert console.desk.claims.of(open_one) is None
    await agent.run("reprice", store="s1", sku="tea", price=420)
    decided = await anna.post(f"/conflicts/{open_one.id}", data=sent(open_one, "write", value="7"), headers=OURS)
    assert decided.status_code == 303
