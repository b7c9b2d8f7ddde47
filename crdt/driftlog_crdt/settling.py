"""Settling: what stands at a place in conflict becomes final, because nobody has decided in time.

A settlement is a write of the replica SETTLER that has seen all that compete there and says once more what stands, so it dominates them
and the conflict is over. It is decided once, outside, and takes its place in the log like any op; so every replay settles at the same place.

It is nobody's opinion, and that shows in three things:

- **It yields to a person.** Who had seen all the writes for which it stands has decided between them, though the settlement had not reached him:
  his write replaces it as if he had seen it (`yields`), and no conflict opens. Who had seen only some of them has not decided: his write
  competes with the settlement as it would have competed with them.
- **It keeps what it stands for** (`Decision.settled`): who lost is known for as long as it stands, and a later decision can say so. What it
  has settled is kept flat: of a settlement that is settled again, the writes for which it stood.
- **It makes no document be there.** A delete by somebody who had seen the writes and not the settlement takes it along: its dot is in the vector
  and never in the presence.

In the log a person's decision is before the settlement or behind it. Before it, the place is not in conflict any more and nothing is settled;
behind it, it replaces the settlement: either way it stands. States are prefixes of one log, so they never meet in another order.

A log that is merged once more may come out otherwise: another app takes what was refused then, or what was put off comes at its first place. Where one more write
competes, a record that settled then settles nothing, and what was written later names a settlement that is not there. It waits for none (`DocumentType.pass_over`): those before
it in its log are all made, so none of them comes any more, and nothing is missing that the settlement had brought. Its dot counts as seen, so that the next one has another.

Source: Terry et al. 1995, "Managing update conflicts in Bayou": merge procedures, which decide without asking anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from driftlog_crdt.causal import SETTLER, Vector
from driftlog_crdt.field_type import Write
from driftlog_crdt.ops import Decision, Origin

DEADLINE = "deadline"
"""How a settlement was decided (`Decision.how`)."""


def yields(write: Write, seen: Vector) -> bool:
    """Is this a settlement, and has the owner of `seen` seen all the writes for which it stands?"""
    if write.replica != SETTLER:
        return False
    settled = settled_by(write)
    return bool(settled) and all(seen.get(one.replica, 0) >= one.seq for one in settled)


def settled_by(write: Write) -> tuple[Write, ...]:
    """The writes for which a settlement stands, by rank; none where the write is no settlement."""
    origin = write.origin
    return () if origin is None or origin.decision is None else origin.decision.settled


def origin_of(writes: Sequence[Write], append_ms: int, seen: int) -> Origin:
    """Who settles between these writes, which are given by rank: nobody, at this time of the log."""
    stood_for = [one for write in writes for one in settled_by(write) or (write,)]
    return Origin("", "", append_ms, seen, Decision(DEADLINE, "", tuple(w._replace(branch=None) for w in stood_for)))
