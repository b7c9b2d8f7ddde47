"""For an app's own tests: its commands and guards without any server, and replicas that meet when the test says so.

    from driftlog import testing

    def test_two_tills_sell_the_last_one() -> None:
        till, other, cloud = testing.replica(app), testing.replica(app), testing.replica(app)
        till.run("receive", store="s1", sku="tea", qty=1)
        testing.exchange(till, other)
        till.run("sell", store="s1", sku="tea", qty=1)
        sold = other.run("sell", store="s1", sku="tea", qty=1)
        testing.exchange(till, cloud)
        with pytest.raises(Refused, match="recount"):
            testing.guard(cloud, sold)

A command runs here by the code with which an agent runs it, and writes meet as they do in production: what is refused there is refused here.
"""

from __future__ import annotations

from driftlog.testing.memory import Done
from driftlog.testing.reacting import Called, react
from driftlog.testing.replica import Replica, exchange, guard, replica
from driftlog.testing.simulation import simulate
from driftlog.testing.story import Rejected, Result

__all__ = ["Called", "Done", "Rejected", "Replica", "Result", "exchange", "guard", "react", "replica", "simulate"]
