"""Clients of Kafka that ask are held here, and freed here when they are let go: nobody who has something else to do frees one."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection

from confluent_kafka.admin import AdminClient

LAST_WORDS_SECONDS = 1.0
HEED_SECONDS = 5.0
"""How often each client's own words are taken, also where nobody asks: it keeps each until then, and without a broker it has one for each attempt to
connect."""
MOST_FREED_AT_ONCE = 4
"""So many clients beside those in use, each with some threads of its own; in an outage of a week too."""


class Keeper:
    """Holds every client, hears what it says, and frees those that are let go, each in a thread that nobody waits for.

    Freeing one waits for librdkafka's threads, and once in some hundred times one of those is not woken (seen with 2.16). Whoever frees it then
    stands for ever: not the loop, nor the end of the process, nor the next one. What stands so is never more than `MOST_FREED_AT_ONCE`.
    """

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[tuple[AdminClient, bool]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._freeing = 0

    def hold(self, client: AdminClient) -> None:
        """Keep it until it is let go, whatever else ends."""
        self._news.put((client, True))
        self._work()

    def let_go(self, client: AdminClient) -> bool:
        """Free it, for nobody asks it any more; False while so many are being freed that it must be kept."""
        with self._lock:
            if self._freeing >= MOST_FREED_AT_ONCE:
                return False
            self._freeing += 1
        self._news.put((client, False))
        self._work()
        return True

    def _work(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="driftlog-askers", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        held: set[AdminClient] = set()
        while True:
            try:
                client, wanted = self._news.get(timeout=HEED_SECONDS)
            except queue.Empty:
                _heed(held)
                continue
            if wanted:
                held.add(client)
                del client
                continue
            held.discard(client)
            last = [client]
            del client  # before that thread begins: the last hand on it frees it, and this one must not
            threading.Thread(target=self._free, args=(last,), name="driftlog-asker-ends", daemon=True).start()

    def _free(self, last: list[AdminClient]) -> None:
        time.sleep(LAST_WORDS_SECONDS)  # who let it go may still have a hand on it
        last.clear()
        with self._lock:
            self._freeing -= 1


def _heed(clients: Collection[AdminClient]) -> None:
    for client in clients:
        client.poll(0)


keeper = Keeper()
"""Of this process."""
