"""The keys of an agent's store. Numbers are big-endian, so that key order is number order."""

from __future__ import annotations

import struct

_LSN = struct.Struct(">Q")
_OUTBOX = struct.Struct(">IIQ")
_SEALED = struct.Struct(">IQ")
_URGENCY = _PARTITION = struct.Struct(">I")
_ROW = struct.Struct(">II")
_PAIR = struct.Struct(">QQ")
LSN_BYTES = _LSN.size
MAX_LSN = (1 << 64) - 1

CLASSES = ("critical", "high", "normal", "low")
WAITING = len(CLASSES)
"""The first of the classes of what waits for its moment: two for each rhythm, the second for what is low; the smaller rhythm is the more urgent."""
LAST_PARTITION = (1 << 32) - 1
"""Above every partition."""
HELD = (1 << 32) - 1
"""The class of what the cloud has deferred, and of what must not overtake it: the last."""
CLOCK = b"clock"
LIVES = b"lives"
CHAINS = b"chain/"
COUNTS = b"counts"
COMMON = b"common"
"""The last life of this folder's that somebody else was met to speak for, where it was about to begin."""
SUCCESSIONS = b"succession/"
HANDOVERS = b"handover/"
REVIEWS = b"review/"
REJECTED = b"rejected/"
AGAIN = b"again/"
FOR_LATER = (REVIEWS, AGAIN)
"""Commands that are in no queue and are sent some day: they wait for a person, or are to run again."""
OBSERVED = b"observed"
FRESHNESS = b"freshness"
ANSWERED = b"answered/"
HOLDINGS = b"holdings"
REGISTRY = b"registry"
OFFLINE = b"offline"
REMEMBERED = b"remembered"
GENERATIONS = b"generation/"
RETURNS = b"return/"
LEFT = b"left/"
DIGESTS = b"digest/"
HEALED = b"healed/"
EVICTED = b"evicted/"
TRACES = b"trace/"
EVICTING = b"evicting"
"""Is there in a folder from which something was ever evicted: only there markers are looked for."""
GATHERS = b"gathers"
"""Is there in a folder that holds what only goes up of all devices."""
GOING_UP = b"up/"
DUE = b"due/"
NOTES = b"notes"
"""How many rows of what only goes up went, and whether a life was drawn for it since."""
SALVAGED = b"salvaged"
"""Is there in a folder that was made from a damaged one: commands may be missing from it."""
UNSEEN = b"unseen/"
MOVES = b"moves/"
ROWS = b"row/"
"""Of the chains, as receipts tell them."""
CURSORS = b"cursor/"
SUPPORT = b"support/"
"""Is there for partitions whose workers say that this app's version will be too old."""
FLOORS = b"floors/"
"""Is there for partitions whose workers name versions of the app that are supported no longer, or soon no longer."""
CHANGES = b"watch/"
"""Of what was changed: after all other facts, for the oldest always go, and what goes lies in the way of who scans across it."""
SHOWN_BY = b"shown"
_SEPARATOR = b"\x00"


def lsn_key(lsn: int) -> bytes:
    return _LSN.pack(lsn)


def parse_lsn(key: bytes) -> int:
    """The lsn that a key ends with."""
    return int(_LSN.unpack(key[-LSN_BYTES:])[0])


def pending_prefix(document: bytes) -> bytes:
    return document + _SEPARATOR


def pending_key(document: bytes, lsn: int) -> bytes:
    return document + _SEPARATOR + _LSN.pack(lsn)


def document_of_pending(key: bytes) -> bytes:
    """The document's own key."""
    return key[: -LSN_BYTES - len(_SEPARATOR)]


def space_prefix(space: str) -> bytes:
    """What the keys of a space begin with in the outbox, among what is sealed and among the rows."""
    return space.encode() + _SEPARATOR


def outbox_prefix(space: str, urgency: int | None = None, partition: int | None = None) -> bytes:
    """What the outbox entries of a space begin with: all, those of a class, or those of a class and partition."""
    prefix = space_prefix(space)
    if urgency is not None:
        prefix += _URGENCY.pack(urgency)
    if partition is not None:
        prefix += _PARTITION.pack(partition)
    return prefix


def outbox_end(space: str, urgency: int, partition: int) -> bytes:
    """What is greater than every entry of a class and partition."""
    return outbox_prefix(space, urgency, partition) + b"\xff" * LSN_BYTES


def outbox_key(space: str, urgency: int, partition: int, lsn: int) -> bytes:
    return outbox_prefix(space) + _OUTBOX.pack(urgency, partition, lsn)


def parse_outbox(key: bytes) -> tuple[str, int, int, int]:
    """(space, urgency, partition, lsn)."""
    urgency, partition, lsn = _OUTBOX.unpack(key[-_OUTBOX.size :])
    return key[: -_OUTBOX.size - 1].decode(), urgency, partition, lsn


def urgency_of(key: bytes) -> int:
    """The class of an outbox entry: its index in `CLASSES`, or above those."""
    return int(_URGENCY.unpack_from(key, len(key) - _OUTBOX.size)[0])


def waiting_class(rhythm: int, priority: str) -> int:
    """Where commands of a rhythm wait for their moment."""
    return WAITING + 2 * rhythm + (priority == "low")


def rhythm_of(urgency: int) -> int:
    """The rhythm whose class this is."""
    return (urgency - WAITING) // 2


def sealed_prefix(space: str, partition: int) -> bytes:
    return space_prefix(space) + _PARTITION.pack(partition)


def sealed_key(space: str, partition: int, number: int) -> bytes:
    return sealed_prefix(space, partition) + _LSN.pack(number)


def parse_sealed(key: bytes) -> tuple[str, int, int]:
    """(space, partition, number)."""
    partition, number = _SEALED.unpack(key[-_SEALED.size :])
    return key[: -_SEALED.size - 1].decode(), partition, number


def of_all(kind: bytes, name: str) -> bytes:
    """What those keys of a kind begin with that end with a partition of this space, or of this topic."""
    return kind + f"{name}/".encode()


def chain_key(space: str, partition: int) -> bytes:
    return CHAINS + f"{space}/{partition}".encode()


def parse_place(key: bytes, kind: bytes) -> tuple[str, int]:
    """(space, partition) of a key that begins with `kind` and ends with those."""
    space, _, partition = key[len(kind) :].decode().rpartition("/")
    return space, int(partition)


def succession_key(space: str, partition: int) -> bytes:
    return SUCCESSIONS + f"{space}/{partition}".encode()


def handover_key(space: str, partition: int) -> bytes:
    return HANDOVERS + f"{space}/{partition}".encode()


def held_prefix(space: str, partition: int) -> bytes:
    """What the keys of the commands begin with which a life that is over has in its chain."""
    return f"held/{space}/{partition}/".encode()


def held_key(space: str, partition: int, name: bytes) -> bytes:
    """`name` is the command's short one."""
    return held_prefix(space, partition) + name


def row_key(space: str, partition: int) -> bytes:
    return ROWS + f"{space}/{partition}".encode()


def support_key(space: str, partition: int) -> bytes:
    return SUPPORT + f"{space}/{partition}".encode()


def floors_key(space: str, partition: int) -> bytes:
    return FLOORS + f"{space}/{partition}".encode()


def review_key(lsn: int) -> bytes:
    return REVIEWS + _LSN.pack(lsn)


def rejected_key(lsn: int) -> bytes:
    """Says that nobody has looked at a rejected command yet; the newest comes first."""
    return REJECTED + _LSN.pack(MAX_LSN - lsn)


def parse_rejected(key: bytes) -> int:
    """Its lsn."""
    return MAX_LSN - unpack_number(key[len(REJECTED) :])


def again_key(lsn: int) -> bytes:
    return AGAIN + _LSN.pack(lsn)


def answered_key(at_ms: int, command_id: str) -> bytes:
    """Says when a command was answered that changed nothing."""
    return ANSWERED + _LSN.pack(at_ms) + command_id.encode()


def parse_answered(key: bytes) -> tuple[int, str]:
    """(at_ms, command id)."""
    at, command_id = key[len(ANSWERED) :][:LSN_BYTES], key[len(ANSWERED) + LSN_BYTES :]
    return unpack_number(at), command_id.decode()


def left_prefix(space: str, partition: int, replica: str = "") -> bytes:
    """What the entries of commands begin with that lives have left parked in a partition: all, or those of one life."""
    return LEFT + f"{space}/{partition}/".encode() + (replica.encode() + _SEPARATOR if replica else b"")


def left_key(space: str, partition: int, replica: str, number: int, lsn: int) -> bytes:
    return left_prefix(space, partition, replica) + _PAIR.pack(number, lsn)


def parse_left(key: bytes, space: str, partition: int) -> tuple[str, int, int]:
    """(replica, number, lsn)."""
    replica = key[len(left_prefix(space, partition)) : -_PAIR.size - len(_SEPARATOR)].decode()
    return replica, *_PAIR.unpack(key[-_PAIR.size :])


def unseen_key(space: str, partition: int, document: bytes) -> bytes:
    """Says which dots of ours on a document perhaps no state will ever have; of no document, what such keys of a partition begin with."""
    return UNSEEN + f"{space}/{partition}/".encode() + document


def parse_unseen(key: bytes, space: str) -> tuple[int, bytes]:
    """(partition, document's own key) of such a key of this space."""
    partition, _, document = key[len(UNSEEN) + len(space.encode()) + 1 :].partition(b"/")
    return int(partition), document


def move_key(space: str) -> bytes:
    """Says where a space of this name goes on, and how far this folder has come on its way there."""
    return MOVES + space.encode()


def changes_key(number: int) -> bytes:
    """Of the entry whose last change has this number."""
    return CHANGES + _LSN.pack(number)


def cursor_key(topic: str, partition: int) -> bytes:
    return CURSORS + f"{topic}/{partition}".encode()


def generation_key(space: str, partition: int) -> bytes:
    """Which generation of a partition's confirmed rows is read."""
    return GENERATIONS + f"{space}/{partition}".encode()


def return_key(space: str, partition: int) -> bytes:
    """Is there while a partition is read into a fresh generation."""
    return RETURNS + f"{space}/{partition}".encode()


def confirmed_prefix(space: str, partition: int, generation: int | None = None) -> bytes:
    """What the rows of a partition begin with, or those of one generation."""
    prefix = space_prefix(space) + _PARTITION.pack(partition)
    return prefix if generation is None else prefix + _PARTITION.pack(generation)


def confirmed_end(space: str, partition: int, generation: int) -> bytes:
    """What is greater than every row of a generation, and smaller than those of the next."""
    return confirmed_prefix(space, partition, generation) + b"\xff"


def parse_confirmed(key: bytes) -> tuple[str, int, int]:
    """(space, partition, generation) of a confirmed row's key."""
    at = key.index(_SEPARATOR)
    return key[:at].decode(), *_ROW.unpack_from(key, at + 1)


def confirmed_head(key: bytes) -> bytes:
    """What stands before the document's own key in a confirmed row's."""
    return key[: key.index(_SEPARATOR) + 1 + _ROW.size]


def document_of_confirmed(key: bytes) -> bytes:
    """The document's own key, of a confirmed row's."""
    return key[len(confirmed_head(key)) :]


def evicted_key(row: bytes) -> bytes:
    """Stands in the place of a confirmed row that was evicted; of a beginning of a row's key, what such keys begin with."""
    return EVICTED + row


def trace_key(row: bytes) -> bytes:
    """Says where the topic has a confirmed row, and when it was last used; of a beginning of a row's key, as above."""
    return TRACES + row


def digest_prefix(space: str, partition: int, generation: int | None = None) -> bytes:
    """What the digests of a partition begin with, or those of one generation."""
    prefix = DIGESTS + f"{space}/{partition}/".encode()
    return prefix if generation is None else prefix + f"{generation}/".encode()


def digest_key(space: str, partition: int, generation: int, scope: str) -> bytes:
    """The digest of a scope in one generation of its partition."""
    return digest_prefix(space, partition, generation) + scope.encode()


def parse_digest(key: bytes) -> tuple[str, int, int, str]:
    """(space, partition, generation, scope) of a digest's key."""
    space, partition, generation, scope = key[len(DIGESTS) :].decode().split("/", 3)
    return space, int(partition), int(generation), scope


def healed_key(space: str, partition: int) -> bytes:
    """Says when a partition was last read again because it differed from the cloud's."""
    return HEALED + f"{space}/{partition}".encode()


def note_key(space: str, partition: int, document: bytes) -> bytes:
    """The note of a document that only goes up; without a document what the notes of the partition begin with."""
    return GOING_UP + space.encode() + _SEPARATOR + _PARTITION.pack(partition) + document


def parse_note(key: bytes) -> tuple[str, int, bytes]:
    """(space, partition, document's own key)."""
    at = key.index(_SEPARATOR) + 1
    (partition,) = _PARTITION.unpack_from(key, at)
    return key[len(GOING_UP) : at - 1].decode(), partition, key[at + _PARTITION.size :]


def due_key(due_ms: int, document: bytes) -> bytes:
    """Says when the row of a document that only goes up may go."""
    return DUE + _LSN.pack(due_ms) + document


def due_of(key: bytes) -> int:
    return int(_LSN.unpack_from(key, len(DUE))[0])


def document_of_due(key: bytes) -> bytes:
    return key[len(DUE) + LSN_BYTES :]


def pack_pair(one: int, other: int) -> bytes:
    return _PAIR.pack(one, other)


def unpack_pair(data: bytes | None) -> tuple[int, int]:
    """Zeros where nothing is stored."""
    return (0, 0) if data is None else _PAIR.unpack(data)


def pack_number(number: int) -> bytes:
    return _LSN.pack(number)


def unpack_number(data: bytes | None, default: int = 0) -> int:
    return default if data is None else int(_LSN.unpack(data)[0])
