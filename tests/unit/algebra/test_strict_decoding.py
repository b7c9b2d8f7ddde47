"""The bytes of a document are read strictly: what we would not have written is refused."""

from __future__ import annotations

import json

import pytest

from driftlog_crdt import (
    AddWinsSet,
    BadEncoding,
    BoundedCounter,
    Counter,
    DocumentType,
    Field,
    Flag,
    Max,
    RemoveWinsSet,
    canonical,
    version_of,
)
from tests.properties.encodings import assembled, of_field

COUNTED = DocumentType("Counted", {"n": Field(Counter())})
GOOD = assembled('{"a":1}', '{"fields":{"n":{"a":[5,0]}}}')


def test_what_is_written_is_read() -> None:
    assert COUNTED.encode(COUNTED.decode(GOOD)) == GOOD


@pytest.mark.parametrize("names", [("a",), ("b", "a.1", "c_2"), ('a"b', "a\\", '}, {"x":1}', "},{", "ä", "\n", "")])
def test_the_version_stands_in_the_bytes_as_its_canonical_text(names: tuple[str, ...]) -> None:
    state = COUNTED.new()
    for seq, name in enumerate(names, 1):
        for _ in range(seq):
            COUNTED.apply(state, COUNTED.prepare(state, name, 1, "n", "increment", 5))
    assert version_of(COUNTED.encode(state)) == canonical(dict(state.vector)).encode()


@pytest.mark.parametrize("data", [b"", b" " + GOOD, b"\x02" + GOOD[1:], GOOD[:8], GOOD[:-1], b"\x03" + b"\xff" * 100])
def test_bytes_without_a_version_are_refused(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        version_of(data)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (Counter(), '{"a":[5]}'),
        (Counter(), '{"a":[5,0,1]}'),
        (Counter(), '{"a":[5,-1]}'),
        (Counter(), '{"a":[true,0]}'),
        (Counter(), '{"a":[5.0,0]}'),
        (BoundedCounter(), '{"a":[[5,0],{}]}'),
        (BoundedCounter(), '{"a":[[5],{},{}]}'),
        (BoundedCounter(), '{"a":[[5,-1],{},{}]}'),
        (BoundedCounter(), '{"a":[[5,0],{"b":true},{}]}'),
        (BoundedCounter(), '{"a":[[5,0],{},{"b":-1}]}'),
        (BoundedCounter(), '{"a":[[5,0],[],{}]}'),
        (AddWinsSet(), '[["x",{}]]'),
        (AddWinsSet(), '[["x",{"a":0}]]'),
        (AddWinsSet(), '[["x",{"a":true}]]'),
        (AddWinsSet(), '[["x"]]'),
        (AddWinsSet(), '[[[],{"a":1}]]'),
        (AddWinsSet(), '[["x",{"a":1}],["x",{"b":1}]]'),
        (RemoveWinsSet(), '[[{},[["a",1,true]]]]'),
        (Flag(), '[["a",1,5,1]]'),
        (RemoveWinsSet(), '[["x",[["a",1,1]]]]'),
        (RemoveWinsSet(), '[["x",[]]]'),
        (Max(), '{"a":[]}'),
        (Max(), '{"a":[[1]]}'),
        (Max(), '{"a":[[1,true]]}'),
        (Max(), '{"a":[[true,1]]}'),
        (Max(), '{"a":[[1,"7"]]}'),
        (Max(), '{"a":[[1,5],[2,7]]}'),
    ],
)
def test_a_field_that_is_not_of_its_type_is_refused_by_its_name(kind: object, field: str) -> None:
    document = DocumentType("Sample", {"it": Field(kind)})  # type: ignore[arg-type]  # one of the types above

    with pytest.raises(BadEncoding) as refused:
        document.decode(of_field("it", json.loads(field)))

    assert refused.value.field == "it"
