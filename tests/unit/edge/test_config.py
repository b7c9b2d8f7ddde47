"""Options, then `DRIFTLOG_*`, then the file, then the default; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftlog_edge.config import EdgeConfig
from driftlog_edge.link.kafka_rim import FETCHED_KIB
from driftlog_schemas.errors import BadSetting

GOOD = 'data_dir = "/from/file"\nidentity = "/from/file.json"\nscopes = ["s1"]\nhttp_port = 1111\n'


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(GOOD)
    return path


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("DRIFTLOG_"):
            monkeypatch.delenv(name)


def test_the_file_is_over_the_defaults(toml: Path) -> None:
    config = EdgeConfig.load(toml)
    assert (config.http_port, config.durability, config.data_dir) == (1111, "disk", Path("/from/file"))


def test_a_file_that_projectors_are_given_too_is_an_agents_as_well(toml: Path) -> None:
    toml.write_text(f'{GOOD}[postgres]\nurl = "postgresql://db/shop"\n')
    assert EdgeConfig.load(toml).http_port == 1111
    toml.write_text(f'{GOOD}[postgrse]\nurl = "postgresql://db/shop"\n')
    with pytest.raises(BadSetting, match="postgrse"):
        EdgeConfig.load(toml)


def test_the_environment_is_over_the_file(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLOG_HTTP_PORT", "2222")
    config = EdgeConfig.load(toml)
    assert config.http_port == 2222
    for text in ('["a", "b"]', "a, b", "a,b,"):
        monkeypatch.setenv("DRIFTLOG_SCOPES", text)
        assert EdgeConfig.load(toml).scopes == ["a", "b"]


def test_options_are_over_all_and_none_means_not_given(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLOG_HTTP_PORT", "2222")
    config = EdgeConfig.load(toml, http_port=3333, durability=None)
    assert (config.http_port, config.durability) == (3333, "disk")


def test_no_file_is_needed(tmp_path: Path) -> None:
    assert EdgeConfig.load(data_dir=tmp_path, identity=tmp_path / "i", scopes=["s1"]).scopes == ["s1"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("http_port = 70000", "http_port"),
        ('durability = "maybe"', "durability"),
        ("scopes = []", "scopes"),
        ("batches_in_flight = 0", "batches_in_flight"),
        ("outbox_limit = -1", "outbox_limit"),
        ('disk_budget = "a lot"', "disk_budget"),
        ('disk_budget = "-5 MB"', "disk_budget"),
        ("disk_budget = 1000", "disk_budget"),
        ("memory = { block_cache = 3 }", "memory.block_cache"),
        ('memory = { write_buffers = "lots" }', "memory.write_buffers"),
        ('colour = "red"', "colour"),
    ],
)
def test_a_bad_value_names_its_setting_and_where_to_mend_it(toml: Path, line: str, named: str) -> None:
    kept = [known for known in GOOD.splitlines() if not known.startswith(line.split()[0])]
    toml.write_text("\n".join([*kept, line]))

    with pytest.raises(BadSetting, match=named) as raised:
        EdgeConfig.load(toml)

    assert str(toml) in raised.value.remedy


def test_what_is_missing_is_named() -> None:
    with pytest.raises(BadSetting, match=r"data_dir|identity|scopes"):
        EdgeConfig.load()


@pytest.mark.parametrize(
    ("name", "value"), [("scopes", '["s1"'), ("scopes", ","), ("http_port", "none"), ("outbox_limit", "")]
)
def test_a_bad_value_in_the_environment_is_named(
    toml: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DRIFTLOG_{name.upper()}", value)
    with pytest.raises(BadSetting, match=name):
        EdgeConfig.load(toml)


def test_a_file_that_is_not_there_or_no_toml_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="no configuration file"):
        EdgeConfig.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("data_dir = ")
    with pytest.raises(BadSetting, match="not TOML"):
        EdgeConfig.load(broken)
    with pytest.raises(BadSetting, match="cannot be read"):
        EdgeConfig.load(tmp_path)


def test_what_is_kept_in_memory_where_nobody_says_how_much_fits_a_small_device(toml: Path) -> None:
    """With a million documents an agent takes 160 MiB at most, some 100 of them when it is idle."""
    memory = EdgeConfig.load(toml).memory
    assert memory.write_buffers + memory.block_cache + FETCHED_KIB * 1024 <= 40 << 20
