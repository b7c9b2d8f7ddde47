"""What an agent answers when it cannot do what it was asked, as one tree; each has the stable `code` of the HTTP API.

    EdgeError
    ├── NotFound        not_found      no such document, command or conflict
    ├── NotHeld         not_held       the scope is not one of this replica's
    ├── Unconfirmed     unconfirmed    a scope with commands that the cloud has not confirmed cannot be left
    ├── Deleted         deleted        it was there and is deleted
    ├── Evicted         evicted        it made room for others, and there is no way to fetch it again
    ├── LetGo           let_go         it only goes up, and was let go here after the cloud had it
    ├── OutboxFull      outbox_full    more is waiting than the outbox may hold
    ├── DiskFull        disk_full      the disk does not take another write
    ├── Stale           stale          a command asked for fresher data than there is
    ├── Offline         offline        the answer needs the cloud, and there is no way to it
    ├── TimedOut        timeout        not in the time given; a write stands, its status can be asked
    ├── Wiped           wiped          the operator had this replica erased
    ├── StoreBusy       busy           another process holds the data folder
    ├── OtherPartitions other_partitions the app declares another partition count than that with which the folder was written
    ├── KeyUnusable     key_unusable   the keys that the store is encrypted with cannot be had
    └── StoreFailed     store_failed   RocksDB cannot go on
        ├── Damaged                    a value is not what was written there
        └── StoreDamaged store_damaged the files cannot be read as a whole: the store is read only

After any of them the earlier state stands whole. A refusal by the app (`Refused`), bad arguments (`InvalidInput`) and what the algebra
refuses (`AlgebraError`) come through as they are.
"""

from __future__ import annotations

from typing import ClassVar

from driftlog_schemas.identity import DocumentId


class EdgeError(RuntimeError):
    """The fact, and in `remedy` the next step."""

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1
    """With which a program ends because of it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class NotFound(EdgeError):
    """No such document, command or conflict."""

    code = "not_found"


class NotHeld(EdgeError):
    """The scope is not one of this replica's, or the document only goes up and is others': whether there is such a one is not known here."""

    code = "not_held"


class Unconfirmed(EdgeError):
    """A scope cannot be left while commands in it wait for the cloud."""

    code = "unconfirmed"


class Deleted(EdgeError):
    """The document was there and is deleted."""

    code = "deleted"


class LetGo(EdgeError):
    """The document only goes up: the cloud has it, and this device has let it go."""

    code = "let_go"


class NotReadable(EdgeError):
    """What is known of the document is of a newer release than this one."""

    code = "not_readable"


class Evicted(EdgeError):
    """The document made room for others (`disk_budget`), and only the cloud has it now."""

    code = "evicted"

    def __init__(self, message: str, remedy: str, document: DocumentId) -> None:
        super().__init__(message, remedy)
        self.document = document

    @classmethod
    def of(cls, document: DocumentId, why: str = "there is no way to the cloud now") -> Evicted:
        """Of this document, which cannot be fetched now."""
        return cls(
            f"{'/'.join(document)} is evicted: it made room on this device's disk, and {why}",
            "ask again when the agent is online, it is fetched then; what must be here offline wants a larger disk_budget, "
            'or evict="never" in the declaration of its collection',
            document,
        )


class OutboxFull(EdgeError):
    """More waits for the network than the outbox may hold."""

    code = "outbox_full"


class DiskFull(EdgeError):
    """The disk does not take another write."""

    code = "disk_full"


class Stale(EdgeError):
    """A command asked for fresher data than there is. `place` is the state partition; the age in seconds, None before the first contact."""

    code = "stale"

    def __init__(self, message: str, place: tuple[str, int], age_seconds: float | None) -> None:
        super().__init__(
            message, "run it again when the agent is in step; `driftlog edge status` says since when it is not"
        )
        self.place = place
        self.age_seconds = age_seconds


class Offline(EdgeError):
    """The answer needs the cloud, and there is no way to it now."""

    code = "offline"


class TimedOut(EdgeError):
    """Not in the time given. `command_id` is the command that was waited for; it stands."""

    code = "timeout"

    def __init__(self, message: str, remedy: str = "", command_id: str = "") -> None:
        super().__init__(message, remedy)
        self.command_id = command_id


class NotReady(EdgeError):
    """Writes are refused, or the replica was never in step."""

    code = "not_ready"


class Wiped(EdgeError):
    """The operator had this replica erased: there is nothing to answer from."""

    code = "wiped"
    exit_code = 77
    """EX_NOPERM of sysexits.h: for a supervisor that must not start it again."""


class StoreBusy(EdgeError):
    """Another process holds the data folder."""

    code = "busy"


class OtherPartitions(EdgeError):
    """The app declares another number of partitions of a space than that with which the data folder was written."""

    code = "other_partitions"


class StoreFailed(EdgeError):
    """The local store cannot go on."""

    code = "store_failed"


class Damaged(StoreFailed):
    """A value in the store is not what was written there."""


class StoreDamaged(StoreFailed):
    """RocksDB's files are not what was written: they are read as far as that goes, and nothing is written to them any more."""

    code = "store_damaged"

    def __init__(self, message: str, remedy: str, told: str = "") -> None:
        super().__init__(message, remedy)
        self.told = told
        """What RocksDB said; empty where it would not have said anything."""


UNWRITABLE = (DiskFull, StoreDamaged)
"""Why a store that can be read takes no writes: no reason not to start."""


class KeyUnusable(EdgeError):
    """The keys that the store is encrypted with cannot be had."""

    code = "key_unusable"
