"""A test process that is ended in its middle says by whom.

What ends a worker at once (`faust_driver.sudden_end`) is stood in for where a test is about it. Something that outlives its test, a thread or a callback,
would end the tests' own process by it: without a word, since what it says first is captured.
"""

from __future__ import annotations

import faulthandler
import os
import threading
from typing import NoReturn


def tell_of_them() -> None:
    """Whoever ends this process by `os._exit` leaves the stack of its thread on what is standard error now. Its forks end as they like."""
    ours, told, end = os.getpid(), os.dup(2), os._exit

    def ended(code: int) -> NoReturn:
        if os.getpid() == ours:
            os.write(
                told,
                f"\nos._exit({code}) in the process of the tests, by {threading.current_thread().name}:\n".encode(),
            )
            faulthandler.dump_traceback(told, all_threads=False)
        end(code)

    os._exit = ended
