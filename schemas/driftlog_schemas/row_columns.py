"""What a chain row keeps of many batches and commands, as columns.

Rows are published with each flight, so a batch whose commands were all accepted takes some ten bytes and no record here; a command of
earlier batches some twenty, not its id and the text of its refusal: a short name, some whole numbers, and a code that few share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from driftlog_schemas import bounds
from driftlog_schemas.batch_codec import DIGEST_BYTES, SHORT_DIGEST_BYTES
from driftlog_schemas.columns_codec import pack, unpack
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.messages import ChainEntry, CommandOutcome, Over, Reactions, Refused, Taken, Unlisted, Verdict
from driftlog_schemas.row_room import MAX_ENTRIES

_NEVER = -1
"""None of a batch's commands had waited."""
_VERDICTS = list(Verdict)
"""As the schema has them."""


_OFFSETS = ("offsets", "ended_at", "removed", "taken_from")
_NO_OVER: dict[str, Any] = {
    **dict.fromkeys(("ids", "heads", "lasts", *_OFFSETS), b""),
    "endings": [],
    "ending": b"",
}
"""In every row but one."""
_NO_HEAD = bytes(DIGEST_BYTES)
"""No batch was ever taken."""


def short_name(name: str) -> bytes:
    """What a row keeps of a command's id or a replica's name."""
    return hashlib.blake2b(name.encode(), digest_size=SHORT_DIGEST_BYTES).digest()


def pack_entries(entries: Sequence[ChainEntry]) -> dict[str, Any]:
    """The columns of `ChainRow.entries`, which stand one after the other."""
    decided = [entry.decided_at for entry in entries]
    digests = b"".join([entry.digest for entry in entries])
    assert len(digests) == len(entries) * SHORT_DIGEST_BYTES, "a row keeps short digests"
    return {
        "digests": digests,
        "offsets": pack([entry.offset for entry in entries]),
        "decided": b"" if set(decided) <= {_NEVER} else pack(decided),
        "outcomes": [
            {
                "number": entry.number,
                "command_id": command_id,
                "verdict": verdict._value_,
                "code": bounds.cut(code, bounds.MAX_CODE),
                "reason": bounds.cut(reason, bounds.MAX_REASON),
            }
            for entry in entries
            for command_id, verdict, code, reason in entry.outcomes
        ],
    }


def unpack_entries(columns: Mapping[str, Any], floor: int) -> tuple[ChainEntry, ...]:
    """Inverse of `pack_entries`; the first one has the number `floor`. Raises `Undecodable`."""
    digests = _names(columns["digests"], "entries")
    count = len(digests)
    if count > MAX_ENTRIES or floor + count - 1 > bounds.MAX_LONG:
        raise Undecodable(f"entries: {count} batches from {floor} on, at most {MAX_ENTRIES}")
    offsets = unpack(columns["offsets"], count, "entries offsets", 0)
    decided = unpack(columns["decided"], count, "entries decided", _NEVER) if columns["decided"] else [_NEVER] * count
    outcomes: list[list[CommandOutcome]] = [[] for _ in digests]
    for told in columns["outcomes"]:
        at = told["number"] - floor
        if not 0 <= at < count:
            raise Undecodable(f"an outcome of batch {told['number']} in a row of {count} from {floor} on")
        outcomes[at].append(CommandOutcome(told["command_id"], Verdict(told["verdict"]), told["code"], told["reason"]))
    return tuple(map(ChainEntry, range(floor, floor + count), digests, offsets, map(tuple, outcomes), decided))


def pack_taken(taken: Mapping[bytes, Taken]) -> dict[str, Any]:
    """The columns of `ChainRow.taken`."""
    ids = sorted(taken)
    found = [taken[name] for name in ids]
    return {
        "ids": b"".join(ids),
        "offsets": pack([one.offset for one in found]),
        "verdicts": pack([_VERDICTS.index(one.verdict) for one in found]),
        **_pack_codes([one.code for one in found]),
    }


def unpack_taken(columns: Mapping[str, Any]) -> dict[bytes, Taken]:
    """Inverse of `pack_taken`. Raises `Undecodable`."""
    names = _names(columns["ids"], "taken")
    offsets = unpack(columns["offsets"], len(names), "taken offsets", 0)
    verdicts = unpack(columns["verdicts"], len(names), "taken verdicts", 0, len(_VERDICTS) - 1)
    codes = _unpack_codes(columns, len(names), "taken")
    return {
        name: Taken(offset, _VERDICTS[verdict], code)
        for name, offset, verdict, code in zip(names, offsets, verdicts, codes, strict=True)
    }


def pack_refused(refused: Mapping[bytes, Refused]) -> dict[str, Any]:
    """The columns of `ChainRow.refused`."""
    ids = sorted(refused)
    found = [refused[name] for name in ids]
    return {
        "ids": b"".join(ids),
        "numbers": pack([one.number for one in found]),
        **_pack_codes([one.code for one in found]),
    }


def unpack_refused(columns: Mapping[str, Any]) -> dict[bytes, Refused]:
    """Inverse of `pack_refused`. Raises `Undecodable`."""
    names = _names(columns["ids"], "refused")
    numbers = unpack(columns["numbers"], len(names), "refused numbers", 0)
    codes = _unpack_codes(columns, len(names), "refused")
    return {name: Refused(number, code) for name, number, code in zip(names, numbers, codes, strict=True)}


def pack_over(over: Mapping[bytes, Over]) -> dict[str, Any]:
    """The columns of `ChainRow.over`."""
    if not over:
        return _NO_OVER
    ids = sorted(over)
    found = [over[name] for name in ids]
    endings = [f"{one.ended}/{one.heir}" for one in found]
    table = sorted(set(endings))
    at = {ending: index for index, ending in enumerate(table)}
    return {
        "ids": b"".join(ids),
        "heads": b"".join([one.head or _NO_HEAD for one in found]),
        "lasts": pack([one.last for one in found]),
        "offsets": pack([one.offset for one in found]),
        "ended_at": pack([one.ended_at for one in found]),
        "removed": pack([one.removed for one in found]),
        "taken_from": pack([one.taken_from for one in found]),
        "endings": table,
        "ending": pack([at[ending] for ending in endings]),
    }


def unpack_over(columns: Mapping[str, Any]) -> dict[bytes, Over]:
    """Inverse of `pack_over`. Raises `Undecodable`."""
    if columns == _NO_OVER:
        return {}
    names = _names(columns["ids"], "over")
    count, table = len(names), [ending.partition("/") for ending in columns["endings"]]
    heads = _parts(columns["heads"], DIGEST_BYTES, "over heads")
    if len(heads) != count:
        raise Undecodable(f"over: {len(heads)} heads of {count} lives")
    if any(not ended for ended, _, _ in table):
        raise Undecodable("over: an ending that is none")
    lasts = unpack(columns["lasts"], count, "over lasts", 0)
    offsets, ended_at, removed, taken_from = (unpack(columns[name], count, f"over {name}", _NEVER) for name in _OFFSETS)
    endings = [table[at] for at in unpack(columns["ending"], count, "over ending", 0, len(table) - 1)]
    return {
        name: Over(last, b"" if head == _NO_HEAD else head, offset, ended, ended_offset, heir, since, gone)
        for name, last, head, offset, (ended, _, heir), ended_offset, since, gone in zip(
            names, lasts, heads, offsets, endings, ended_at, taken_from, removed, strict=True
        )
    }


def pack_reactions(known: Reactions) -> dict[str, Any]:
    """The columns of `ChainRow.reactions`."""
    sources = sorted(known.taken)
    return {
        "sources": sources,
        "taken": [known.taken[source] for source in sources],
        "waiting": [offset for offset, _ in known.waiting],
        "first": [first for _, first in known.waiting],
        "open": b"".join(known.open),
        "unlisted": [
            one._replace(
                code=bounds.cut(one.code, bounds.MAX_CODE), reason=bounds.cut(one.reason, bounds.MAX_REASON)
            )._asdict()
            for one in known.unlisted
        ],
    }


def unpack_reactions(columns: Mapping[str, Any]) -> Reactions:
    """Inverse of `pack_reactions`. Raises `Undecodable`."""
    sources, taken, waiting, first = (columns[name] for name in ("sources", "taken", "waiting", "first"))
    if len(sources) != len(taken) or len(waiting) != len(first):
        raise Undecodable("reactions: columns of different lengths")
    unlisted = tuple(Unlisted(**one) for one in columns["unlisted"])
    numbers = (number for one in unlisted for number in one[:2])
    if min((*sources, *taken, *waiting, *first, *numbers), default=0) < 0:
        raise Undecodable("reactions: a number below 0")
    pairs, names = tuple(zip(waiting, first, strict=True)), tuple(_names(columns["open"], "reactions open"))
    return Reactions(dict(zip(sources, taken, strict=True)), pairs, names, unlisted)


def _names(ids: bytes, what: str) -> list[bytes]:
    return _parts(ids, SHORT_DIGEST_BYTES, what)


def _parts(whole: bytes, size: int, what: str) -> list[bytes]:
    if len(whole) % size:
        raise Undecodable(f"{what}: {len(whole)} bytes are no ids")
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def _pack_codes(codes: Sequence[str]) -> dict[str, Any]:
    """Each code once, cut as rows cut those of outcomes, and which of them each command has."""
    cut = [bounds.cut(code, bounds.MAX_CODE) for code in codes]
    table = sorted(set(cut))
    at = {code: index for index, code in enumerate(table)}
    return {"codes": table, "code": pack([at[code] for code in cut])}


def _unpack_codes(columns: Mapping[str, Any], count: int, what: str) -> list[str]:
    """The code of each of so many commands; none of any where the row is of the release before codes were kept."""
    table: list[str] = columns["codes"]
    if not table and not columns["code"]:
        return [""] * count
    indices = unpack(columns["code"], count, f"{what} code", 0, len(table) - 1)
    return [table[index] for index in indices]
