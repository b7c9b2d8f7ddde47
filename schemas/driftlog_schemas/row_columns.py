"""What a chain row keeps of many commands, as columns: each a short name of its id, some whole numbers, and a code that few share.

Rows are published with each flight, so a command takes some twenty bytes here, not its id and the text of its refusal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from driftlog_schemas import bounds
from driftlog_schemas.batch_codec import SHORT_DIGEST_BYTES
from driftlog_schemas.columns_codec import pack, unpack
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.messages import Refused, Taken, Verdict

_VERDICTS = list(Verdict)
"""As the schema has them."""


def short_name(command_id: str) -> bytes:
    """What a row keeps of a command's id."""
    return hashlib.blake2b(command_id.encode(), digest_size=SHORT_DIGEST_BYTES).digest()


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


def _names(ids: bytes, what: str) -> list[bytes]:
    if len(ids) % SHORT_DIGEST_BYTES:
        raise Undecodable(f"{what}: {len(ids)} bytes are no ids")
    return [ids[at : at + SHORT_DIGEST_BYTES] for at in range(0, len(ids), SHORT_DIGEST_BYTES)]


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
