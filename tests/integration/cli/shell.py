"""`driftlog` as a person runs it: processes in a folder of their own, with no settings from outside; each is a copy (see `tests.copies`)."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from driftlog_streams.registry.operator_folder import OperatorFolder
from tests.copies import COLUMNS, DRIFTLOG, Copy, driftlog_copied, ended
from tests.load.fleet import operator
from tests.load.workers import CHECKOUT

MODULE = "corner_shop"
KILLED = "tests.integration.cli.killed_at:main"
APP = """
from driftlog import App, Counter, Document, Register, Transaction, field

app = App("shop")
retail = app.space({space!r}, partitions={partitions})


@retail.collection(scope="store", id="sku")
class {collection}(Document):
    store: str
    sku: str
    on_hand: Counter
    price: {price} = field(default={default}, on_conflict="review", deadline="48h")


@retail.command
def receive(tx: Transaction, store: str, sku: str, qty: int) -> int:
    stock = tx.edit({collection}, store, sku)
    stock.on_hand.increment(qty)
    return stock.on_hand.value


@retail.command
def set_price(tx: Transaction, store: str, sku: str, price: {inner}) -> None:
    tx.edit({collection}, store, sku).price.set(price)
"""


SWEPT = "what a killed command had left is removed"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    words: Sequence[str]
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it printed, with `--json`."""
        assert self.code == 0, self
        return json.loads(self.out)

    def assert_done(self) -> None:
        """It has done it and said nothing on the way, unless it has removed what one that was killed before had left."""
        told = [line for line in self.err.splitlines() if SWEPT not in line]
        assert (self.code, told) == (0, []), self

    def assert_failed(self, code: int, *told: str) -> None:
        """It failed with this code, and its last line has all of `told` in it."""
        assert self.code == code, self
        last = self.err.splitlines()[-1]
        assert all(part in last for part in told), self

    def assert_one_line(self, code: int, *told: str) -> None:
        """It failed with this code and one line that has all of `told` in it, and a way on after the last semicolon."""
        assert self.code == code, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self
        assert lines[0].startswith("error: "), self
        for part in told:
            assert part in lines[0], (part, self)
        _, semicolon, remedy = lines[0].rpartition("; ")
        assert semicolon, f"no remedy: {self}"
        assert len(remedy) > 5, f"no remedy: {self}"


@cache
def _operator_folder() -> Path:
    """The keys of the session's one operator (see `tests.load.fleet`), in a folder that goes with the session."""
    folder = Path(tempfile.mkdtemp(prefix="driftlog-test-operator-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    OperatorFolder(folder).keep(operator())
    return folder


class Shell:
    """A folder to run `driftlog` in; `settings` become `DRIFTLOG_*` for every call."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLOG_")}
        self._environment["DRIFTLOG_OPERATOR"] = str(_operator_folder())
        self._environment |= {f"DRIFTLOG_{name.upper()}": value for name, value in settings.items()}
        self._environment["COLUMNS"] = COLUMNS
        temporary = folder.with_name(f"{folder.name}-temporary")
        temporary.mkdir(exist_ok=True)
        self._environment["TMPDIR"] = str(temporary)

    def declare(
        self,
        space: str,
        *,
        module: str = MODULE,
        partitions: int = 2,
        collection: str = "Stock",
        price: str = "int",
        default: str = "0",
    ) -> str:
        """Write an app module; `module:app` for `--app`."""
        text = APP.format(
            space=space,
            partitions=partitions,
            collection=collection,
            price=f"Register[{price}]",
            inner=price,
            default=default,
        )
        (self.folder / f"{module}.py").write_text(text)
        return f"{module}:app"

    def run(self, *words: str, **settings: str) -> Ended:
        """`driftlog` with these words, to its end."""
        environment = self._environment | {f"DRIFTLOG_{name.upper()}": value for name, value in settings.items()}
        return self._to_its_end(words, environment)

    def start(self, *words: str, log: Path) -> Copy:
        """The same, left running; whoever starts it ends it, perhaps so that it cannot clean up."""
        environment = self._environment | {"TMPDIR": str(self.folder)}
        with log.open("wb") as out:
            return driftlog_copied(words, self.folder, environment, stdout=out.fileno(), stderr=out.fileno())

    def killed(self, step: str, moment: str, number: int, *words: str) -> None:
        """It ends by SIGKILL `before` or `after` this call of a step of it (see `killed_at`)."""
        path = os.pathsep.join([str(CHECKOUT), *filter(None, [self._environment.get("PYTHONPATH")])])
        environment = self._environment | {"PYTHONPATH": path}
        found = self._to_its_end([step, moment, str(number), *words], environment, KILLED)
        assert found.code == -signal.SIGKILL, (step, moment, number, found)

    def _to_its_end(self, words: Sequence[str], environment: Mapping[str, str], entry: str = DRIFTLOG) -> Ended:
        found = ended(words, self.folder, environment, entry)
        return Ended(words, found.returncode, found.stdout, found.stderr)

    def contents(self) -> dict[str, bytes]:
        """Every file below the folder that a person would see, to tell whether anything changed."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
