"""What the environment says: where the data lives, and which servers replace the embedded ones."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from plumbgraph.errors import SettingsError

_POSTGRES = ("postgresql", "postgres")
_REDIS = ("redis", "rediss", "unix")


def default_home() -> Path:
    """The folder for plumbgraph's data when nothing else is said: one for each user."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        told = Path(os.environ.get("XDG_DATA_HOME", ""))
        base = told if told.is_absolute() else Path.home() / ".local" / "share"
    return base / "plumbgraph"


def redacted(url: str) -> str:
    """The URL with its password blacked out, fit for logs and messages."""
    try:
        urlsplit(url)
    except ValueError:
        return "***"
    url = re.sub(r"^(\w+://[^:/?#@]*:)[^?]*@", r"\1***@", url)
    return re.sub(r"(?i)([?&][^=&]*password[^=&]*=)[^&]*", r"\1***", url)


class Settings(BaseSettings):
    """Settings from the `PLUMBGRAPH_*` environment; arguments win over the environment.

    Read with `Settings.load()`, which raises `SettingsError`. An empty variable counts as unset.
    `repr` never shows a password.

    Attributes:
        postgres_url: `PLUMBGRAPH_POSTGRES_URL`; when set, no PostgreSQL is started.
        redis_url: `PLUMBGRAPH_REDIS_URL`; when set, no Valkey is started.
        home: `PLUMBGRAPH_HOME`, absolute; else the user's data folder.
        schema_name: `PLUMBGRAPH_SCHEMA`, the PostgreSQL schema of all tables.
        tenant: `PLUMBGRAPH_TENANT`, which keeps the data of tenants apart.
        log: `PLUMBGRAPH_LOG`, the JSON-lines file for events.
        policy: `PLUMBGRAPH_POLICY`, the managed policy file.
    """

    model_config = SettingsConfigDict(
        env_prefix="PLUMBGRAPH_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        validate_default=True,
    )

    postgres_url: str | None = None
    redis_url: str | None = None
    home: Path = Field(default_factory=default_home)
    schema_name: str = Field(
        default="plumbgraph",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        validation_alias=AliasChoices("schema_name", "PLUMBGRAPH_SCHEMA"),
    )
    tenant: str = Field(default="default", min_length=1, max_length=128)
    log: Path | None = None
    policy: Path | None = None

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Settings from the environment, with the arguments on top.

        Raises:
            SettingsError: A value is not usable; names it, never shows a URL's password.
        """
        try:
            return cls(**given)
        except ValidationError as fault:
            problems = [_problem(error) for error in fault.errors(include_input=False)]
            raise SettingsError(
                "Unusable setting: " + "; ".join(problems) + ".",
                settings=[str(error["loc"][0]) for error in fault.errors() if error["loc"]],
            ) from None

    @field_validator("postgres_url")
    @classmethod
    def _postgres(cls, url: str | None) -> str | None:
        return _checked(url, _POSTGRES, "postgresql://user@host:5432/database")

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: str | None) -> str | None:
        return _checked(url, _REDIS, "redis://host:6379/0 or unix:///path/to/socket")

    @field_validator("home", "log", "policy")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow links

    def __repr_args__(self) -> Any:
        for name, value in super().__repr_args__():
            yield name, redacted(value) if name and name.endswith("_url") and value else value


def _checked(url: str | None, schemes: tuple[str, ...], example: str) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as fault:
        raise ValueError(f"is not a URL, write {example}") from fault
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(s + '://' for s in schemes)}")
    if parts.scheme == "unix" and not parts.path.strip("/"):
        raise ValueError(f"names no socket, write {example}")
    return url


def _problem(error: Any) -> str:
    name = str(error["loc"][0]).lower() if error["loc"] else "settings"
    name = "schema" if name in {"schema_name", "plumbgraph_schema"} else name
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"PLUMBGRAPH_{name.upper()} {text}"
