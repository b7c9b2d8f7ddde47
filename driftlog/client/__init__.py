"""Clients of an agent, for an application in a process of its own: `Client`, and `AsyncClient` for one with an event loop.

    with Client() as edge:
        edge.run("sell", store="s1", sku="tea", qty=1)

Methods, answers and errors are those of an `EdgeAgent` in the same process. What only the way between the two can bring is `Unreachable`.
Every write has an id before it is sent, and an agent answers an id that it knows as it did before: so what got no answer (the agent
restarts, the connection breaks) is sent again under the same id, as long as the caller waits, and has one effect.

`calls` says what each method sends and makes of the answer, without any I/O; the two clients only send.
"""

from __future__ import annotations

from driftlog.client.failures import Unreachable
from driftlog.client.with_loop import AsyncClient
from driftlog.client.without_loop import Client

__all__ = ["AsyncClient", "Client", "Unreachable"]
