"""Whatever comes, the next good batch merges: hostile bytes of a stranger, hostile bodies that an enrolled device has signed, hostile apps.

The pipeline is the worker's own, from the record's bytes to the records that it publishes; only the broker is stood in for, and that takes
no record over its limit, as Kafka does. After every input a good batch of an honest device is merged, sealed and delivered, and what everybody else
has is byte for byte what it was. Bytes that no encoder of ours writes are put into bodies by hand.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import Decision, DocumentState, Op, Plain, canonical
from driftlog_schemas import batch_codec, value_columns
from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, encode_body
from driftlog_schemas.contract import Refused
from driftlog_schemas.errors import TooBig
from driftlog_schemas.identity import CLOUD_REPLICA, DocumentId
from driftlog_schemas.messages import Batch, Command, DocumentOp, Forgetting, SignedBatch
from driftlog_streams.core.decision import Decider
from driftlog_streams.core.parking import Parking
from driftlog_streams.faust_driver.guard_watch import LIMIT_SECONDS, GuardWatch
from tests.fuzz.everybody_else import DECIDED, FIRST, OPEN, PLAIN, SECOND, WAITING, EverybodyElse
from tests.unit.streams.cloud import NOW_MS, Cloud, command, count, key, stock

BROKER_LIMIT = (1 << 20) - 2048
"""Kafka's default for a record, less the framing of its batch."""
GOOD = "store-1.1"
BAD = "store-2.1"


class Raw(NamedTuple):
    """A value as the text that stands in a body for it, whether or not anybody can read it."""

    text: str


UNREADABLE = {
    "nested a little too deep": Raw("[" * 33 + "1" + "]" * 33),
    "nested deep": Raw("[" * 5_000 + "1" + "]" * 5_000),
    "nested objects": Raw('{"a":' * 5_000 + "1" + "}" * 5_000),
    "nested without end": Raw("[" * 100_000),
    "a number of 5,001 digits": Raw("1" + "0" * 5_000),
    "infinity": Raw("[1e999]"),
    "NaN": Raw("NaN"),
    "half a surrogate pair": Raw('"\\ud800"'),
    "half a pair inside": Raw('[{"\\udfff":"\\ud800"}]'),
    "no JSON": Raw("{"),
}
HALF_A_PAIR = "\ue000"
"""Stands for half a surrogate pair, which takes as many bytes and is none of UTF-8."""

huge = st.sampled_from([1 << 9, 1 << 16, 400_000])
names = st.one_of(
    st.sampled_from(
        ["Stock", "Ledger", "Parcel", "Address", "on_hand", "price", "name", "tags", "cart", "labels", "stage"]
    ),
    st.text(max_size=8),
    huge.map(lambda n: "x" * n),
    huge.map(lambda n: "\u20ac" * (n // 3)),
    st.just("\x00"),
    st.just(HALF_A_PAIR),
    st.just("a/b%2Fc"),
)
numbers = st.one_of(
    st.integers(-5, 5), st.sampled_from([2**62, 2**63 - 1, -(2**63), 10**100, 10**4000, -1]), st.integers()
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        numbers,
        st.floats(),
        st.text(max_size=5),
        st.just(HALF_A_PAIR),
        huge.map(lambda n: "v" * n),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
raw = st.sampled_from([*UNREADABLE.values(), Raw("[" * 31 + "1" + "]" * 31), Raw("1e308"), Raw('"\\u0000"')])
kinds = st.one_of(
    st.sampled_from(["increment", "decrement", "set", "add", "remove", "enable", "disable", "delete", "put"]), names
)
contexts = st.one_of(
    st.none(),
    st.dictionaries(st.one_of(st.just(GOOD), names), numbers, max_size=3),
    st.just({f"r.{n}": 1 for n in range(5000)}),
)
fields = st.one_of(st.just(""), names)
seqs = st.one_of(st.integers(1, 4), numbers)
documents = st.builds(DocumentId, names, st.one_of(st.just("s1"), names), names)
ops = st.builds(
    Op,
    st.just(BAD),
    seqs,
    st.one_of(st.just(NOW_MS << 16), numbers),
    fields,
    kinds,
    st.one_of(values, raw),
    contexts,
    st.integers(0, 3),
    st.none(),
    st.one_of(st.just(1), numbers),
)
decisions = st.builds(Decision, st.one_of(st.sampled_from(["page", "deadline"]), names), names)
commands = st.builds(
    Command,
    st.one_of(st.sampled_from(["c1", "c2"]), names),
    names,
    st.one_of(st.just("s1"), names),
    st.one_of(st.just(NOW_MS << 16), numbers),
    st.lists(st.builds(DocumentOp, documents, ops), max_size=4).map(tuple),
    names,
    st.just(""),
    st.none(),
    st.one_of(st.none(), decisions),
    st.lists(st.binary(max_size=9), max_size=2).map(tuple),
)
lives = st.lists(
    st.sampled_from([GOOD, FIRST, SECOND, WAITING, BAD, "store-2.2", "cloud.forget"]), unique=True, max_size=3
)
forgettings = st.builds(
    Forgetting,
    st.integers(-1, 20),
    st.dictionaries(st.sampled_from([GOOD, FIRST, SECOND, BAD]), st.sampled_from(["", "store-2"]), max_size=2),
    st.dictionaries(
        st.sampled_from([key(OPEN), key(DECIDED), key(PLAIN)]), st.binary(min_size=8, max_size=8), max_size=2
    ),
    st.lists(st.just(f"{WAITING}/1/waits"), max_size=1).map(tuple),
    st.just(()),
    lives.map(lambda names: tuple(name for name in names if name != CLOUD_REPLICA)),
)
batches = st.builds(
    Batch,
    st.one_of(st.just("retail"), names),
    st.one_of(st.just(0), numbers),
    st.just(BAD),
    st.one_of(st.just(1), numbers),
    st.lists(commands, max_size=3).map(tuple),
    names,
    st.one_of(st.just(b""), st.binary(max_size=40)),
    st.one_of(st.just(1), numbers),
    lives.map(tuple),
    st.integers(-1, 50),
    st.one_of(st.none(), forgettings),
)


class Broker:
    """A cloud whose broker takes no record over its limit, and an honest device that goes on selling."""

    def __init__(self) -> None:
        self.cloud = Cloud(Parking(limit=50))
        self.others = EverybodyElse(self.cloud)
        self.sold = 0

    def goes_on(self) -> None:
        """What came is dealt with, the next good batch merges, and everybody else has what they had."""
        self.sold += 1
        self.cloud.merge(command(f"good-{self.sold}", count(stock("good"), 1, self.sold, GOOD)))
        flight = self.cloud.seal()
        for part in flight.partitions:
            for record in (*part.outcomes, *part.states):
                size = len(record.key) + len(record.value or b"") + sum(len(n) + len(v) for n, v in record.headers)
                assert size <= BROKER_LIMIT, f"{record.topic} would not take {record.key[:60]!r} of {size} bytes"
        self.cloud.carry_out()
        self.cloud.fly()
        assert self.cloud.value(stock("good"), "on_hand") == self.sold
        assert self.cloud.row(GOOD).last == self.sold
        assert self.cloud.acknowledged == list(range(self.cloud.end))
        assert self.others.is_what_it_was()


def written(batch: Batch) -> bytes | None:
    """The body as a hostile device would write it: its encoder has no bounds. None where Avro itself cannot write it."""
    with pytest.MonkeyPatch.context() as unbounded:
        unbounded.setattr(batch_codec, "_check_bounds", lambda record: None)
        unbounded.setattr(batch_codec, "MAX_BATCH_BYTES", 8 * MAX_BATCH_BYTES)
        unbounded.setattr(value_columns, "canonical", lambda v: v.text if isinstance(v, Raw) else canonical(v))
        try:
            body = encode_body(batch)
        except (TooBig, AssertionError, ValueError, OverflowError, TypeError, UnicodeError):
            return None
    return body.replace(HALF_A_PAIR.encode(), "\ud800".encode(errors="surrogatepass"))


def signed(cloud: Cloud, batch: Batch) -> bytes | None:
    """The same as a record."""
    body = written(batch)
    return None if body is None else cloud.rules.batches.seal(body, cloud.identities["store-2"])


@given(st.lists(st.one_of(st.none(), st.binary(max_size=200)), max_size=5), st.data())
def test_hostile_bytes_of_a_stranger(noise: list[bytes | None], data: st.DataObject) -> None:
    broker = Broker()
    genuine = bytearray(broker.cloud.batch(command("x", count(stock(), 1, 1, BAD)), replica=BAD))
    for value in noise:
        broker.cloud.merge_value(value)
    for _ in range(3):
        spoiled = bytearray(genuine)
        for at in data.draw(st.lists(st.integers(0, len(genuine) - 1), min_size=1, max_size=4)):
            spoiled[at] ^= data.draw(st.integers(1, 255))
        broker.cloud.merge_value(bytes(spoiled))
    broker.goes_on()


@given(names, names, st.binary(max_size=64))
def test_hostile_envelopes(device_id: str, key_id: str, signature: bytes) -> None:
    broker = Broker()
    body = encode_body(Batch("retail", 0, BAD, 1, ()))
    broker.cloud.merge_value(broker.cloud.envelope(SignedBatch(device_id, key_id, signature, body)))
    broker.goes_on()


@given(st.lists(batches, min_size=1, max_size=3))
def test_hostile_bodies_well_signed_by_an_enrolled_device(sent: list[Batch]) -> None:
    broker = Broker()
    for batch in sent:
        value = signed(broker.cloud, batch)
        if value is not None:
            broker.cloud.merge_value(value)
    broker.goes_on()


@given(st.lists(forgettings, min_size=1, max_size=3))
def test_what_only_the_cloud_may_say_well_signed_by_an_enrolled_device(said: list[Forgetting]) -> None:
    """As the next batches of the cloud's own chain."""
    broker = Broker()
    last = broker.cloud.row(CLOUD_REPLICA)
    number, prev = last.last, last.head
    for forgetting in said:
        number += 1
        body = written(Batch("retail", 0, CLOUD_REPLICA, number, (), prev=prev, floor=number, forget=forgetting))
        assert body is not None
        prev = batch_codec.batch_digest(body)
        broker.cloud.merge_value(broker.cloud.rules.batches.seal(body, broker.cloud.identities["store-2"]))
    broker.goes_on()
    assert {notice.code for notice in broker.cloud.notices()} <= {"forbidden", "undecodable"}


@pytest.mark.parametrize("replica", [FIRST, SECOND, WAITING, "store-3.2"])
def test_nobody_decides_what_is_in_dispute_in_the_name_of_another_device(replica: str) -> None:
    """As the next batch of its chain, or of a life that it could have."""
    broker = Broker()
    row = broker.cloud.merger._at.book.get(replica)
    number, prev = (1, b"") if row is None else (row.last + 1, row.head)
    seen = {FIRST: 1, SECOND: 1}
    op = Op(replica, seen.get(replica, 0) + 1, NOW_MS << 16, "price", "set", 8, seen)
    one = Command("c1", "", OPEN.scope, NOW_MS << 16, (DocumentOp(OPEN, op),))
    sent = signed(broker.cloud, Batch("retail", 0, replica, number, (one,), prev=prev, floor=number))
    assert sent is not None
    broker.cloud.merge_value(sent)
    broker.goes_on()
    assert [notice.code for notice in broker.cloud.notices()] == ["wrong_replica"]


def _one(value: Any, **changed: Any) -> Batch:
    """A batch of one command that writes this."""
    op = Op(BAD, 1, NOW_MS << 16, "name", "set", value, {})
    one = Command("c1", "", "s1", NOW_MS << 16, (DocumentOp(stock("theirs"), op),))
    return Batch("retail", 0, BAD, 1, (one._replace(**changed),))


@pytest.mark.parametrize("value", [*UNREADABLE.values(), HALF_A_PAIR], ids=[*UNREADABLE, "half a pair as text"])
def test_values_that_no_encoder_of_ours_writes_come_in_and_are_undecodable(value: Any) -> None:
    broker = Broker()
    sent = signed(broker.cloud, _one(value))
    assert sent is not None
    broker.cloud.merge_value(sent)
    broker.goes_on()
    assert [notice.code for notice in broker.cloud.notices()] == ["undecodable"]
    assert not broker.cloud.state(stock("theirs")).vector


@pytest.mark.parametrize("place", ["id", "name", "scope", "actor", "root"])
def test_names_that_are_no_text_come_in_and_are_undecodable(place: str) -> None:
    broker = Broker()
    sent = signed(broker.cloud, _one("good", **{place: HALF_A_PAIR}))
    assert sent is not None
    broker.cloud.merge_value(sent)
    broker.goes_on()
    assert [notice.code for notice in broker.cloud.notices()] == ["undecodable"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["increment", "decrement"]), st.sampled_from([1, 2**62, 2**63 - 1, 10**90])),
        max_size=6,
    )
)
def test_sums_that_no_column_holds(steps: list[tuple[str, int]]) -> None:
    broker = Broker()
    for seq, (kind, amount) in enumerate(steps, 1):
        op = DocumentOp(DocumentId("Ledger", "s1", "big"), Op(BAD, seq, NOW_MS << 16, "sold", kind, amount))
        broker.cloud.merge(Command(f"c{seq}", "", "s1", NOW_MS << 16, (op,)), replica=BAD)
    broker.goes_on()


@pytest.mark.parametrize("number", [1, 2, 12])
def test_rejections_by_the_hundred(number: int) -> None:
    """An honest till whose guard refuses long enough: its row stays a record, and says when it is full."""
    broker, seq = Broker(), 0
    for _ in range(number):
        refused = []
        for _ in range(400):
            seq += 1
            refused.append(command(f"{seq}-{'i' * 100}", count(stock("sour"), -1, seq, BAD)))
        broker.cloud.merge(*refused, replica=BAD)
    broker.goes_on()


# -- hostile apps


def _odd_code(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
    raise Refused(5)  # type: ignore[arg-type]


def _long_code(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
    raise Refused("c" * 2_000_000, "r" * 2_000_000)


def _half_a_surrogate(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
    raise Refused("\ud800", "\ud800" * 20)


def _long_error(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
    raise RuntimeError("x" * 2_000_000)


def _system_exit(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
    raise SystemExit(3)


def _recursion(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
    _recursion(scope, id, before, after)


def _changes_what_it_is_given(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
    after.fields.clear()
    after.fields["on_hand"] = "no counter"


def _never_ends(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
    while True:
        pass


GUARDS = [
    _odd_code,
    _long_code,
    _half_a_surrogate,
    _long_error,
    _system_exit,
    _recursion,
    _changes_what_it_is_given,
    _never_ends,
]


@pytest.mark.parametrize("check", GUARDS, ids=lambda check: check.__name__)
def test_hostile_guards(check: Any, tmp_path: Path) -> None:
    broker = Broker()

    def only_theirs(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
        if id == "theirs":
            check(scope, id, before, after)

    collection = broker.cloud.rules.collections["Stock"]
    guard = dataclasses.replace(collection.guards[0], check=only_theirs)
    broker.cloud.rules.collections["Stock"] = collection._replace(guards=(guard,))
    merger = broker.cloud.new_life(parking=Parking(limit=50))
    broker.cloud.restore_parked()
    watch = GuardWatch(tmp_path, 0.05)
    merger._net._decider = Decider(broker.cloud.rules, merger._at.cache, merger._at.memory, watch)
    for seq in (1, 2):
        broker.cloud.merge(command(f"c{seq}", count(stock("theirs"), 1, seq, BAD)), replica=BAD)
    watch._limit = LIMIT_SECONDS  # a good guard is not to hang on how busy this machine is
    broker.goes_on()


def _raises(base: Plain, left: Plain, right: Plain) -> Plain:
    raise ZeroDivisionError


def _grows(base: Plain, left: Plain, right: Plain) -> Plain:
    return "x" * 2_000_000


def _gives_no_value(base: Plain, left: Plain, right: Plain) -> Plain:
    return object()  # type: ignore[return-value]


@pytest.mark.parametrize("merge", [_raises, _grows, _gives_no_value], ids=lambda merge: merge.__name__)
def test_hostile_merge_functions(merge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    kind = broker.cloud.rules.collections["Parcel"].type
    monkeypatch.setattr(kind.fields["cart"].type, "merge", merge)
    parcel = DocumentId("Parcel", "s1", "p")
    for replica, value in (("store-2.2", 3), (BAD, 4)):
        op = kind.prepare(kind.new(), replica, NOW_MS << 16, "cart", "set", value)
        broker.cloud.merge(command(f"c-{replica}", DocumentOp(parcel, op)), replica=replica)
    broker.goes_on()
