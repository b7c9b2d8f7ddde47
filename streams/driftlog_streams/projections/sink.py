"""Where a projection goes, and the one law between it and who writes it: rows and position are one write.

The projector reads the state topic of a space and hands over whole groups; the sink applies them and the offsets that come next as one, or not at all.
So the position is the sink's. Whatever ends whenever, who begins anew asks the sink where it stands, and nothing is applied twice or left out:
exactly once, by nobody's promise but the sink's own transaction.

Only one writer may move a partition. A sink lets a writer *claim* partitions, and refuses groups that do not begin where the partition stands
(`Superseded`), so that a writer that was frozen and wakes up moves nothing.

To keep the read model in another place, write a class with these four methods; `tests/unit/projections/sqlite_sink.py` is one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol, TypeAlias

from driftlog_schemas.contract import Json
from driftlog_schemas.identity import DocumentId

Value: TypeAlias = "int | float | str | bool | Decimal | datetime | date | Json | None"
"""By the column's kind (see `tables.Kind`); moments are in UTC."""


class Position(NamedTuple):
    """Where a partition of the state topic stands in the sink."""

    offset: int
    """The record that comes next."""
    topic_id: str
    """Whose offset that is: a topic that is made anew has another id. Empty where nothing was ever read."""
    age_seconds: float
    """For how long nobody has moved or confirmed it, by the sink's clock."""


START = Position(0, "", 0.0)


class Row(NamedTuple):
    """What the newest record of a document says. `values` is None where there is no such document any more."""

    document: DocumentId
    offset: int
    """Of the record."""
    at_ms: int
    """When the record was published, in epoch milliseconds: by the broker's clock where the topic keeps that, else by the worker's."""
    disputed: bool
    """Has the document a conflict that is not decided?"""
    values: Mapping[str, Value] | None
    """By the names of the fields."""


@dataclass(frozen=True, slots=True)
class Group:
    """One or more whole groups of a partition: what makes a consistent cut. Without rows it confirms the position."""

    partition: int
    topic_id: str
    start: int
    """Where the partition must stand."""
    end: int
    """Where it stands after this."""
    rows: Sequence[Row]
    """One a document at most."""


class Sink(Protocol):
    """A place for one space's read model. All calls come from one thread. Raises what `errors` of its own tree say: `SinkAway` where trying again may help."""

    def open(self) -> None:
        """Connect, and have places for the declared collections. Called again after `SinkAway` and `Superseded`.

        Raises `SinkAway`, `SetupProblem`.
        """
        ...

    def claim(self, partitions: Collection[int]) -> Mapping[int, Position]:
        """Those of them that are this writer's from now on, and where they stand. Another's are left out; ask again later. Raises `SinkAway`."""
        ...

    def rows(self, groups: Sequence[Group]) -> None:
        """Apply groups, one a partition at most, and move the partitions to their ends: all of it or nothing.

        Raises `SinkAway`, `Superseded`. After `SinkAway` it is not known which of both; `claim` tells.
        """
        ...

    def close(self) -> None:
        """Give back what is claimed."""
        ...
