"""`driftlog` that ends itself by SIGKILL at one of its steps: a moment that nobody from outside would ever hit twice.

Called with STEP MOMENT NUMBER WORDS...: STEP is `module:name` or `module:Class.name`, and the process ends `before` or
`after` the call of that number.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from functools import wraps
from itertools import count
from typing import Any

from driftlog import cli


def _strike(step: str, moment: str, number: int) -> None:
    module, _, path = step.partition(":")
    *parents, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    function, calls = getattr(owner, name), count(1)

    @wraps(function)
    def struck(*given: Any, **named: Any) -> Any:
        call = next(calls)
        if call == number and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*given, **named)
        if call == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, struck)


def main() -> None:
    """It ends there, if it comes there."""
    _strike(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    del sys.argv[1:4]
    cli.main()
