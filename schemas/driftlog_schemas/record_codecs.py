"""Chain rows, conflicts, devices, heartbeats and parked commands as framed Avro."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from driftlog_crdt import canonical
from driftlog_schemas import avro_files, bounds
from driftlog_schemas.claims import Claim
from driftlog_schemas.devices import Device, DeviceKey, DeviceStatus, Terms
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.framing import FramedCodec
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.json_text import from_json
from driftlog_schemas.messages import (
    REJECTED,
    REVIEW,
    ChainRow,
    Conflict,
    ConflictStatus,
    Forgot,
    Heartbeat,
    Notice,
    ParkedCommand,
    Quarantined,
    RefusalNotice,
    Version,
    WaitingCommand,
)
from driftlog_schemas.operator_keys import Certificate, SignedLine
from driftlog_schemas.public_key import KEY_BYTES
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.row_columns import (
    pack_entries,
    pack_over,
    pack_reactions,
    pack_refused,
    pack_taken,
    unpack_entries,
    unpack_over,
    unpack_reactions,
    unpack_refused,
    unpack_taken,
)
from driftlog_schemas.support import MAX_VERSION

CONFLICT_NAME = 24
"""The characters of a conflict's id, all of them ASCII."""


def conflict_id(document: DocumentId, place: str) -> str:
    """The id of the conflict at one place of a document; one that opens there again later has the same."""
    return hashlib.blake2b(canonical([*document, place]).encode(), digest_size=CONFLICT_NAME // 2).hexdigest()


class RecordCodecs:
    """All of them over one set of schema ids."""

    def __init__(self, ids: SchemaIds) -> None:
        self._chain_row = FramedCodec(avro_files.text("chain_row"), ids)
        self._refusal_notice = FramedCodec(avro_files.text("refusal_notice"), ids)
        self._conflict = FramedCodec(avro_files.text("conflict"), ids)
        self._device = FramedCodec(avro_files.text("device"), ids)
        self._signed_line = FramedCodec(avro_files.text("signed_line"), ids)
        self._heartbeat = FramedCodec(avro_files.text("heartbeat"), ids)
        self._claim = FramedCodec(avro_files.text("claim"), ids)
        self._farewell = FramedCodec(avro_files.text("farewell"), ids)
        self._parked = FramedCodec(avro_files.text("parked_command"), ids)
        self._quarantined = FramedCodec(avro_files.text("quarantined"), ids)

    def encode_chain_row(self, row: ChainRow) -> bytes:
        return self._chain_row.encode(
            {
                **{name: getattr(row, name) for name in ChainRow.__slots__},
                "entries": pack_entries(row.entries),
                "notice": None if row.notice is None else _reasoned(row.notice),
                "refused": pack_refused(row.refused),
                "taken": pack_taken(row.taken),
                "forgot": [forgot._asdict() for forgot in row.forgot],
                "over": pack_over(row.over),
                "reactions": pack_reactions(row.reactions),
            }
        )

    def decode_chain_row(self, value: bytes) -> ChainRow:
        r = self._chain_row.decode(value)
        with _refused():
            _require_row(r)
        entries = unpack_entries(r.pop("entries"), r["floor"])
        notice = r.pop("notice")
        return ChainRow(
            entries=entries,
            notice=None if notice is None else Notice(**notice),
            refused=unpack_refused(r.pop("refused")),
            taken=unpack_taken(r.pop("taken")),
            forgot=tuple(Forgot(**forgot) for forgot in r.pop("forgot")),
            over=unpack_over(r.pop("over")),
            reactions=unpack_reactions(r.pop("reactions")),
            **r,
        )

    def encode_refusal_notice(self, notice: RefusalNotice) -> bytes:
        return self._refusal_notice.encode(_reasoned(notice))

    def decode_refusal_notice(self, value: bytes) -> RefusalNotice:
        return RefusalNotice(**self._refusal_notice.decode(value))

    def encode_conflict(self, conflict: Conflict) -> bytes:
        return self._conflict.encode(
            {
                "id": conflict.id,
                "collection": conflict.document.collection,
                "scope": conflict.document.scope,
                "document_id": conflict.document.id,
                "field": conflict.field,
                "versions": list(map(_version, conflict.versions)),
                "omitted": conflict.omitted,
                "policy": conflict.policy,
                "rule": conflict.rule,
                "opened_ms": conflict.opened_ms,
                "detected_ms": conflict.detected_ms,
                "deadline_ms": conflict.deadline_ms,
                "status": conflict.status.value,
                "decided_by": None if conflict.decided_by is None else _version(conflict.decided_by),
            }
        )

    def decode_conflict(self, value: bytes) -> Conflict:
        r = self._conflict.decode(value)
        if len(r["versions"]) < 2:
            raise Undecodable(f"versions: {len(r['versions'])}, a conflict has two and more")
        return Conflict(
            id=r["id"],
            document=DocumentId(r["collection"], r["scope"], r["document_id"]),
            field=r["field"],
            versions=tuple(map(_to_version, r["versions"])),
            omitted=r["omitted"],
            policy=r["policy"],
            rule=r["rule"],
            opened_ms=r["opened_ms"],
            detected_ms=r["detected_ms"],
            deadline_ms=r["deadline_ms"],
            status=ConflictStatus(r["status"]),
            decided_by=None if r["decided_by"] is None else _to_version(r["decided_by"]),
        )

    def encode_device(self, device: Device) -> bytes:
        return self._device.encode(
            {
                "device_id": device.device_id,
                "version": device.version,
                "keys": [key._asdict() for key in device.keys],
                "terms": [{**terms._asdict(), "status": terms.status.value} for terms in device.terms],
            }
        )

    def decode_device(self, value: bytes) -> Device:
        r = self._device.decode(value)
        keys = tuple(DeviceKey(**key) for key in r["keys"])
        terms = tuple(
            Terms(
                **{
                    **t,
                    "status": DeviceStatus(t["status"]),
                    "scopes": tuple(t["scopes"]),
                    "permissions": tuple(t["permissions"]),
                }
            )
            for t in r["terms"]
        )
        if not terms:
            raise Undecodable("terms: a device has some")
        return Device(r["device_id"], r["version"], keys, terms)

    def encode_signed_line(self, line: SignedLine) -> bytes:
        return self._signed_line.encode({**line._asdict(), "certificate": line.certificate._asdict()})

    def decode_signed_line(self, value: bytes) -> SignedLine:
        r = self._signed_line.decode(value)
        certificate = Certificate(**r["certificate"])
        if len(certificate.root) != KEY_BYTES or len(certificate.public) != KEY_BYTES:
            raise Undecodable(f"certificate: a public key has {KEY_BYTES} bytes")
        return SignedLine(r["body"], certificate, r["signature"])

    def encode_heartbeat(self, heartbeat: Heartbeat) -> bytes:
        return self._heartbeat.encode(
            {name: getattr(heartbeat, name) for name in Heartbeat.__slots__}
            | {name: dict(getattr(heartbeat, name)) for name in ("versions", "heads", "applied")}
            | {"differing": list(heartbeat.differing), "waiting": [one._asdict() for one in heartbeat.waiting]}
        )

    def decode_heartbeat(self, value: bytes) -> Heartbeat:
        record = self._heartbeat.decode(value)
        with _refused():
            _require_heartbeat(record)
        waiting = tuple(WaitingCommand(**one) for one in record["waiting"])
        return Heartbeat(**{**record, "differing": tuple(record["differing"]), "waiting": waiting})

    def encode_farewell(self, farewell: Farewell) -> bytes:
        return self._farewell.encode(farewell._asdict())

    def decode_farewell(self, value: bytes) -> Farewell:
        record = self._farewell.decode(value)
        with _refused():
            _require_farewell(record)
        return Farewell(**record)

    def encode_claim(self, claim: Claim) -> bytes:
        return self._claim.encode(claim._asdict())

    def decode_claim(self, value: bytes) -> Claim:
        record = self._claim.decode(value)
        with _refused():
            _require_claim(record)
        return Claim(**record)

    def encode_parked(self, parked: ParkedCommand) -> bytes:
        return self._parked.encode({name: getattr(parked, name) for name in ParkedCommand.__slots__})

    def decode_parked(self, value: bytes) -> ParkedCommand:
        return ParkedCommand(**self._parked.decode(value))

    def encode_quarantined(self, quarantined: Quarantined) -> bytes:
        return self._quarantined.encode(_reasoned(quarantined))

    def decode_quarantined(self, value: bytes) -> Quarantined:
        return Quarantined(**self._quarantined.decode(value))


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except bounds.OutOfBounds as error:
        raise Undecodable(str(error)) from error


def _require_heartbeat(record: dict[str, Any]) -> None:
    """People read it, and it names lives: no agent says more than this."""
    bounds.check_text("device_id", record["device_id"], bounds.MAX_DEVICE, least=1)
    bounds.check_text("replica", record["replica"], bounds.MAX_REPLICA, least=1)
    bounds.check_text("connection", record["connection"], bounds.MAX_NAME)
    bounds.check_text("why", record["why"], bounds.MAX_SCOPE)
    for name in ("versions", "heads", "applied", "differing"):
        bounds.check_numbers(name, [len(record[name])], 0, bounds.MAX_PLACES)
        bounds.check_texts(name, list(record[name]), 3 * bounds.MAX_SCOPE)
    bounds.check_texts("versions", list(record["versions"].values()), bounds.MAX_NAME)
    counts = ("pending", "disk_bytes", "mismatches", "rebased", "review", "rejected")
    bounds.check_numbers("count", [record[name] for name in counts], 0, bounds.MAX_LONG)
    bounds.check_numbers("time", [record["sent_ms"], record["oldest_pending_ms"]], 0, bounds.MAX_MS)
    bounds.check_numbers("clock_skew_ms", [record["clock_skew_ms"]], -bounds.MAX_MS, bounds.MAX_MS)
    bounds.check_numbers("waiting", [len(record["waiting"])], 0, bounds.MAX_TOLD)
    for one in record["waiting"]:
        _require_waiting(one)


def _require_waiting(record: dict[str, Any]) -> None:
    if record["kind"] not in (REVIEW, REJECTED):
        raise bounds.OutOfBounds("kind", f"{record['kind'][:20]!r}, {REVIEW} and {REJECTED} are possible")
    bounds.check_text("command_id", record["command_id"], bounds.MAX_COMMAND_ID, least=1)
    for name in ("name", "actor", "collection"):
        bounds.check_text(name, record[name], bounds.MAX_NAME)
    bounds.check_text("scope", record["scope"], bounds.MAX_SCOPE)
    bounds.check_text("document", record["document"], bounds.MAX_ID)
    bounds.check_text("code", record["code"], bounds.MAX_CODE)
    bounds.check_text("reason", record["reason"], bounds.MAX_REASON)
    bounds.check_numbers("documents", [record["documents"]], 0, bounds.MAX_LONG)
    bounds.check_numbers("time", [record["at_ms"]], 0, bounds.MAX_MS)


def _require_claim(record: dict[str, Any]) -> None:
    for name in ("conflict_id", "kind", "person", "by", "key_id"):
        bounds.check_text(name, record[name], bounds.MAX_NAME, least=1)
    bounds.check_text("scope", record["scope"], bounds.MAX_SCOPE, least=1)
    bounds.check_text("note", record["note"], bounds.MAX_REASON)
    bounds.check_text("device_id", record["device_id"], bounds.MAX_DEVICE, least=1)
    bounds.check_numbers("time", [record["until_ms"], record["said_ms"]], 0, bounds.MAX_MS)


def _require_farewell(record: dict[str, Any]) -> None:
    bounds.check_text("device_id", record["device_id"], bounds.MAX_DEVICE, least=1)
    bounds.check_text("key_id", record["key_id"], bounds.MAX_NAME, least=1)
    bounds.check_text("replica", record["replica"], bounds.MAX_REPLICA)
    bounds.check_numbers("number", [record["version"], record["lost"]], 0, bounds.MAX_LONG)
    bounds.check_numbers("said_ms", [record["said_ms"]], 0, bounds.MAX_MS)


def _require_row(record: dict[str, Any]) -> None:
    """Numbers that no worker writes would find no place in the keys and clocks of whoever keeps the row."""
    notice = record["notice"]
    numbers = [] if notice is None else [notice["number"]]
    bounds.check_numbers("number", [record["partition"], record["last"], record["floor"], *numbers], 0, bounds.MAX_LONG)
    offsets = [record[name] for name in ("offset", "ended_at", "forgotten", "taken_from")]
    bounds.check_numbers("offset", offsets, -1, bounds.MAX_LONG)
    times = [record[name] for name in ("skew_ms", "append_ms", "born_ms", "support_ends_ms")]
    bounds.check_numbers("time", times, 0, bounds.MAX_MS)
    bounds.check_text("oldest_supported", record["oldest_supported"], MAX_VERSION)


def _version(version: Version) -> dict[str, Any]:
    return {name: getattr(version, name) for name in Version.__slots__} | {"value": canonical(version.value)}


def _to_version(record: dict[str, Any]) -> Version:
    return Version(**{**record, "value": from_json(record["value"])})


def _reasoned(notice: Notice | RefusalNotice | Quarantined) -> dict[str, Any]:
    """Its members, with texts for people cut to what a record holds."""
    members: dict[str, Any] = {name: getattr(notice, name) for name in type(notice).__slots__}
    return members | {
        "code": bounds.cut(notice.code, bounds.MAX_CODE),
        "reason": bounds.cut(notice.reason, bounds.MAX_REASON),
    }
