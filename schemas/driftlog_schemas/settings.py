"""Where settings come from: options, then `DRIFTLOG_*`, then the TOML file, then the default.

In the environment a table's name and its field are joined by two underscores: `DRIFTLOG_KAFKA__SASL_USERNAME`. The short forms of the
two addresses, `bootstrap` and `registry`, mean `kafka.bootstrap` and `registry.url` in every source. Programs add settings of their own
in a subclass. Whatever is wrong is told as `BadSetting`: which setting, why, and the way out, never the value that was given.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias

from pydantic import BeforeValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from driftlog_schemas.connection import KafkaSettings, RegistrySettings, Table, TrustSettings
from driftlog_schemas.errors import BadSetting

PREFIX = "DRIFTLOG_"
LOOPBACK = "127.0.0.1"
_OURS = PREFIX.lower()
_file: ContextVar[Path | None] = ContextVar("settings file", default=None)


def _address(given: object) -> object:
    if not isinstance(given, str):
        return given
    if not given:
        return None
    host, _, port = given.rpartition(":")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError("write HOST:PORT, for example 127.0.0.1:9464")
    return host.strip("[]") or LOOPBACK, int(port)


Address: TypeAlias = Annotated[tuple[str, int] | None, NoDecode, BeforeValidator(_address)]
"""Where a program listens, from HOST:PORT, or PORT on loopback; nowhere, where it is empty."""


class ConnectionSettings(BaseSettings):
    """What every program is told: where Kafka and the registry are, and whose devices are believed."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    trust: TrustSettings = TrustSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (_Given(settings_cls, init_settings()), _Environment(settings_cls), _Given(settings_cls, _in_file()))

    @classmethod
    def load(cls, path: Path | None = None, **options: Any) -> Self:
        """From a TOML file and options (None means not given). Raises `BadSetting`."""
        token = _file.set(path)
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            raise bad(error, path) from error
        except SettingsError as error:
            raise BadSetting(f"the environment: {error}", "mend that variable") from error
        finally:
            _file.reset(token)


def bad(error: ValidationError, path: Path | None = None) -> BadSetting:
    """The first thing that is wrong, as one line and a remedy."""
    first = error.errors(include_url=False, include_input=False)[0]
    context = first.get("ctx", {})
    name = ".".join([*map(str, first["loc"]), *([context["field"]] if "field" in context else [])])
    remedy = context.get("remedy") or f"give it in {path or 'a --config file'}, as an option, or as {_variable(name)}"
    return BadSetting(f"setting {name}: {first['msg']}", remedy)


def _variable(name: str) -> str:
    return PREFIX + name.replace(".", "__").upper()


def _in_file() -> dict[str, Any]:
    path = _file.get()
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_bytes().decode())  # TOML is UTF-8, whatever the locale is
    except FileNotFoundError as error:
        raise BadSetting(f"there is no configuration file {path}", "check --config") from error
    except OSError as error:
        raise BadSetting(f"{path} cannot be read: {error.strerror}", "check --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} is not TOML: {error}", "mend that line") from error


def _folded(given: Mapping[str, Any]) -> dict[str, Any]:
    """The short forms written out; what a table says itself stands."""
    found = dict(given)
    if "bootstrap" in found:
        found["kafka"] = {"bootstrap": found.pop("bootstrap"), **found.get("kafka", {})}
    if isinstance(found.get("registry"), str):
        found["registry"] = {"url": found["registry"]}
    return found


class _Given(PydanticBaseSettingsSource):
    """Settings that are there as a whole: options, or a file's."""

    def __init__(self, settings_cls: type[BaseSettings], given: Mapping[str, Any]) -> None:
        super().__init__(settings_cls)
        self._given = _folded(given)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._given.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._given


class _Environment(EnvSettingsSource):
    """The environment; a table is gathered from its variables."""

    def __call__(self) -> dict[str, Any]:
        """Nothing, where no variable is Driftlog's: to look for each setting under each of its names takes most of what all of them take."""
        return super().__call__() if any(name.lower().startswith(_OURS) for name in self.env_vars) else {}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if _is_table(field):
            return self._table(field_name), field_name, False
        return super().get_field_value(field, field_name)

    def prepare_field_value(self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool) -> Any:
        if _is_table(field):
            return value
        return super().prepare_field_value(field_name, field, value, value_is_complex)

    def _table(self, name: str) -> dict[str, str] | None:
        variables = {key.lower(): value for key, value in self.env_vars.items() if value is not None}
        short = {f: variables[v] for t, f, v in _SHORT if t == name and v in variables}
        begin = f"{PREFIX}{name}__".lower()
        found = short | {key.removeprefix(begin): value for key, value in variables.items() if key.startswith(begin)}
        return found or None


def _is_table(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Table)


_SHORT = (("kafka", "bootstrap", "driftlog_bootstrap"), ("registry", "url", "driftlog_registry"))
"""table, field, variable"""
