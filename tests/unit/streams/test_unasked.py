"""Where neither guards nor rights have a say nobody is asked about a command, and still size and refused changes count."""

from __future__ import annotations

from driftlog_crdt import DOCUMENT, Plain
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import DocumentOp
from tests.unit.streams.cloud import Cloud, change, command

PARCEL, ADDRESS = DocumentId("Parcel", "s1", "p"), DocumentId("Address", "s1", "a")


def put(street: Plain, seq: int, unsure: int = 0) -> DocumentOp:
    op = change(ADDRESS, DOCUMENT, "put", {"street": street, "city": "here"}, seq, context={})
    return op._replace(op=op.op._replace(unsure=unsure))


def test_what_was_built_on_a_refused_change_is_refused_unasked_too(cloud: Cloud) -> None:
    assert not cloud.rules.collections["Address"].asked
    cloud.merge(command("wrong", put(7, 1)))
    cloud.merge(command("built on it", put("long", 2, unsure=1)))
    cloud.merge(command("knows", put("short", 3)))
    assert cloud.verdicts() == {
        "wrong": "rejected invalid",
        "built on it": "rejected builds_on_refused",
        "knows": "accepted",
    }


def test_a_document_grows_to_its_bound_unasked_within_one_flight_and_over_several(cloud: Cloud) -> None:
    for apart in (False, True):
        replica = f"store-1.{int(apart) + 1}"
        parcel = PARCEL._replace(id=f"apart {apart}")
        names = [f"{replica}-{n}" for n in range(1, 9)]
        for seq, name in enumerate(names, 1):
            label = change(parcel, "labels", "set", [f"key-{seq}", "x" * 10_000], seq, replica=replica)
            cloud.merge(command(name, label), replica=replica)
            if apart:
                cloud.fly()
        verdicts = cloud.verdicts()
        assert [verdicts[name] for name in names] == ["accepted"] * 6 + ["rejected too_large"] * 2
