"""Who looks after a conflict: claimed, assigned, or put off for a while. It tells the others, and blocks nobody.

It stands in the topic `driftlog.desk`, which every console reads: so it outlives this one, and others see it within seconds. The conflict itself knows
nothing of it; a claim ends by itself, and with the conflict.
"""

from __future__ import annotations

from collections.abc import Callable

from driftlog_console.errors import ConsoleError
from driftlog_console.fleet import FleetView
from driftlog_console.people import Person
from driftlog_schemas import bounds
from driftlog_schemas.claims import HOUR_MS, LONGEST_MS, Claim, ClaimKind
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.errors import ContractError
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_schemas.signing import Identity
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.reading.claims import Held

FRESH_MS = 30_000
"""For so long a claim of our own is shown as it was sent, until it was read."""
LONGEST_HOURS = LONGEST_MS // HOUR_MS


class NoDesk(ConsoleError):
    """Claims cannot be told to others."""

    status = 503


class Claims:
    """See the module. `write` tells everybody, and blocks; `now_ms` is this machine's clock."""

    def __init__(
        self,
        identity: Callable[[], Identity],
        fleet: FleetView,
        write: Callable[[Claim], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._identity = identity
        self._fleet = fleet
        self._write = write
        self._now_ms = now_ms
        self._said: dict[str, Claim] = {}

    def of(self, conflict: Conflict) -> Held | None:
        """The claim that is in force; None where nobody looks after it, or it is decided."""
        if conflict.status is ConflictStatus.RESOLVED:
            return None
        return self.held(conflict.id)

    def held(self, conflict_id: str) -> Held | None:
        """The same of a conflict that is not decided."""
        now, read, said = self._now_ms(), self._fleet.claims.get(conflict_id), self._said.get(conflict_id)
        if said is not None and now - said.said_ms < FRESH_MS and (read is None or read.claim.said_ms < said.said_ms):
            read = None if said.kind == ClaimKind.RELEASED else Held(said, said.until_ms)
        return read if read is not None and read.ends_ms > now else None

    def made(self, conflict: Conflict, kind: ClaimKind, person: Person, whose: str, hours: int, note: str) -> Claim:
        """What `person` says: that `whose` looks after it, or has put it off, for so long. Raises `InvalidInput`."""
        if not 0 < hours <= LONGEST_HOURS:
            raise InvalidInput("hours", f"1 to {LONGEST_HOURS}")
        if len(note.encode()) > bounds.MAX_REASON:
            raise InvalidInput("note", f"at most {bounds.MAX_REASON} bytes")
        now, identity = self._now_ms(), self._identity()
        claim = Claim(
            conflict.id, conflict.document.scope, kind, whose, person.name, now + hours * HOUR_MS, note,
            identity.device_id, identity.key_id, now,
        )  # fmt: skip
        return claim.signed(identity)

    def tell(self, claim: Claim) -> None:
        """Let all consoles know, this one at once. Blocking. Raises `NoDesk`: nobody was told."""
        if self._fleet.claims_problem:
            raise NoDesk(self._fleet.claims_problem, "make the topic with `driftlog topics apply`")
        try:
            self._write(claim)
        except (DeliveryFailed, ContractError) as error:
            raise NoDesk(f"nobody was told: {error}", "decide without it, or say it again later") from error
        old = claim.said_ms - FRESH_MS
        self._said = {name: one for name, one in self._said.items() if one.said_ms > old} | {claim.conflict_id: claim}
        self._fleet.look_again()
