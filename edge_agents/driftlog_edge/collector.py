"""The collector of cyclic garbage, in a process that an agent has to itself.

What an agent makes is values in trees, freed by their counts. With Python's thresholds the collector walks through all modules and all that is
remembered of a long queue again and again, and nobody is answered meanwhile: 40 ms and more at a time. A process that embeds an agent sets its own.
"""

from __future__ import annotations

import gc

OFTEN, SELDOM, RARELY = 20_000, 20, 50
"""Objects more than were freed before the youngest are looked at, and how many such looks make one at the older ones."""


def spare() -> None:
    """Leave out what is there now, and look seldom at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OFTEN, SELDOM, RARELY)
