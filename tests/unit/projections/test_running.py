"""What cannot be projected is told before anything is asked or made."""

from __future__ import annotations

import pytest

from driftlog import App, Counter, Document
from driftlog_schemas.moves import Moved
from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.running import Projection
from driftlog_streams.projections.settings import ProjectorSettings

app = App("shop")
space = app.space("retail", partitions=2)


@space.collection(scope="store", id="sku")
class Stock(Document):
    store: str
    sku: str
    on_hand: Counter


def test_the_only_space_need_not_be_named() -> None:
    assert Projection(ProjectorSettings(app="shop:app"), app.contract).schema == "retail"
    assert Projection(ProjectorSettings(app="shop:app", into_schema="own"), app.contract).schema == "own"


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ({"space": "retial"}, "declares no space 'retial'; it has retail"),
        ({"partitions": (0, 2)}, "has no partition 2"),
    ],
)
def test_a_space_or_a_partition_that_is_not_declared_is_refused(given: dict[str, object], fact: str) -> None:
    with pytest.raises(SetupProblem, match=fact) as refused:
        Projection(ProjectorSettings.model_validate({"app": "shop:app", **given}), app.contract)
    assert refused.value.remedy


def test_a_space_that_has_moved_is_projected_from_where_it_is_into_the_schema_that_it_had() -> None:
    moved = {"retail": Moved(2, 7, 9, (0, 0))}
    settings = ProjectorSettings.model_validate({"app": "shop:app", "space": "retail", "partitions": (6,)})
    there = Projection(settings, app.contract, moved=moved.get)
    assert (there.space.name, there.space.partitions, there.schema) == ("retail.p2", 7, "retail")
    with pytest.raises(SetupProblem, match="has no partition 6"):
        Projection(settings, app.contract)
