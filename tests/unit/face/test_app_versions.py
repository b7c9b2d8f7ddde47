"""What an app may say of its version, and which of its devices' versions it may demand."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog import App
from driftlog.errors import DeclarationError
from driftlog_schemas.support import Floor

MARCH_MS = 1_803_859_200_000
"""2027-03-01T00:00Z."""


def test_an_app_and_its_spaces_have_its_version_and_its_floors_in_order_of_time() -> None:
    app = App("shop", version="2.0", oldest_supported={"1.4": "2027-03-01T01:00+01:00", "1.3": "2026-01-01"})
    app.space("retail", partitions=1)
    contract = app.contract
    assert [floor.version for floor in contract.floors] == ["1.3", "1.4"]
    assert contract.floors[1] == Floor("1.4", MARCH_MS)
    assert (contract.version, contract.spaces["retail"].version) == ("2.0", "2.0")
    assert contract.spaces["retail"].floors == contract.floors


def test_an_app_need_not_have_one() -> None:
    assert (App("shop").contract.version, App("shop").contract.floors) == ("", ())


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"version": "the newest"}, "version: 'the newest' is no version"),
        ({"version": "1" * 41}, "no version of at most 40"),
        ({"version": 2.0}, "version: '2.0' is no version"),
        ({"version": "2.0", "oldest_supported": "1.4"}, 'write oldest_supported={"1.4": "2027-03-01"}'),
        ({"oldest_supported": {"1.4": "2027-03-01"}}, "give it a version"),
        ({"version": "2.0", "oldest_supported": {"old": "2027-03-01"}}, "oldest_supported: 'old' is no version"),
        ({"version": "2.0", "oldest_supported": {"1.4": "soon"}}, r"oldest_supported\['1.4'\]: 'soon' is no date"),
        ({"version": "2.0", "oldest_supported": {"1.4": None}}, r"oldest_supported\['1.4'\]: 'None' is no date"),
        ({"version": "2.0", "oldest_supported": {"1.4": "0001-01-01"}}, "no date"),
        ({"version": "2.0", "oldest_supported": {"2.1": "2027-03-01"}}, "newer than its own version 2.0"),
        (
            {"version": "2.0", "oldest_supported": {"1.4": "2027-03-01", "1.3": "2027-04-01"}},
            r"oldest_supported\['1.3'\] does not come after '1.4'",
        ),
        (
            {"version": "2.0", "oldest_supported": {"1.4": "2027-03-01", "1.5": "2027-03-01"}},
            r"oldest_supported\['1.5'\] does not come after '1.4'",
        ),
    ],
)
def test_what_cannot_be_meant_fails_where_it_is_declared(declared: dict[str, Any], named: str) -> None:
    with pytest.raises(DeclarationError, match=named):
        App("shop", **declared)
