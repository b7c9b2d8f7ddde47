"""What reactions say in a batch, and what a row keeps of it: there and back, within bounds, and beside what earlier releases wrote."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest

from driftlog_schemas import avro_files, forgetting_codec
from driftlog_schemas.batch_codec import decode_body, encode_body
from driftlog_schemas.errors import TooBig
from driftlog_schemas.framing import FramedCodec
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA, REACTION_REPLICA
from driftlog_schemas.messages import Batch, Call, ChainRow, Failed, Forgetting, Ran, Reacting, Reactions, Unlisted
from driftlog_schemas.reacting import calls_bodies
from driftlog_schemas.reacting_codec import MAX_ARGUMENTS, MAX_CALLS, MAX_DEPTH
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds

CALL = Call("reaction-1", "goods_arrive", "arrive", '{"store":"s2"}', 1, 3, 4_398_046_511_104, again=True)
RAN = Ran(17, 2, 5, (1, 2), (2, 4), (Failed(3, "reaction_refused", "closed"),), more=True)


def batch(reacting: Reacting) -> Batch:
    return Batch("retail", 0, REACTION_REPLICA, 4, (), floor=4, react=reacting)


@pytest.mark.parametrize("said", [Reacting((CALL, CALL._replace(id="2", again=False))), Reacting(ran=RAN)])
def test_there_and_back(said: Reacting) -> None:
    assert decode_body(encode_body(batch(said))) == batch(said)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (Reacting(), "calls"),
        (Reacting((CALL,), RAN), "calls"),
        (Reacting((CALL,) * (MAX_CALLS + 1)), "calls"),
        (Reacting((CALL._replace(id=""),)), "call id"),
        (Reacting((CALL._replace(arguments="x" * (MAX_ARGUMENTS + 1)),)), "arguments"),
        (Reacting((CALL._replace(depth=MAX_DEPTH + 2),)), "depth"),
        (Reacting((CALL._replace(source=-1),)), "source"),
        (Reacting(ran=RAN._replace(end=2)), "ran"),
        (Reacting(ran=RAN._replace(calls=(2, 3))), "ran"),
        (Reacting(ran=RAN._replace(calls=(2, 9))), "ran"),
        (Reacting(ran=RAN._replace(depths=(1,))), "ran"),
    ],
)
def test_what_the_cloud_does_not_write(said: Reacting, named: str) -> None:
    with pytest.raises(TooBig, match=f"^{named}"):
        encode_body(batch(said))


def test_what_an_earlier_release_wrote_is_read() -> None:
    """Its bodies know nothing of reactions, and are in the log for as long as the log goes back."""
    schema = json.loads(avro_files.text("batch_body"))
    (said,) = (one for one in schema["fields"] if one["name"] == "forget")
    said["type"] = said["type"][:2]
    forgets = Batch("retail", 0, CLOUD_REPLICA, 1, (), floor=1, forget=Forgetting(7, {"store-1.1": ""}))
    record: dict[str, Any] = fastavro.schemaless_reader(
        io.BytesIO(encode_body(forgets)), fastavro.parse_schema(json.loads(avro_files.text("batch_body"))), None
    )
    assert forgets.forget is not None
    stream = io.BytesIO()
    old = {**record, "forget": forgetting_codec.encoded(forgets.forget)}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), old)
    assert stream.getvalue() == encode_body(forgets), "the same bytes as ever"
    assert decode_body(stream.getvalue()) == forgets


def test_calls_are_spread_over_as_few_records_as_they_fit() -> None:
    many = [CALL._replace(id=str(number)) for number in range(2 * MAX_CALLS + 1)]
    bodies = [decode_body(body) for body in calls_bodies("retail", 1, many)]
    assert [len(one.react.calls) for one in bodies if one.react] == [MAX_CALLS, MAX_CALLS, 1]
    assert [call for one in bodies if one.react for call in one.react.calls] == many
    large = [CALL._replace(id=str(number), arguments="x" * MAX_ARGUMENTS) for number in range(60)]
    assert len(list(calls_bodies("retail", 1, large))) == 3


def test_a_row_keeps_what_is_known_of_calls() -> None:
    known = Reactions(
        {0: 5, 7: 9}, ((17, 2), (19, 0)), (b"12345678", b"abcdefgh"), (Unlisted(17, 1, "reaction_refused", "closed"),)
    )
    row = ChainRow(CLOUD, REACTION_REPLICA, "retail", 0, 0, b"", 1, (), reactions=known)
    codecs = RecordCodecs(FixedIds())
    assert codecs.decode_chain_row(codecs.encode_chain_row(row)) == row


def test_rows_of_the_release_before_and_of_this_one_are_read_by_both() -> None:
    known = Reactions({0: 5}, ((17, 2),), (b"12345678",), (Unlisted(17, 1, "reaction_refused", "closed"),))
    row = ChainRow(CLOUD, REACTION_REPLICA, "retail", 0, 0, b"", 1, (), reactions=known)
    text = json.loads(avro_files.text("chain_row"))
    (field,) = [field for field in text["fields"] if field["name"] == "reactions"]
    del field["default"]["unlisted"]
    field["type"]["fields"] = [kept for kept in field["type"]["fields"] if kept["name"] != "unlisted"]
    ids = FixedIds()
    before, codecs = FramedCodec(json.dumps(text), ids), RecordCodecs(ids)
    read = before.decode(codecs.encode_chain_row(row))
    assert "unlisted" not in read["reactions"] and read["reactions"]["waiting"] == [17]
    written = codecs.decode_chain_row(before.encode(read))
    assert written.reactions == known._replace(unlisted=())
