"""Laws about states: what edges and the read model show is what the log means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.state_codec import META
from tests.reference_model import sequence
from tests.simulation.all_types import BODIES, words_of
from tests.simulation.app import EDGES, SPACE, device_of_node
from tests.simulation.case import Case
from tests.simulation.history import Place


def all_agree_with_the_log(case: Case) -> Iterator[str]:
    """Every edge's confirmed documents and the read model are the fold of the op topic, byte for byte; what only goes up an edge may not have."""
    reference = case.reference
    expected = {d: meaning.encoded() for d, meaning in reference.documents.items() if meaning.seen}
    latest = {}
    for records in case.history.states.values():
        for record in records:
            latest[parse_document_key(record.key or b"")] = record
    for document, merged in expected.items():
        record = latest.get(document)
        if record is None or record.value is None:
            yield f"the read model lacks {'/'.join(document)}"
        elif (found := case.merged(document, record.value)) != merged:
            yield f"the read model of {'/'.join(document)} is {found!r}, the log says {merged!r}"
    for edge, end in case.history.ends.items():
        for document, merged in expected.items():
            found = end.confirmed.get(document)
            if document.scope not in EDGES[device_of_node(edge)] or (found is None and case.only_goes_up(document)):
                continue
            if found != merged:
                yield f"{edge} has {found!r} for {'/'.join(document)}, the log says {merged!r}"
    for document in latest.keys() - expected.keys():
        yield f"the read model has {'/'.join(document)}, which no op made"


def a_state_is_what_its_vector_says(case: Case) -> Iterator[str]:
    """Every state ever published holds exactly the ops that its version vector covers: no gap, nothing twice."""
    for records in case.history.states.values():
        for record in records:
            document = parse_document_key(record.key or b"")
            merged = case.merged(document, record.value or b"")
            meaning = case.reference.documents.get(document)
            if meaning is None:
                yield f"state {'/'.join(document)}@{record.offset} is of a document that no op made"
                continue
            expected = meaning.encoded(case.state(document, merged).vector)
            if merged != expected:
                yield f"state {'/'.join(document)}@{record.offset} is {merged!r}, its vector means {expected!r}"
            there = SPACE.collections[document.collection].document.exists(case.state(document, merged))
            if case.row(document, record.value or b"")[META]["deleted"] is there:
                yield f"the row {'/'.join(document)}@{record.offset} says deleted where it is there, or the other way round"


def a_document_shows_what_its_ops_mean(case: Case) -> Iterator[str]:
    """Values and presence are what the reference model makes of the accepted ops, in the read model and its plain rows."""
    for document, meaning in case.reference.documents.items():
        if not meaning.seen:
            continue
        kind, name = meaning.kind, "/".join(document)
        state = case.state(document, meaning.encoded())
        for fact in meaning.disagreements(kind.values(state)):
            yield f"{name}{fact}"
        if (kind.exists(state), kind.deleted(state)) != (meaning.exists, meaning.deleted):
            yield f"{name} is there: {kind.exists(state)}, deleted: {kind.deleted(state)}; its ops mean {meaning.exists}"


def texts_and_lists_have_one_order(case: Case) -> Iterator[str]:
    """No two words of a body ever stand in different orders in two of its states, and none is torn."""
    shown: dict[tuple[DocumentId, str], set[tuple[str, ...]]] = defaultdict(set)
    for records in case.history.states.values():
        for record in records:
            document = parse_document_key(record.key or b"")
            kind = SPACE.collections[document.collection].document
            for name in kind.fields.keys() & set(BODIES):
                value: Any = kind.field_value(case.state(document, case.merged(document, record.value or b"")), name)
                shown[document, name].add(tuple(words_of(value)))
    for (document, name), views in shown.items():
        meaning = case.reference.documents.get(document)
        known = {word for edit in meaning.edits.values() for word in edit} if meaning is not None else set()
        if torn := {word for view in views for word in view} - known:
            yield f"{'/'.join(document)}.{name} shows {sorted(torn)}, which nobody wrote"
        if not sequence.agree(views):
            yield f"{'/'.join(document)}.{name} was seen in different orders: {sorted(views)}"


def edges_agree_with_the_cloud(case: Case) -> Iterator[str]:
    """The digests of edge and cloud are the same at rest, and were never found to differ for long."""
    for edge, end in case.history.ends.items():
        if end.differing:
            yield f"{edge} differs from the cloud in {', '.join(end.differing)}"
        if end.mismatches:
            yield f"{edge} found {end.mismatches} scopes that differ from the cloud's"


def rights_are_never_overdrawn(case: Case) -> Iterator[str]:
    """No state ever published of a bounded counter is beyond its bound."""
    for records in case.history.states.values():
        for record in records:
            document = parse_document_key(record.key or b"")
            if (
                document.collection == "Job"
                and (left := case.row(document, record.value or b"")["bounded_counter"]) < 0
            ):
                yield f"{'/'.join(document)}@{record.offset} stands at {left}"


def the_store_is_never_ahead(case: Case) -> Iterator[str]:
    """What a worker's store takes is already in the state topic."""
    published: dict[tuple[Place, bytes, bytes], int] = {}
    for place, records in case.history.states.items():
        for record in records:
            published.setdefault((place, record.key or b"", record.value or b""), record.offset)
    for write in case.history.store_writes:
        offset = published.get((write.place, write.key, write.value))
        if offset is None or offset >= write.published:
            yield f"{write.worker} stored {write.key!r} at {write.at_ms}, before the topic had it"
