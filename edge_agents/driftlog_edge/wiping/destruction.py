"""What a wipe does to the disk, in an order that a power cut cannot turn into a half-erased replica that works.

First an order is written beside the data (`WIPED`): from then on there is no way back, and every start of an agent looks for it before anything
else. Then go the data keys: without them what is left of the store is noise, also to whoever copied it before. Then the identity key, so that nothing
can speak for the device any more; then the data, which is the rest of the folder.
The order itself stays: it says why there is nothing, holds the farewell until the cloud has it, and goes only when the folder is
given to an identity of a later enrolment. A farewell that has not been sent by then stays as a file of its own, whatever becomes of the folder.

A key that is overwritten may still be found on flash, which writes elsewhere. A data key that was wrapped is of no use to its finder without
the wrapping key; one that was not may open what is found of the data.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from driftlog_edge.errors import StoreFailed
from driftlog_edge.store import key_file
from driftlog_schemas import private_file
from driftlog_schemas.errors import IdentityProblem
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.private_file import overwrite, sync_folder
from driftlog_schemas.signing import Identity

log = structlog.get_logger()

ORDER = "WIPED"
"""The name of the order in a data folder. RocksDB passes over files that are not its own."""
FAREWELL = "FAREWELL."
"""What the names of farewells begin with that the cloud does not have; a key id follows."""
DATA_KEY_IS_GONE = "the data key"
"""The step after which nobody can read what is left of the store."""
KEY_IS_GONE = "the key"
"""The step after which nothing can speak for the device."""
_WHAT = "order to wipe"


class Order(NamedTuple):
    """What is to be erased, and whether that is done and told."""

    farewell: Farewell
    told: bool = False


def order_in(folder: Path) -> Order | None:
    """The order in a data folder. Raises `StoreFailed` for one that cannot be read: it is not known what it says."""
    path = folder / ORDER
    return _read(path, folder) if path.exists() else None


def owed_in(folder: Path) -> dict[Path, Farewell]:
    """The farewells of earlier replicas that the cloud does not have, by file; one that cannot be read is told and passed over."""
    owed: dict[Path, Farewell] = {}
    for path in sorted(folder.glob(f"{FAREWELL}*")):
        try:
            owed[path] = _read(path, folder).farewell
        except StoreFailed as error:
            log.error("the word of a wiped replica is lost", reason=str(error))
    return owed


def paid(path: Path) -> None:
    """The cloud has this farewell."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def _read(path: Path, folder: Path) -> Order:
    try:
        facts = private_file.load(path, _WHAT, f"delete {folder} by hand")
        signature = base64.b64decode(facts["signature"])
        said = Farewell(**{**facts["farewell"], "signature": signature})
        return Order(said, bool(facts["told"]))
    except (IdentityProblem, KeyError, TypeError, ValueError) as error:
        raise StoreFailed(
            f"{path} cannot be read: {error}", f"this replica was to be wiped: delete {folder}"
        ) from error


def give(folder: Path, order: Order) -> None:
    """Write the order, durably. Raises `StoreFailed`; then nothing has begun."""
    facts = order.farewell._asdict()
    signature = base64.b64encode(facts.pop("signature")).decode()
    try:
        private_file.save(folder / ORDER, _WHAT, {"farewell": facts, "signature": signature, "told": order.told})
    except IdentityProblem as error:
        raise StoreFailed(f"the order to wipe {folder} cannot be written: {error}", "free space") from error


def lift(folder: Path, order: Order) -> None:
    """The folder may be used again. A farewell that was not sent stays."""
    if order.told:
        (folder / ORDER).unlink(missing_ok=True)
    else:
        (folder / ORDER).replace(folder / f"{FAREWELL}{order.farewell.key_id}")
    sync_folder(folder)


def concerns(order: Order, identity: Path) -> bool:
    """Is the identity file the one that was to go, or gone? One with another key is of a later enrolment, and nobody's to destroy."""
    try:
        return Identity.load(identity).key_id == order.farewell.key_id
    except IdentityProblem:
        return True


def destroy(folder: Path, identity: Path, order: Order) -> Iterator[str]:
    """Erase key and data; yields what was done after each step, so that it can be cut off there. Begun again it goes on.

    Raises `StoreFailed` where the system refuses; all that could go is gone then.
    """
    refused: list[str] = []
    for path in key_file.files_in(folder):
        yield from _shred(path, refused)
    yield DATA_KEY_IS_GONE
    for doomed in (_doomed(identity), identity):
        if doomed.exists() and (doomed != identity or _holds(identity, order.farewell.key_id)):
            yield from _shred(doomed, refused)
    yield KEY_IS_GONE
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.name != ORDER and not path.name.startswith(FAREWELL) and path.resolve() != identity.resolve():
                _remove(path, refused)
                yield path.name
        sync_folder(folder)
    _remove(folder.with_name(f"{folder.name}.schemas"), refused)
    if refused:
        raise StoreFailed(f"not everything could be erased: {'; '.join(refused)}", "erase it by hand")
    yield "the data"


def _shred(path: Path, refused: list[str]) -> Iterator[str]:
    """Out of its name first, so that a start in the middle finds no identity; then overwritten, then gone."""
    doomed = path if path.name.endswith(_DOOMED) else _doomed(path)
    try:
        if path != doomed:
            path.replace(doomed)
            sync_folder(path.parent)
            yield "the key's name"
    except OSError:  # a file that is mounted by itself cannot be renamed
        doomed = path
    try:
        with doomed.open("r+b") as file:
            overwrite(file.fileno())
        yield "the key's bytes"
        doomed.unlink()
        sync_folder(doomed.parent)
    except OSError as error:
        refused.append(f"{doomed}: {error.strerror}")


_DOOMED = ".wiped"


def _doomed(identity: Path) -> Path:
    return identity.with_name(f".{identity.name}{_DOOMED}")


def _holds(identity: Path, key_id: str) -> bool:
    """Is it the key's file, or what a cut-off overwriting has left of it? Empty or zeros can be nothing else."""
    try:
        return Identity.load(identity).key_id == key_id
    except IdentityProblem:
        with suppress(OSError):
            return identity.read_bytes()[:1] in (b"", b"\x00")
        return True


def _remove(path: Path, refused: list[str]) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        refused.append(f"{path}: {error.strerror}")
