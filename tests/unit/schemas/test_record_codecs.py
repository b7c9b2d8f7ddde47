"""Receipts, conflicts, devices, heartbeats and parked commands come back as they went in; other bytes are refused by the tree's errors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas import avro_files, bounds
from driftlog_schemas.columns_codec import pack
from driftlog_schemas.devices import Device, DeviceKey, DeviceStatus, Terms, enrolled
from driftlog_schemas.errors import ContractError, Undecodable
from driftlog_schemas.framing import FramedCodec, header
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import (
    ChainEntry,
    ChainRow,
    CommandOutcome,
    Conflict,
    ConflictStatus,
    Forgot,
    Heartbeat,
    Notice,
    Over,
    ParkedCommand,
    Quarantined,
    RefusalNotice,
    Refused,
    Taken,
    Verdict,
    Version,
    WaitingCommand,
)
from driftlog_schemas.record_codecs import RecordCodecs, conflict_id
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.row_room import MAX_ENTRIES
from tests.unit.schemas.arbitrary import documents, longs, texts, values

IDS = FixedIds()
CODECS = RecordCodecs(IDS)

times = st.integers(0, bounds.MAX_MS)
ints = st.integers(0, (1 << 31) - 1)
verdicts = st.builds(CommandOutcome, texts, st.sampled_from(Verdict), texts, texts)
digests = st.binary(min_size=8, max_size=8)
offsets = st.integers(0, (1 << 63) - 1)
told = st.tuples(digests, offsets, st.lists(verdicts, max_size=3).map(tuple), st.just(-1) | offsets)
since = st.just(-1) | offsets
heads = st.just(b"") | st.binary(min_size=16, max_size=16).filter(any)
overs = st.builds(Over, longs, heads, since, st.sampled_from(["ended", "retired"]), since, texts, since, since)
versions = st.builds(Version, texts, longs, longs, longs, values, texts, texts, longs, texts, texts)


def dense(row: ChainRow) -> ChainRow:
    """A row's entries are those from its floor on."""
    entries = tuple(ChainEntry(number, *entry) for number, entry in enumerate(row.entries, row.floor))  # type: ignore[misc]
    return dataclasses.replace(row, entries=entries)


@given(
    st.builds(
        ChainRow,
        texts,
        texts,
        texts,
        ints,
        longs,
        st.binary(max_size=16),
        st.integers(0, 1 << 62),
        st.lists(told, max_size=3).map(tuple),
        ended=st.sampled_from(["", "ended", "retired"]),
        skew_ms=times,
        append_ms=times,
        offset=longs,
        notice=st.none() | st.builds(Notice, longs, digests, longs, texts, texts),
        ended_at=st.integers(-1, 1 << 60),
        heir=texts,
        taken=st.dictionaries(digests, st.builds(Taken, longs, st.sampled_from(Verdict), texts), max_size=3),
        refused=st.dictionaries(digests, st.builds(Refused, longs, texts), max_size=3),
        refused_from=longs,
        forgot=st.lists(st.builds(Forgot, longs, longs, longs), max_size=3).map(tuple),
        forgotten=since,
        taken_from=since,
        over=st.dictionaries(digests, overs, max_size=3),
    ).map(dense)
)
def test_a_chain_row_comes_back(made: ChainRow) -> None:
    assert CODECS.decode_chain_row(CODECS.encode_chain_row(made)) == made


@given(st.builds(RefusalNotice, texts, texts, texts, longs, longs))
def test_a_refusal_notice_comes_back(made: RefusalNotice) -> None:
    assert CODECS.decode_refusal_notice(CODECS.encode_refusal_notice(made)) == made


def test_what_is_written_for_people_is_cut_and_the_row_stays_small() -> None:
    long = CommandOutcome("c1", Verdict.REJECTED, "x" * 10_000, "ü" * 300_000)
    made = ChainRow("d", "d.k3f9q2w7", "retail", 0, 1, b"", 1, (ChainEntry(1, bytes(8), 0, (long,)),))
    value = CODECS.encode_chain_row(made)
    (found,) = CODECS.decode_chain_row(value).entries[0].outcomes
    assert len(value) < 500
    assert (len(found.code.encode()), found.reason[:3], found.reason[-1]) == (64, "üüü", "…")


@given(
    st.builds(
        Conflict,
        id=texts,
        document=documents,
        field=texts,
        versions=st.lists(versions, min_size=2, max_size=4).map(tuple),
        omitted=ints,
        policy=st.sampled_from(["record", "review"]),
        rule=texts,
        opened_ms=longs,
        detected_ms=longs,
        deadline_ms=longs,
        status=st.sampled_from(ConflictStatus),
        decided_by=st.none() | versions,
    )
)
def test_a_conflict_comes_back(made: Conflict) -> None:
    assert CODECS.decode_conflict(CODECS.encode_conflict(made)) == made


@given(
    st.builds(
        Device,
        texts,
        longs,
        st.lists(st.builds(DeviceKey, texts, st.binary(max_size=32), longs, longs), max_size=3).map(tuple),
        st.lists(
            st.builds(
                Terms,
                longs,
                st.sampled_from(DeviceStatus),
                st.lists(texts, max_size=3).map(tuple),
                st.lists(texts, max_size=3).map(tuple),
                longs,
                longs,
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
    )
)
def test_a_device_comes_back(made: Device) -> None:
    assert CODECS.decode_device(CODECS.encode_device(made)) == made


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=15)
counts = st.integers(0, bounds.MAX_LONG)
times = st.integers(0, bounds.MAX_MS)


@given(
    st.builds(
        Heartbeat,
        words,
        words,
        times,
        words,
        counts,
        times,
        counts,
        st.integers(-bounds.MAX_MS, bounds.MAX_MS),
        st.dictionaries(words, words, max_size=3),
        *[st.dictionaries(words, longs, max_size=3)] * 2,
        counts,
        st.lists(words, max_size=3).map(tuple),
        words,
        counts,
        counts,
        counts,
        st.lists(
            st.builds(
                WaitingCommand,
                st.sampled_from(["review", "rejected"]),
                *[words] * 6,
                counts,
                words,
                words,
                times,
            ),
            max_size=3,
        ).map(tuple),
    )
)
def test_a_heartbeat_comes_back(made: Heartbeat) -> None:
    assert CODECS.decode_heartbeat(CODECS.encode_heartbeat(made)) == made


def test_heartbeats_of_an_older_and_a_newer_release_are_read() -> None:
    """One that says nothing of single commands, and what it reads of one that does."""
    now = json.loads(avro_files.text("heartbeat"))
    fields = [field for field in now["fields"] if field["name"] not in ("rejected", "waiting")]
    older = FramedCodec(json.dumps({**now, "fields": fields}), IDS)
    newest = Heartbeat("store-1", "store-1.a", 1, "ONLINE", 0, 0, 0, 0, {"agent": "1"}, review=1, waiting=(TOLD,))
    said = {field["name"]: getattr(newest, field["name"]) for field in fields}
    said["differing"] = []
    assert CODECS.decode_heartbeat(older.encode(said)) == dataclasses.replace(newest, waiting=())
    assert older.decode(CODECS.encode_heartbeat(newest)) == said


TOLD = WaitingCommand("review", "c", "sell", "Anna", "Stock", "s1", "tea", 1, "gone", "it is gone", 1)


@pytest.mark.parametrize(
    "said",
    [
        {"device_id": ""},
        {"device_id": "x" * (bounds.MAX_DEVICE + 1)},
        {"replica": "x" * (bounds.MAX_REPLICA + 1)},
        {"connection": "x" * 1_000_000},
        {"why": "\x00"},
        {"rejected": -1},
        {"waiting": (TOLD,) * (bounds.MAX_TOLD + 1)},
        {"waiting": (TOLD._replace(kind="other"),)},
        {"waiting": (TOLD._replace(command_id=""),)},
        {"waiting": (TOLD._replace(command_id="x" * (bounds.MAX_COMMAND_ID + 1)),)},
        *({"waiting": (TOLD._replace(**{name: "x" * 1_000_000}),)} for name in ("name", "actor", "collection")),
        *({"waiting": (TOLD._replace(**{name: "x" * 1_000_000}),)} for name in ("scope", "document", "code", "reason")),
        {"waiting": (TOLD._replace(documents=-1),)},
        {"waiting": (TOLD._replace(at_ms=bounds.MAX_MS + 1),)},
        {"versions": {"agent": "x" * 1_000_000}},
        {"versions": {f"{n}": "" for n in range(bounds.MAX_PLACES + 1)}},
        {"heads": {"x" * 2_000: 1}},
        {"differing": ("x" * 2_000,)},
        *({name: -1} for name in ("pending", "disk_bytes", "mismatches", "rebased", "review", "oldest_pending_ms")),
        {"sent_ms": 1_200_000_000_000_000},
        {"clock_skew_ms": bounds.MAX_LONG},
    ],
    ids=lambda said: str(said)[:30],
)
def test_a_heartbeat_that_no_agent_sends_is_refused(said: dict[str, Any]) -> None:
    honest = Heartbeat("store-1", "store-1.a", 1, "ONLINE", 0, 0, 0, 0, {"agent": "1"})
    with pytest.raises(Undecodable, match=r"possible|holds a NUL"):
        CODECS.decode_heartbeat(CODECS.encode_heartbeat(dataclasses.replace(honest, **said)))


@given(st.builds(ParkedCommand, longs, longs, texts, st.binary(max_size=99), longs))
def test_a_parked_command_comes_back(made: ParkedCommand) -> None:
    assert CODECS.decode_parked(CODECS.encode_parked(made)) == made


def test_another_place_is_another_conflict() -> None:
    stock, other = DocumentId("Stock", "s1", "tea"), DocumentId("Stock", "s1/tea", "")
    assert len({conflict_id(stock, "price"), conflict_id(other, "price"), conflict_id(stock, "name")}) == 3


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "chain_row": CODECS.decode_chain_row,
    "refusal_notice": CODECS.decode_refusal_notice,
    "quarantined": CODECS.decode_quarantined,
    "conflict": CODECS.decode_conflict,
    "device": CODECS.decode_device,
    "heartbeat": CODECS.decode_heartbeat,
    "parked_command": CODECS.decode_parked,
}
VERSION = Version("a.1", 1, 1, 1, ["tea"])
TEA = DocumentId("Stock", "s1", "tea")
CONFLICT = Conflict("id", TEA, "price", (VERSION, VERSION), "review", "register", 1, 1, 2, ConflictStatus.OPEN)
ENCODED = {
    "chain_row": CODECS.encode_chain_row(
        ChainRow("a", "a.1", "r", 0, 1, b"", 1, (ChainEntry(1, bytes(8), 0, (CommandOutcome("c", Verdict.PARKED),)),))
    ),
    "refusal_notice": CODECS.encode_refusal_notice(RefusalNotice("a", "code", "reason", 1, 1)),
    "quarantined": CODECS.encode_quarantined(Quarantined("code", "reason", 1, 1, 1, "a.1", b"record")),
    "conflict": CODECS.encode_conflict(CONFLICT),
    "device": CODECS.encode_device(enrolled("a", DeviceKey("k", b"key", 1))),
    "heartbeat": CODECS.encode_heartbeat(Heartbeat("a", "a.1", 1, "ONLINE", 1, 1, 1, 1, {"driftlog": "1"})),
    "parked_command": CODECS.encode_parked(ParkedCommand(1, 1, "a", b"signed")),
}


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
def test_spoiled_bytes_are_a_record_or_an_error_of_the_tree(name: str, data: st.DataObject) -> None:
    spoiled = bytearray(ENCODED[name])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoiled) - 1))
        spoiled[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
    try:
        DECODERS[name](bytes(spoiled))
    except ContractError as error:
        assert str(error)


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=80))
def test_foreign_bytes_are_a_record_or_an_error_of_the_tree(name: str, data: bytes) -> None:
    own = FramedCodec(avro_files.text(name), IDS).own_id
    for value in (data, header(own) + data):
        try:
            DECODERS[name](value)
        except ContractError as error:
            assert str(error)


@pytest.mark.parametrize("name", DECODERS)
def test_every_truncation_is_undecodable(name: str) -> None:
    for length in range(len(ENCODED[name])):
        with pytest.raises(Undecodable):
            DECODERS[name](ENCODED[name][:length])


@pytest.mark.parametrize("text", ["", "{", "NaN", "[" * 100_000, "9" * 5000])
def test_a_version_whose_value_is_not_json_is_undecodable(text: str) -> None:
    codec = FramedCodec(avro_files.text("conflict"), IDS)
    record = codec.decode(ENCODED["conflict"])
    record["versions"][1]["value"] = text
    with pytest.raises(Undecodable, match="not JSON"):
        CODECS.decode_conflict(codec.encode(record))


@pytest.mark.parametrize(
    ("taken", "fact"),
    [
        ({"ids": bytes(7)}, "no ids"),
        ({"ids": bytes(8)}, "taken offsets"),
        ({"offsets": pack([1])}, "taken offsets"),
        ({"ids": bytes(8), "offsets": pack([1]), "verdicts": pack([5])}, "taken verdicts"),
        (
            {"ids": bytes(8), "offsets": pack([1]), "verdicts": pack([2]), "codes": ["a"], "code": pack([1])},
            "taken code",
        ),
        ({"code": pack([0])}, "taken code"),
    ],
)
def test_columns_of_what_was_taken_that_contradict_each_other_are_undecodable(
    taken: dict[str, object], fact: str
) -> None:
    codec = FramedCodec(avro_files.text("chain_row"), IDS)
    record = codec.decode(ENCODED["chain_row"])
    record["taken"] |= taken
    with pytest.raises(Undecodable, match=fact):
        CODECS.decode_chain_row(codec.encode(record))


@pytest.mark.parametrize(
    ("entries", "fact"),
    [
        ({"digests": bytes(9)}, "no ids"),
        ({"offsets": pack([1, 2])}, "entries offsets"),
        ({"offsets": pack([-1])}, "entries offsets"),
        ({"decided": pack([-2])}, "entries decided"),
        ({"digests": b"", "offsets": b""}, "batch 1 in a row of 0"),
        ({"digests": bytes(8 * (MAX_ENTRIES + 1)), "offsets": pack([1] * (MAX_ENTRIES + 1))}, "at most 8192"),
    ],
)
def test_columns_of_batches_that_contradict_each_other_are_undecodable(entries: dict[str, object], fact: str) -> None:
    codec = FramedCodec(avro_files.text("chain_row"), IDS)
    record = codec.decode(ENCODED["chain_row"])
    record["entries"] |= entries
    with pytest.raises(Undecodable, match=fact):
        CODECS.decode_chain_row(codec.encode(record))


@pytest.mark.parametrize("number", [0, 2, -1])
def test_an_outcome_of_a_batch_that_is_not_in_the_row_is_undecodable(number: int) -> None:
    codec = FramedCodec(avro_files.text("chain_row"), IDS)
    record = codec.decode(ENCODED["chain_row"])
    record["entries"]["outcomes"][0]["number"] = number
    with pytest.raises(Undecodable, match=f"batch {number} in a row of 1 from 1 on"):
        CODECS.decode_chain_row(codec.encode(record))


def test_a_batch_that_was_accepted_whole_takes_few_bytes() -> None:
    entries = tuple(ChainEntry(number, bytes(8), 1000 + 3 * number) for number in range(1, 201))
    made = ChainRow("a", "a.1", "r", 0, 200, bytes(16), 1, entries)
    assert len(CODECS.encode_chain_row(made)) < 200 * 11
    assert CODECS.decode_chain_row(CODECS.encode_chain_row(made)) == made


@pytest.mark.parametrize(
    ("refused", "fact"),
    [({"ids": bytes(9)}, "no ids"), ({"ids": bytes(8)}, "refused numbers"), ({"code": pack([0])}, "refused code")],
)
def test_columns_of_what_was_refused_that_contradict_each_other_are_undecodable(
    refused: dict[str, object], fact: str
) -> None:
    codec = FramedCodec(avro_files.text("chain_row"), IDS)
    record = codec.decode(ENCODED["chain_row"])
    record["refused"] |= refused
    with pytest.raises(Undecodable, match=fact):
        CODECS.decode_chain_row(codec.encode(record))


@pytest.mark.parametrize(
    ("over", "fact"),
    [
        ({"ids": bytes(9)}, "no ids"),
        ({"heads": bytes(16)}, "1 heads of 2"),
        ({"heads": bytes(17)}, "no ids"),
        ({"lasts": pack([-1, 1])}, "over lasts"),
        ({"removed": pack([1, 2, 3])}, "over removed"),
        ({"taken_from": pack([-2, 0])}, "over taken_from"),
        ({"ending": pack([0, 2])}, "over ending"),
        ({"endings": ["/", "retired/"]}, "an ending that is none"),
        ({"ids": b""}, "2 heads"),
    ],
)
def test_columns_of_lives_without_a_row_that_contradict_each_other_are_undecodable(
    over: dict[str, object], fact: str
) -> None:
    lives = {bytes([n]) * 8: Over(n, bytes(16), n, ("ended", "retired")[n], n, "", -1, n) for n in range(2)}
    row = ChainRow("cloud", "cloud.over", "r", 0, 0, b"", 1, (), over=lives)
    codec = FramedCodec(avro_files.text("chain_row"), IDS)
    record = codec.decode(CODECS.encode_chain_row(row))
    record["over"] |= over
    with pytest.raises(Undecodable, match=fact):
        CODECS.decode_chain_row(codec.encode(record))


def test_many_taken_commands_take_few_bytes() -> None:
    ids = [n.to_bytes(8, "big") for n in range(10_000)]
    row = CODECS.decode_chain_row(ENCODED["chain_row"])
    many = dataclasses.replace(
        row, taken={name: Taken(1 << 40 | n, Verdict.REJECTED, "oversold") for n, name in enumerate(ids)}
    )
    assert len(CODECS.encode_chain_row(many)) < 110_000


def test_a_record_is_not_mistaken_for_another() -> None:
    with pytest.raises(Undecodable, match="not driftlog"):
        CODECS.decode_device(CODECS.encode_heartbeat(CODECS.decode_heartbeat(ENCODED["heartbeat"])))


def test_equal_messages_give_equal_bytes() -> None:
    assert CODECS.encode_conflict(dataclasses.replace(CONFLICT)) == ENCODED["conflict"]


ROW = ChainRow("d", "d.1", "retail", 0, 1, b"", 1, (ChainEntry(1, bytes(8), 0, ()),))


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("number", {"partition": -1}),
        ("number", {"last": -1}),
        ("number", {"floor": -1}),
        ("entries", {"floor": bounds.MAX_LONG, "entries": ROW.entries * 2}),
        ("number", {"notice": Notice(-1, b"", 0, "early", "")}),
        ("offset", {"offset": -2}),
        ("entries offsets", {"entries": (ChainEntry(1, bytes(8), -1, ()),)}),
        ("entries decided", {"entries": (ChainEntry(1, bytes(8), 0, (), -2),)}),
        ("time", {"skew_ms": -1}),
        ("time", {"append_ms": bounds.MAX_MS + 1}),
    ],
)
def test_a_row_with_a_number_that_no_worker_writes_is_undecodable(field: str, changed: dict[str, Any]) -> None:
    with pytest.raises(Undecodable, match=f"^{field}: "):
        CODECS.decode_chain_row(CODECS.encode_chain_row(dataclasses.replace(ROW, **changed)))
