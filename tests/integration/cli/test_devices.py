"""`driftlog devices` on a real broker: a device's life from its enrolment to its end."""

from __future__ import annotations

import json
import re
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from driftlog.cli.root import app as cli
from driftlog.testing.servers import RunningBroker
from driftlog_infra import EmbeddedBroker
from driftlog_schemas import topics
from driftlog_schemas.devices import DeviceStatus, with_terms
from driftlog_schemas.generations import InForce
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.operator_keys import CLOCK_SLACK_MS
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.signing import Identity
from driftlog_streams.registry import operators_clock
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.registry.operator_folder import OperatorFolder
from tests.integration.cli.shell import MODULE, Shell
from tests.load.fleet import operator

pytestmark = pytest.mark.broker


@pytest.fixture
def device(shell: Shell, app: str, fresh_name: Callable[[str], str]) -> str:
    """A name that is not enrolled, on a cluster that takes devices."""
    shell.run("topics", "apply", "--app", app).assert_done()
    return fresh_name("store")


def mine(shell: Shell, device: str) -> list[dict[str, object]]:
    return [line for line in shell.run("devices", "list", "--json").data if line["device_id"] == device]


def test_an_enrolled_device_has_an_identity_that_only_its_owner_reads(shell: Shell, device: str) -> None:
    made = shell.run("devices", "enrol", device, "--json").data
    path = shell.folder / f"{device}.json"
    assert made["identity"] == path.name
    identity = Identity.load(path)
    assert (identity.device_id, identity.root) == (device, operator().certificate.root)
    assert made["keys"] == [identity.key_id]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in shell.folder.glob("*.new")] == []


def test_what_it_may_do_is_kept_as_it_was_said(shell: Shell, device: str) -> None:
    rights = ("--scope", "s1", "--scope", "s2", "--permission", "receive", "--permission", "_write")
    shell.run("devices", "enrol", device, "--out", "deep/down/id.json", *rights).assert_done()
    (line,) = mine(shell, device)
    assert (line["scopes"], line["permissions"]) == (["s1", "s2"], ["receive", "_write"])
    assert line["status"] == "active"
    assert Identity.load(shell.folder / "deep/down/id.json").device_id == device


def test_who_may_publish_has_that_right_besides_the_others(shell: Shell, device: str) -> None:
    shell.run("devices", "enrol", device, "--out", "id.json", "--may-publish").assert_done()
    (line,) = mine(shell, device)
    assert line["permissions"] == ["*", "_publish"]


def test_enrolled_again_it_has_a_new_key_and_the_old_one_ends(shell: Shell, device: str) -> None:
    first = shell.run("devices", "enrol", device, "--out", "one.json", "--json").data
    second = shell.run("devices", "enrol", device, "--out", "two.json", "--json").data
    assert (first["version"], second["version"]) == (1, 2)
    assert second["enrolled"] == first["enrolled"]
    (old, new) = second["key_history"]
    assert [old["key_id"]] == first["keys"]
    assert old["until"] is not None
    assert new["until"] is None
    assert Identity.load(shell.folder / "two.json").key_id == new["key_id"]
    assert len(second["terms"]) == 1, "the same terms are not said twice"


def test_a_right_to_a_command_that_declares_nothing_is_told(shell: Shell, app: str, device: str) -> None:
    """It is a right to write the whole space, whatever its name says."""
    rights = ("--permission", "receive", "--app", app)
    told = shell.run("devices", "enrol", device, "--out", "one.json", *rights)
    told.assert_done()
    assert "it may write whole spaces: receive" in told.out
    data = shell.run("devices", "enrol", device, "--out", "two.json", "--app", app, "--json").data
    assert data["unbound_commands"] == ["receive", "set_price"]
    untold = shell.run("devices", "enrol", device, "--out", "three.json", "--permission", "receive")
    assert "with --app it is said which do" in untold.out
    assert shell.run("devices", "enrol", device, "--out", "four.json", "--json").data["unbound_commands"] is None


def test_a_right_to_a_command_that_the_app_does_not_have_is_refused(shell: Shell, app: str, device: str) -> None:
    """A slip in a name would be found by a device in the field, whose writes are refused."""
    slip = shell.run("devices", "enrol", device, "--permission", "recieve", "--permission", "_write", "--app", app)
    assert slip.code == 2
    assert "'--permission'" in slip.err and "no command recieve" in slip.err and "receive, set_price" in slip.err
    assert mine(shell, device) == []
    assert not (shell.folder / f"{device}.json").exists()
    untried = shell.run("devices", "enrol", device, "--permission", "recieve")
    assert "nobody has looked whether there are such commands: recieve" in untried.out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--scope", ""),
        ("--scope", "x" * 513),
        ("--permission", ""),
        ("--permission", "_forget"),
        ("--valid", "soon"),
        ("--valid", "0d"),
        ("--valid", "999999999d"),
        ("--grace", "999999999999d"),
    ],
)
def test_terms_that_mean_nothing_are_refused_and_no_key_is_made(alone: Shell, option: str, value: str) -> None:
    slip = alone.run("devices", "enrol", "store-1", option, value, "--operator", "keys")
    slip.assert_one_line(2, f"'{option}'")
    assert [*alone.folder.iterdir()] == []


def test_a_key_that_is_rotated_may_keep_the_old_one(shell: Shell, device: str) -> None:
    shell.run("devices", "enrol", device, "--permission", "receive", "--out", "one.json").assert_done()
    kept = shell.run("devices", "rotate-key", device, "--out", "two.json", "--keep-keys", "--json").data
    assert [key["until"] for key in kept["key_history"]] == [None, None]
    rotated = shell.run("devices", "rotate-key", device, "--out", "three.json", "--json").data
    assert [key["until"] is None for key in rotated["key_history"]] == [False, False, True]
    assert rotated["permissions"] == ["receive"]


def test_a_permit_is_renewed(shell: Shell, device: str) -> None:
    first = shell.run("devices", "enrol", device, "--valid", "1d", "--grace", "2h", "--json").data
    renewed = shell.run("devices", "renew", device, "--valid", "30d", "--json").data
    assert renewed["not_after"] > first["not_after"]
    assert [terms["not_after"] for terms in renewed["terms"]] == [first["not_after"], renewed["not_after"]]
    shell.run("devices", "revoke", device).assert_done()
    shell.run("devices", "renew", device).assert_one_line(1, "is revoked")


@pytest.fixture
def apart(place: Path, tmp_path: Path, empty_broker: EmbeddedBroker, registry_url: str) -> Shell:
    """A cluster whose registry may be written by strangers, and an operator who does not exist yet."""
    shell = Shell(
        place,
        bootstrap=empty_broker.bootstrap,
        registry=registry_url,
        schema_cache=str(tmp_path / "schema-cache"),
        operator=str(tmp_path / "keys"),
    )
    shell.run("topics", "apply", "--app", shell.declare("apart", collection="Apart")).assert_done()
    return shell


def test_a_strangers_operator_changes_nothing(
    apart: Shell, tmp_path: Path, empty_broker: EmbeddedBroker, registry_url: str
) -> None:
    """Who may write the topic may not say who may write. The command line does not even try, since its line would take the other's place there."""
    enrolled = apart.run("devices", "enrol", "store-1", "--json").data
    foreign = str(tmp_path / "foreign")
    assert apart.run("operator", "init", "--operator", foreign).code == 0
    stranger = apart.run("devices", "revoke", "store-1", "--operator", foreign)
    stranger.assert_one_line(1, "another root", "--operator", "trust.root")
    ids = CachedRegistry(registry_url, tmp_path / "schema-cache")
    with Enrolment(empty_broker.bootstrap, ids, OperatorFolder(Path(foreign)).operator()) as believes_itself:
        believes_itself.enrol("store-1", tmp_path / "stranger.json")
    (line,) = mine(apart, "store-1")
    assert (line["status"], line["version"]) == ("active", enrolled["version"])


def test_a_second_operators_first_key_is_refused_before_it_is_made(apart: Shell, tmp_path: Path) -> None:
    """Its line for a device would have taken the place of the first one's in the topic, and nobody would have believed it."""
    enrolled = apart.run("devices", "enrol", "store-1", "--json").data
    for words in (("enrol", "store-1"), ("enrol", "store-2"), ("enrol-cloud",)):
        second = apart.run("devices", *words, "--operator", str(tmp_path / "second"), "--out", "second.json")
        second.assert_one_line(1, "another operator's", "root", "--operator")
        assert not (tmp_path / "second").exists() and not (apart.folder / "second.json").exists()
    (line,) = mine(apart, "store-1")
    assert (line["status"], line["version"]) == ("active", enrolled["version"])


HOUR_MS = 3600 * 1000
YEAR_MS = 365 * 24 * HOUR_MS


@pytest.mark.parametrize("wrong_ms", [4 * YEAR_MS, -50 * YEAR_MS], ids=["ahead", "behind"])
def test_what_is_said_by_a_wrong_clock_counts_by_the_brokers(
    shell: Shell, device: str, broker: RunningBroker, registry_url: str, tmp_path: Path, wrong_ms: int
) -> None:
    shell.run("devices", "enrol", device).assert_done()
    ids = CachedRegistry(registry_url, tmp_path / "schema-cache")

    def wrong() -> int:
        return time.time_ns() // 1_000_000 + wrong_ms

    with Enrolment(broker.bootstrap, ids, operator(), now_ms=wrong) as enrolment:
        renewed = enrolment.renew(device, YEAR_MS)
        revoked = enrolment.set_status(device, DeviceStatus.REVOKED)
        other = enrolment.enrol(f"{device}-b", tmp_path / "other.json", valid_ms=YEAR_MS)
    now = time.time_ns() // 1_000_000
    assert [terms.status for terms in revoked.terms][-2:] == [DeviceStatus.ACTIVE, DeviceStatus.REVOKED]
    assert revoked.terms[0].status is DeviceStatus.ACTIVE, "what was written before stays good in a replay"
    assert abs(revoked.latest.from_ms - now) < HOUR_MS
    for line in (renewed, other):
        assert abs(line.latest.not_after_ms - now - YEAR_MS) < HOUR_MS
    assert abs(other.keys[0].from_ms - now) < HOUR_MS


@pytest.mark.parametrize(
    "words", [["operator", "init"], ["devices", "enrol", "store-1"]], ids=["init", "first enrolment"]
)
def test_a_key_that_is_made_by_a_wrong_clock_counts_by_the_brokers(
    apart: Shell,
    empty_broker: EmbeddedBroker,
    registry_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(operators_clock, "time", SimpleNamespace(time_ns=lambda: now + 4 * YEAR_MS * 1_000_000))
    monkeypatch.setenv("DRIFTLOG_SCHEMA_CACHE", str(tmp_path / "schema-cache"))
    monkeypatch.chdir(tmp_path)
    where = ["--bootstrap", empty_broker.bootstrap, "--registry", registry_url]
    if words[0] == "operator":
        where = where[:2]
    monkeypatch.setenv("DRIFTLOG_OPERATOR", str(tmp_path / "keys"))
    made = CliRunner().invoke(cli, [*words, *where])
    assert made.exit_code == 0, made.output
    certificate = OperatorFolder(tmp_path / "keys").operator().certificate
    assert abs(certificate.from_ms - now // 1_000_000) < 2 * CLOCK_SLACK_MS


def test_a_key_that_no_broker_dates_is_said_to_be_dated_by_this_machine(alone: Shell, tmp_path: Path) -> None:
    made = alone.run("operator", "init", "--operator", str(tmp_path / "keys"), "--json")
    assert made.data["generation"] == 1
    assert "dated by this machine's clock" in made.err
    again = alone.run("operator", "init", "--operator", str(tmp_path / "keys"))
    again.assert_one_line(1, "root.json exists already")


@pytest.mark.parametrize("words", [("revoke",), ("wipe",), ("renew",), ("rotate-key", "--out", "new.json")])
def test_only_an_enrolment_makes_a_key(alone: Shell, tmp_path: Path, words: tuple[str, ...]) -> None:
    """With another root whatever else is said would be believed by nobody, and the folder's name was a slip."""
    name, *more = words
    slip = alone.run("devices", name, "store-1", *more, "--operator", str(tmp_path / "kyes"))
    slip.assert_one_line(1, "operator.json does not exist", "driftlog operator init")
    assert not (tmp_path / "kyes").exists()


def test_no_key_is_made_for_an_enrolment_that_no_broker_takes(alone: Shell, tmp_path: Path) -> None:
    alone.run("devices", "enrol", "store-1", operator=str(tmp_path / "keys")).assert_one_line(1, "127.0.0.1:1")
    assert not (tmp_path / "keys").exists()


def test_who_was_revoked_from_years_ahead_on_can_be_revoked_now(
    shell: Shell, device: str, broker: RunningBroker, registry_url: str, tmp_path: Path
) -> None:
    shell.run("devices", "enrol", device).assert_done()
    ids, now = CachedRegistry(registry_url, tmp_path / "schema-cache"), time.time_ns() // 1_000_000
    with Enrolment(broker.bootstrap, ids, operator()) as enrolment:
        known = enrolment.find(device)
        late = known.latest._replace(status=DeviceStatus.REVOKED, from_ms=now + 4 * YEAR_MS)
        enrolment._publish(with_terms(known, late))  # as a clock that was wrong had it
        revoked = enrolment.set_status(device, DeviceStatus.REVOKED)
    assert abs(revoked.latest.from_ms - now) < HOUR_MS


def put_in_force(apart: Shell, tmp_path: Path, broker: EmbeddedBroker, registry_url: str) -> None:
    """A later generation of the read model, by the operator's word."""
    ids = CachedRegistry(registry_url, tmp_path / "schema-cache")
    with Enrolment(broker.bootstrap, ids, OperatorFolder(tmp_path / "keys").operator()) as enrolment:
        enrolment.switch("apart", InForce(2, 2))


def test_the_next_operator_takes_over_and_the_last_one_is_over(
    apart: Shell, tmp_path: Path, empty_broker: EmbeddedBroker, registry_url: str
) -> None:
    first = apart.run("devices", "enrol", "store-1", "--json")
    assert "made an operator's key" in first.err
    shutil.copytree(tmp_path / "keys", tmp_path / "stolen")
    before = apart.run("operator", "show", "--json").data
    put_in_force(apart, tmp_path, empty_broker, registry_url)
    rotated = apart.run("operator", "rotate", "--json").data
    assert (rotated["root"], rotated["generation"]) == (before["root"], 2)
    assert apart.run("devices", "show", "store-1", "--json").data["keys"] == first.data["keys"]
    stolen = apart.run("devices", "enrol", "store-2", "--operator", str(tmp_path / "stolen"))
    stolen.assert_failed(1, "is not believed", "retired_operator")
    assert not (apart.folder / "store-2.json").exists()
    assert apart.run("devices", "enrol", "store-3").code == 0
    kept = apart.run("replay", "--app", f"{MODULE}:app", "--to-generation", "2", "--json").data["spaces"][0]
    assert kept["in_force"] and not kept["made"], "what he had put in force for a space is signed again as well"
    assert {line["device_id"] for line in apart.run("devices", "list", "--json").data} == {"store-1", "store-3"}


@pytest.mark.parametrize(("word", "status"), [("revoke", "revoked"), ("wipe", "wipe")])
def test_a_device_is_shut_out_and_its_line_stays(shell: Shell, device: str, word: str, status: str) -> None:
    enrolled = shell.run("devices", "enrol", device, "--json").data
    told = shell.run("devices", word, device)
    told.assert_done()
    assert told.out.startswith(f"{device} is {status} since 20")
    shown = shell.run("devices", "show", device, "--json").data
    assert (shown["status"], shown["keys"]) == (status, enrolled["keys"])
    assert shown["status_since"] > enrolled["status_since"]
    assert [terms["status"] for terms in shown["terms"]] == ["active", status]
    assert shell.run("devices", word, device, "--json").data["status"] == status


def test_noise_in_the_topic_hides_no_device(
    place: Path, tmp_path: Path, empty_broker: EmbeddedBroker, registry_url: str
) -> None:
    """Anybody's tool may write there; a reader that dies of it would shut out every device after."""
    bootstrap = empty_broker.bootstrap
    shell = Shell(place, bootstrap=bootstrap, registry=registry_url, schema_cache=str(tmp_path / "schema-cache"))
    shell.run("topics", "apply", "--app", shell.declare("noisy", collection="Noisy")).assert_done()
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for value in (b"no Avro at all", b"\x00\x7f\xff\xff\xf0 of a schema that nobody registered"):
        producer.produce(topics.DEVICES, value, b"noise", 0)
    assert producer.flush(30) == 0
    assert shell.run("devices", "enrol", "store-1", "--json").data["version"] == 1
    listed = shell.run("devices", "list", "--json")
    assert [line["device_id"] for line in listed.data] == ["store-1"]
    assert listed.err.count("are not believed") == 1, "what it met before its end, together"


def test_a_device_that_began_too_many_lives_is_marked_and_stays_so(
    shell: Shell, device: str, broker: RunningBroker, registry_url: str, tmp_path: Path
) -> None:
    """The rows tell it, in whatever partitions its lives have written; no worker needs to remember."""
    shell.run("devices", "enrol", device).assert_done()
    declared = re.search(r"app\.space\('([^']+)'", (shell.folder / f"{MODULE}.py").read_text())
    assert declared is not None
    space = declared[1]
    codecs = RecordCodecs(CachedRegistry(registry_url, tmp_path / "ids", register=True))
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})

    def begin(life: str, partition: int, born_ms: int) -> None:
        row = ChainRow(device, f"{device}.{life}", space, partition, 1, bytes(16), 1, (), born_ms=born_ms)
        value = codecs.encode_chain_row(row)
        producer.produce(topics.receipts_topic(space), value, row.replica.encode(), partition)
        assert producer.flush(30) == 0

    for number in range(3):
        begin(f"life{number}", number % 2, 1_790_000_000_000 + number)
    begin("life0", 1, 1_790_000_000_500)
    assert [line["cloned"] for line in mine(shell, device)] == [None], "a life that writes in two partitions is one"
    begin("life3", 1, 1_790_000_000_900)
    assert [line["cloned"] for line in mine(shell, device)] == ["2026-09-21T14:13:20.900+00:00"]
    assert "cloned" in shell.run("devices", "list").out
    found = shell.run("doctor", "--json")
    assert f"device {device}" in [finding["what"] for finding in json.loads(found.out) if "lives" in finding["fact"]]


def test_tables_show_what_the_data_says(shell: Shell, device: str, tmp_path: Path) -> None:
    shell.run("devices", "enrol", device, "--scope", "s1").assert_done()
    listed, shown = shell.run("devices", "list"), shell.run("devices", "show", device)
    for ended in (listed, shown):
        ended.assert_done()
        assert device in ended.out
        assert "s1" in ended.out
        assert "active" in ended.out
