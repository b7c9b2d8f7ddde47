"""Schema ids behind a disk cache: what is known needs no network, and a registry that misbehaves is told from one that says no."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from driftlog_schemas import registry as module
from driftlog_schemas.connection import RegistrySettings
from driftlog_schemas.errors import Incompatible, RegistryMadeAnew, RegistryUnreachable, UnknownSchema
from driftlog_schemas.registry import CachedRegistry
from tests.unit.schemas.counting_registry import Counting
from tests.unit.schemas.odd_registry import Answer, OddRegistry, data, refusal

TEXT = json.dumps({"type": "record", "name": "Visit", "namespace": "test.v1", "fields": []})
ID = 17


def well(method: str, path: str, body: str) -> Answer:
    """A registry that knows one schema."""
    if path.endswith("/versions"):
        return data({"id": ID})
    if "/compatibility/" in path:
        return data({"is_compatible": True})
    if path.startswith("/schemas/ids/"):
        return (
            data({"schema": TEXT, "schemaType": "AVRO"})
            if path.startswith(f"/schemas/ids/{ID}")
            else refusal(404, 40403, "Schema not found")
        )
    return data({"subject": "test.v1.Visit", "version": 1, "id": ID, "schema": TEXT})


@pytest.fixture
def server() -> Iterator[OddRegistry]:
    with OddRegistry(well) as running:
        yield running


@pytest.fixture
def connect(server: OddRegistry, tmp_path: Path) -> Callable[..., CachedRegistry]:
    """A process of its own with the same cache folder."""
    return lambda *, register=False: CachedRegistry(server.url, tmp_path / "schemas", register=register)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that failed is asked again at once."""
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)


def test_an_edge_looks_up_and_never_registers(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    assert connect().id_of(TEXT) == ID
    assert not any(asked.endswith("/versions") for asked in server.asked)


def test_what_was_asked_once_is_not_asked_again(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    ids = connect()
    assert [ids.id_of(TEXT), ids.id_of(TEXT), ids.schema_of(ID)] == [ID, ID, TEXT]
    assert len(server.asked) == 1


def test_a_known_schema_needs_no_network_after_a_restart(
    server: OddRegistry, connect: Callable[..., CachedRegistry]
) -> None:
    connect().id_of(TEXT)
    server.asked.clear()
    again = connect()
    assert (again.id_of(TEXT), again.schema_of(ID)) == (ID, TEXT)
    assert server.asked == []


def test_a_foreign_writers_schema_is_kept_too(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    assert connect().schema_of(ID) == TEXT
    server.asked.clear()
    assert connect().schema_of(ID) == TEXT
    assert server.asked == []


def test_a_worker_offers_its_schema_once_per_life(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    for _ in range(2):
        ids = connect(register=True)
        assert [ids.id_of(TEXT), ids.id_of(TEXT)] == [ID, ID]
    assert sum(asked.endswith("/versions") for asked in server.asked) == 2


def test_a_worker_goes_on_from_memory_without_a_registry(
    server: OddRegistry, connect: Callable[..., CachedRegistry]
) -> None:
    connect(register=True).id_of(TEXT)
    server.answer = lambda *_: (500, "down")
    assert connect(register=True).id_of(TEXT) == ID


def test_a_registry_set_up_anew_is_filled_again(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    connect(register=True).id_of(TEXT)
    server.answer = lambda *_: data({"id": 99})
    assert connect(register=True).id_of(TEXT) == 99
    assert connect().id_of(TEXT) == 99


PATIENT = json.dumps({"type": "record", "name": "Patient", "namespace": "driftlog.test", "fields": []})
BED = json.dumps({"type": "record", "name": "Bed", "namespace": "driftlog.test", "fields": []})


@pytest.fixture
def remembering(server: OddRegistry, tmp_path: Path) -> Callable[..., CachedRegistry]:
    """As `connect`, of a registry that counts, by whom ids were written into records: 1 is PATIENT, 2 is BED."""
    server.answer = Counting()

    def connect(*, register: bool = False) -> CachedRegistry:
        return CachedRegistry(server.url, tmp_path / "schemas", register=register, lasting=True)

    first = connect(register=True)
    assert [first.id_of(PATIENT), first.id_of(BED)] == [1, 2]
    return connect


def test_a_registry_made_anew_gets_the_ids_that_stand_in_records(
    server: OddRegistry, remembering: Callable[..., CachedRegistry]
) -> None:
    server.answer = anew = Counting()
    assert remembering(register=True).id_of(BED) == 2
    assert anew.texts == [PATIENT, BED]


@pytest.mark.usefixtures("patient")
def test_a_registry_that_calls_schemas_otherwise_counts_as_one_that_is_away(
    server: OddRegistry, remembering: Callable[..., CachedRegistry]
) -> None:
    server.answer = anew = Counting()
    anew.texts += [BED, PATIENT]
    worker, edge = remembering(register=True), remembering()
    assert [worker.id_of(PATIENT), worker.id_of(BED)] == [1, 2]
    with pytest.raises(
        RegistryMadeAnew, match=r"driftlog\.test\.Bed was its schema 2, and it has driftlog\.test\.Patient there"
    ) as caught:
        edge.schema_of(3)
    assert "backup" in caught.value.remedy
    assert anew.texts == [BED, PATIENT]
    anew.texts.reverse()
    assert remembering(register=True).id_of(PATIENT) == 1
    with pytest.raises(UnknownSchema):
        edge.schema_of(3)


def test_a_registry_that_was_begun_by_somebody_else_is_not_believed(
    server: OddRegistry, remembering: Callable[..., CachedRegistry]
) -> None:
    server.answer = anew = Counting()
    anew.texts.append(BED)
    assert [remembering(register=True).id_of(text) for text in (PATIENT, BED)] == [1, 2]
    new = json.dumps({"type": "record", "name": "Third", "namespace": "driftlog.test", "fields": []})
    with pytest.raises(
        RegistryMadeAnew, match=r"driftlog\.test\.Patient was its schema 1, and it has driftlog\.test\.Bed there"
    ):
        remembering(register=True).id_of(new)
    assert anew.texts == [BED]


@pytest.mark.usefixtures("patient")
def test_what_a_stranger_has_registered_may_go(server: OddRegistry, remembering: Callable[..., CachedRegistry]) -> None:
    registry = server.answer
    assert isinstance(registry, Counting)
    registry.texts += ['"string"', TEXT]
    edge = remembering()
    assert [edge.schema_of(3), edge.schema_of(4)] == ['"string"', TEXT]
    del registry.texts[2:]
    with pytest.raises(UnknownSchema):
        remembering().schema_of(5)


def test_caches_of_two_registries_are_not_mixed(server: OddRegistry, tmp_path: Path) -> None:
    with OddRegistry(lambda *_: data({"subject": "s", "version": 1, "id": 5, "schema": TEXT})) as other:
        assert CachedRegistry(server.url, tmp_path).id_of(TEXT) == ID
        assert CachedRegistry(other.url, tmp_path).id_of(TEXT) == 5
        assert CachedRegistry(server.url, tmp_path).id_of(TEXT) == ID


def test_a_schema_that_is_not_registered_is_unknown_and_says_who_registers(
    server: OddRegistry, connect: Callable[..., CachedRegistry]
) -> None:
    server.answer = lambda *_: refusal(404, 40401, "Subject not found")
    with pytest.raises(UnknownSchema, match=r"test\.v1\.Visit is not registered") as caught:
        connect().id_of(TEXT)
    assert "driftlog schemas register" in caught.value.remedy


def test_an_unknown_id_is_not_asked_for_again_at_once(
    server: OddRegistry, connect: Callable[..., CachedRegistry]
) -> None:
    ids = connect()
    for _ in range(5):
        with pytest.raises(UnknownSchema, match="4711"):
            ids.schema_of(4711)
    assert len(server.asked) == 1


def test_noise_of_ever_new_ids_is_not_a_question_each(
    server: OddRegistry, connect: Callable[..., CachedRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))  # the registry's alone
    server.answer = lambda *_: refusal(404, 40403, "Schema not found")
    ids = connect()
    for schema_id in range(5 * module.MAX_UNKNOWN):
        with pytest.raises(UnknownSchema):
            ids.schema_of(schema_id)
    assert len(server.asked) == module.MAX_UNKNOWN
    now[0] += module.UNKNOWN_SECONDS
    server.answer = well
    assert ids.schema_of(ID) == TEXT, "a minute later it is asked again"


@pytest.mark.parametrize("status", [409, 422])
def test_a_schema_that_breaks_readers_is_incompatible(
    server: OddRegistry, connect: Callable[..., CachedRegistry], status: int
) -> None:
    server.answer = lambda *_: refusal(status, status, "reader field missing default")
    with pytest.raises(Incompatible, match=r"test\.v1\.Visit.*missing default") as caught:
        connect(register=True).register(TEXT)
    assert "default" in caught.value.remedy


def test_an_incompatible_schema_is_not_written_from_memory(
    server: OddRegistry, connect: Callable[..., CachedRegistry]
) -> None:
    connect(register=True).id_of(TEXT)
    server.answer = lambda *_: refusal(409, 409, "no")
    with pytest.raises(Incompatible):
        connect(register=True).id_of(TEXT)


def declaring(price: str) -> str:
    fields = [{"name": "price", "type": "string", "default": "", "driftlog": price}] if price else []
    return json.dumps({**json.loads(TEXT), "fields": fields, "driftlog": "document"})


def keeping(*versions: str) -> Callable[[str, str, str], Answer]:
    """A registry with these versions of one subject; an empty one was deleted."""

    def answer(method: str, path: str, body: str) -> Answer:
        if method == "GET" and "/versions/" in path:
            which = path.rpartition("/")[2]
            number = len(versions) if which == "latest" else int(which)
            if versions[number - 1]:
                return data({"subject": "test.v1.Visit", "version": number, "id": ID, "schema": versions[number - 1]})
            return refusal(404, 40402, "Version not found")
        return well(method, path, body)

    return answer


def test_what_a_field_was_declared_as_is_looked_up_in_all_versions(
    server: OddRegistry, connect: Callable[..., CachedRegistry]
) -> None:
    server.answer = keeping(declaring("register of text"), "", declaring(""))
    (change,) = connect().changes(declaring("register of decimal"))
    assert change == "price was declared as register of text and is now register of decimal"
    assert connect().changes(declaring("register of text")) == []
    assert connect().changes(TEXT) == [], "it declares nothing"


def test_a_changed_meaning_is_never_registered(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    server.answer = keeping(declaring("register of text"))
    with pytest.raises(Incompatible, match="price was declared as register of text") as caught:
        connect(register=True).id_of(declaring("register of decimal"))
    assert "new name" in caught.value.remedy
    assert not any(asked.startswith("POST") and asked.endswith("/versions") for asked in server.asked)


def test_a_first_schema_changes_nothing(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    server.answer = lambda method, path, body: (
        refusal(404, 40401, "Subject not found") if method == "GET" else well(method, path, body)
    )
    assert connect(register=True).id_of(declaring("counter")) == ID


def test_compatibility_is_the_registrys_word(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    assert connect().compatible(TEXT)
    server.answer = lambda *_: data({"is_compatible": False})
    assert not connect().compatible(TEXT)
    server.answer = lambda *_: refusal(404, 40401, "Subject not found")
    assert connect().compatible(TEXT), "a new subject takes any schema"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((404, "<html>no such page</html>"), "is no schema registry"),
        ((404, json.dumps({"detail": "Not Found"})), "is no schema registry"),
        ((200, "<html>welcome</html>"), "does not answer like a schema registry"),
        ((200, ""), "does not answer like a schema registry"),
        ((200, "[]"), "does not answer like a schema registry"),
        ((200, "7"), "does not answer like a schema registry"),
        ((200, "null"), "does not answer like a schema registry"),
        ((200, "{}"), "does not answer like a schema registry"),
        ((200, json.dumps({"id": "seventeen", "schema": 7})), "does not answer like a schema registry"),
        ((500, "<html>oops</html>"), "registry"),
        ((500, json.dumps({"error_code": 50001, "message": "store is down"})), "store is down"),
        ((503, ""), "registry"),
        ((401, json.dumps({"error_code": 401, "message": "who?"})), "does not let us in"),
        ((403, "<html>no</html>"), "does not let us in"),
        ((418, "{}"), "registry"),
    ],
)
@pytest.mark.parametrize("question", ["id_of", "schema_of", "register", "compatible"])
def test_a_registry_that_misbehaves_is_unreachable(
    server: OddRegistry, connect: Callable[..., CachedRegistry], question: str, answer: Answer, told: str
) -> None:
    server.answer = lambda *_: answer
    with pytest.raises(RegistryUnreachable, match=told) as caught:
        getattr(connect(), question)(ID if question == "schema_of" else TEXT)
    assert caught.value.remedy


def test_a_registry_that_is_not_there_is_named(server: OddRegistry, tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1:1 does not answer") as caught:
        CachedRegistry("http://127.0.0.1:1", tmp_path).id_of(TEXT)
    assert "driftlog broker up" in caught.value.remedy


def test_a_registry_that_never_answers_is_given_up(
    server: OddRegistry, connect: Callable[..., CachedRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.3)
    server.quiet.set()
    with pytest.raises(RegistryUnreachable, match="does not answer"):
        connect().id_of(TEXT)


def test_a_registry_that_failed_is_left_alone_for_a_while(
    server: OddRegistry, connect: Callable[..., CachedRegistry]
) -> None:
    server.answer = lambda *_: (500, "down")
    ids = connect()
    for _ in range(5):
        with pytest.raises(RegistryUnreachable):
            ids.id_of(TEXT)
    asked = len(server.asked)
    with pytest.raises(RegistryUnreachable, match="a moment ago"):
        ids.schema_of(ID)
    assert len(server.asked) == asked


@pytest.mark.usefixtures("patient")
def test_a_registry_that_comes_back_is_heard(server: OddRegistry, connect: Callable[..., CachedRegistry]) -> None:
    server.answer = lambda *_: (500, "down")
    ids = connect()
    with pytest.raises(RegistryUnreachable):
        ids.id_of(TEXT)
    server.answer = well
    assert ids.id_of(TEXT) == ID


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host", "http://", "http://[::1", "http://host:port"])
def test_a_url_that_is_none_is_told_how_one_looks(url: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachable) as caught:
        CachedRegistry(url, tmp_path).id_of(TEXT)
    assert "--registry" in caught.value.remedy


def test_a_password_is_neither_told_nor_kept(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachable) as caught:
        CachedRegistry("http://ann:secret@127.0.0.1:1", tmp_path).id_of(TEXT)
    assert "secret" not in f"{caught.value} {caught.value.remedy}"


def test_passwords_are_not_written_to_the_cache(server: OddRegistry, tmp_path: Path) -> None:
    CachedRegistry(server.url.replace("//", "//ann:secret@"), tmp_path).id_of(TEXT)
    (kept,) = tmp_path.iterdir()
    assert "secret" not in kept.read_text()


def test_the_registry_is_told_the_user_from_a_file(server: OddRegistry, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    where = RegistrySettings(url=server.url, username="ann", password_file=tmp_path / "password")
    CachedRegistry(where, tmp_path / "cache").id_of(TEXT)
    assert server.users == ["Basic " + b64encode(b"ann:open sesame").decode()]
