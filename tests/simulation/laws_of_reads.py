"""Laws about what readers are told: nothing older than was promised, nothing that goes back, nothing that no op made.

Each law is one function that yields sentences.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from operator import attrgetter

from driftlog_schemas.identity import DocumentId, parse_document_key
from tests.simulation.case import Case
from tests.simulation.history import Read
from tests.simulation.log import LogRecord

_at = attrgetter("timestamp_ms")


def what_was_shown_stays(case: Case) -> Iterator[str]:
    """No read goes behind what its edge had shown of the document, nor says that it was never there."""
    for read in case.history.reads:
        if read.code == "not_found" and _ever_there(case, read.document, read.shown):
            yield f"{_name(read)} is not found, and was shown with {dict(read.shown)}"
        elif read.vector is not None and not _covers(read.vector, read.shown):
            yield f"{_name(read)} has {dict(read.vector)}, and was shown with {dict(read.shown)}"


def a_read_is_as_fresh_as_it_was_promised(case: Case) -> Iterator[str]:
    """A strong read has all that was published when it was asked for, one of a greatest age what was published that long before it was answered."""
    published = _published(case)
    for read in case.history.reads:
        if read.promise.strong:
            moment = read.asked_ms
        elif read.promise.max_age is not None:
            moment = read.at_ms - int(read.promise.max_age * 1000)
        else:
            continue
        records = published[read.document]
        before = records[: bisect_right(records, moment, key=_at)]
        if not before:
            continue
        owed = case.state(read.document, case.merged(read.document, before[-1].value or b"")).vector
        if read.code == "not_found" and _ever_there(case, read.document, owed):
            yield f"{_name(read)} is not found, and was published at {before[-1].timestamp_ms}"
        elif read.vector is not None and not _covers(read.vector, owed):
            yield f"{_name(read)} has {dict(read.vector)}, and {dict(owed)} was published at {before[-1].timestamp_ms}"


def what_is_read_is_what_its_vector_says(case: Case) -> Iterator[str]:
    """It holds exactly the ops that its version vector covers, however it came to be here."""
    for read in case.history.reads:
        if read.merged is not None and read.vector is not None:
            meant = case.reference.documents[read.document].encoded(read.vector)
            if read.merged != meant:
                yield f"{_name(read)} is {read.merged!r}, its vector means {meant!r}"


def _published(case: Case) -> Mapping[DocumentId, list[LogRecord]]:
    found: defaultdict[DocumentId, list[LogRecord]] = defaultdict(list)
    for records in case.history.states.values():
        for record in records:
            found[parse_document_key(record.key or b"")].append(record)
    for records in found.values():
        records.sort(key=_at)
    return found


def _ever_there(case: Case, document: DocumentId, vector: Mapping[str, int]) -> bool:
    """Do these ops mean a document, or one that was deleted? Such as were all refused mean none."""
    meaning = case.reference.documents.get(document)
    if meaning is None:
        return False
    state = case.state(document, meaning.encoded(vector))
    return meaning.kind.exists(state) or meaning.kind.deleted(state)


def _covers(vector: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return all(vector.get(replica, 0) >= seq for replica, seq in other.items())


def _name(read: Read) -> str:
    return f"{'/'.join(read.document)}, read at {read.edge}, asked for at {read.asked_ms} and told at {read.at_ms},"
