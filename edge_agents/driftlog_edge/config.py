"""An agent's settings: options, then `DRIFTLOG_*`, then the TOML file, then the default."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from driftlog_edge.errors import EdgeError


class BadConfig(EdgeError):
    """A setting that cannot be used."""

    code = "invalid"


class EdgeConfig(BaseSettings):
    """Where an agent lives and whom it talks to."""

    model_config = SettingsConfigDict(env_prefix="DRIFTLOG_", extra="forbid")

    data_dir: Path
    identity: Path
    bootstrap: str = "127.0.0.1:9092"
    registry: str = "http://127.0.0.1:8081/apis/ccompat/v7"
    scopes: Annotated[list[str], NoDecode] = Field(min_length=1)
    """In the environment `s1,s2`, or as JSON."""
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=7420, ge=0, le=65535)
    http_socket: Path | None = None
    durability: Literal["disk", "os"] = "disk"
    outbox_limit: int = Field(default=1_000_000, ge=1)
    batches_in_flight: int = Field(default=16, ge=1, le=1000)

    @field_validator("scopes", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [scope for part in value.split(",") if (scope := part.strip())]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, _TomlSource(settings_cls))

    @classmethod
    def load(cls, path: Path | None = None, **options: Any) -> EdgeConfig:
        """From a TOML file and options (None means not given). Raises `BadConfig` naming the setting."""
        given = {name: value for name, value in options.items() if value is not None}
        token = _TomlSource.path
        _TomlSource.path = path
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(p) for p in first["loc"])
            raise BadConfig(
                f"setting {name}: {first['msg']}", f"give it in {path or 'a --config file'} or as an option"
            ) from error
        except FileNotFoundError as error:
            raise BadConfig(f"there is no configuration file {path}", "check --config") from error
        except OSError as error:
            raise BadConfig(f"{path} cannot be read: {error.strerror}", "check --config") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadConfig(f"{path} is not TOML: {error}", "mend that line") from error
        finally:
            _TomlSource.path = token


class _TomlSource(PydanticBaseSettingsSource):
    """The file, below the environment."""

    path: Path | None = None

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError("the whole file is read at once")  # pragma: no cover - __call__ does not use it

    def __call__(self) -> dict[str, Any]:
        return {} if self.path is None else tomllib.loads(self.path.read_text())
