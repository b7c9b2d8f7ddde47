"""Arbitrary batches: every value that the algebra can merge, every context, ops of several commands over shared documents."""

from __future__ import annotations

from hypothesis import strategies as st

from driftlog_crdt import Decision, Op, Plain
from driftlog_schemas import bounds
from driftlog_schemas.batch_codec import MEANS
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Batch, Command, DocumentOp, Due, Forgetting

REPLICA = "store-1.3"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
names = texts.filter(bool)
longs = st.integers(0, (1 << 63) - 1)
scalars: st.SearchStrategy[Plain] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 80), 1 << 80),
    st.sampled_from([0, 1, -(1 << 63), (1 << 63) - 1, 1 << 63, -(1 << 63) - 1]),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values: st.SearchStrategy[Plain] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)
contexts = st.none() | st.dictionaries(
    st.sampled_from(["store-2.1", "store-9.12", "büro.1"]), st.integers(1, (1 << 63) - 1), max_size=3
)
documents = st.builds(DocumentId, st.sampled_from(["Stock", "Ledger"]), names, names)
ops = st.builds(
    Op,
    st.just(REPLICA),
    st.integers(1, (1 << 63) - 1),
    longs,
    st.sampled_from(["", "on_hand", "price", "größe"]),
    st.sampled_from(["increment", "set", "delete", "add"]),
    values,
    contexts,
    st.integers(0, 3),
).flatmap(lambda op: st.integers(1, min(op.seq, 1 << 40)).map(lambda span: op._replace(span=span)) | st.just(op))
commands = st.builds(
    Command,
    names,
    texts,
    names,
    longs,
    st.lists(st.builds(DocumentOp, documents, ops), max_size=6).map(tuple),
    texts,
    st.sampled_from(["", "store-1.2", "store-1.k3f7q2wp"]),
    st.none() | st.integers(-1, (1 << 63) - 1),
    st.none() | st.builds(Decision, st.sampled_from(MEANS), texts, st.just(())),
    st.lists(st.binary(min_size=8, max_size=8), max_size=3).map(tuple),
)
given_commands = commands.map(
    lambda command: command._replace(
        stands_for=(), ops=tuple(one._replace(op=one.op._replace(span=1)) for one in command.ops)
    )
)
"""As an agent is given them: none stands for others before it is sent."""
dues = st.builds(
    Due, documents.map(document_key), texts, st.binary(min_size=8, max_size=8), st.integers(1, bounds.MAX_MS)
)
forgettings = st.builds(
    Forgetting,
    longs,
    st.dictionaries(st.sampled_from(["store-1.2", "till_7.k3f7q2wp"]), st.sampled_from(["", "store-1"])),
    st.dictionaries(documents.map(document_key), st.binary(min_size=8, max_size=8), max_size=3),
    st.just(()),
    st.lists(dues, max_size=3, unique_by=lambda due: due[:2]).map(tuple),
)
batches = st.builds(
    Batch,
    texts,
    st.integers(0, (1 << 31) - 1),
    st.just(REPLICA),
    longs,
    st.lists(commands, max_size=5).map(tuple),
    texts,
    st.sampled_from([b"", bytes(range(16))]),
    st.just(0),
    st.sampled_from([(), (REPLICA,), ("store-1.2", REPLICA)]),
    st.integers(-1, (1 << 63) - 1),
    st.none() | forgettings,
)
