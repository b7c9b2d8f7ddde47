"""What is quarantined comes again: whose signature would count then, and what workers may sign anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from driftlog.cli import parked
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.devices import NOTICE_MS, Device, with_key
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity, verify
from driftlog_streams.errors import SetupProblem
from driftlog_streams.reading.set_aside import QUARANTINED, SetAside
from driftlog_streams.registry.sending_again import ended_key, signed_anew
from tests.unit.streams.cloud import NOW_MS, device

BATCHES = BatchCodec(FixedIds())
WORKERS, WORKERS_NOW, TILL = Identity.create(CLOUD), Identity.create(CLOUD), Identity.create("store-1")
BODY = b"what a reaction has called for"
LATER = NOW_MS + NOTICE_MS


def turned(old: Identity, new: Identity) -> Device:
    """A device whose key was changed."""
    (key,) = device(new).keys
    return with_key(device(old), key, NOW_MS)


class Directory(dict[str, Device]):
    """The registry as it is known here."""

    def find(self, device_id: str) -> Device | None:
        return self.get(device_id)


DIRECTORY = Directory({CLOUD: turned(WORKERS, WORKERS_NOW), "store-1": turned(TILL, Identity.create("store-1"))})


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (BATCHES.seal(BODY, WORKERS), WORKERS.key_id),
        (BATCHES.seal(BODY, TILL), TILL.key_id),
        (BATCHES.seal(BODY, WORKERS_NOW), ""),
        (BATCHES.seal(BODY, Identity.create(CLOUD)), ""),
        (BATCHES.seal(BODY, Identity.create("nobody")), ""),
        (b"no batch at all", ""),
    ],
    ids=["workers", "till", "now", "stranger", "nobody", "noise"],
)
def test_whose_key_has_ended_is_known_before_it_is_sent(record: bytes, key: str) -> None:
    assert ended_key(record, BATCHES, DIRECTORY, LATER) == key


def test_a_key_that_ends_later_counts_still() -> None:
    assert ended_key(BATCHES.seal(BODY, WORKERS), BATCHES, DIRECTORY, NOW_MS) == ""


def test_what_workers_had_signed_is_signed_anew_and_nothing_else_is() -> None:
    again = BATCHES.open(signed_anew(BATCHES.seal(BODY, WORKERS), BATCHES, DIRECTORY, WORKERS_NOW))
    assert again.body == BODY and again.key_id == WORKERS_NOW.key_id
    assert verify(device(WORKERS_NOW).keys[0].public, again.signature, again.body)
    forged = replace(Identity.create(CLOUD), key_id=WORKERS.key_id)
    for record in (BATCHES.seal(BODY, forged), BATCHES.seal(BODY, TILL), b"no batch at all"):
        with pytest.raises(SetupProblem, match="no worker has signed"):
            signed_anew(record, BATCHES, DIRECTORY, WORKERS_NOW)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[SetAside]:
    """What goes to the op topic."""
    found: list[SetAside] = []
    monkeypatch.setattr(parked, "CachedRegistry", lambda *_: FixedIds())
    monkeypatch.setattr(parked, "trusted_root", lambda _: None)
    monkeypatch.setattr(parked, "devices_now", lambda *_: DIRECTORY)
    monkeypatch.setattr(parked, "send_again", lambda _, one: found.append(one))
    return found


def retried(monkeypatch: pytest.MonkeyPatch, signer: Identity, *options: str) -> Result:
    one = SetAside("0:17", QUARANTINED, "retail", 0, 17, NOW_MS, signer.device_id, "", "reaction_failed", "it failed")
    one = replace(one, record=BATCHES.seal(BODY, signer))
    monkeypatch.setattr(parked, "_one", lambda *_: one)
    words = ["retry", "0:17", "--app", "shop:app", "--json", *options]
    return CliRunner().invoke(parked.app, words, env={"DRIFTLOG_CLOUD_IDENTITY": ""})


def test_it_is_not_sent_to_be_refused(sent: list[SetAside], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for signer, remedy in ((WORKERS, "--cloud-identity"), (TILL, "sends it again under its new key")):
        refused = retried(monkeypatch, signer)
        assert refused.exit_code == 1 and "has ended" in refused.stderr and remedy in refused.stderr
    assert not sent
    WORKERS_NOW.save(tmp_path / "cloud.json")
    assert retried(monkeypatch, WORKERS, "--cloud-identity", str(tmp_path / "cloud.json")).exit_code == 0
    assert retried(monkeypatch, WORKERS_NOW).exit_code == 0
    assert [BATCHES.open(one.record).key_id for one in sent] == [WORKERS_NOW.key_id, WORKERS_NOW.key_id]
