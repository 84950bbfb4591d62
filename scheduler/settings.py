"""What an installation may set, all of it by environment variables named PYTHIA_…

Read once at each edge (`load_settings`) and handed on; nothing below the edges reads the environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from predictor.errors import PythiaError

_POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_BROKER_SCHEMES = ("redis", "rediss", "amqp", "amqps")


class InvalidSettings(PythiaError):
    """An environment variable holds a value that cannot be used."""

    code = "invalid_settings"


def _scheme(url: str) -> str:
    return url.partition("://")[0] if "://" in url else ""


def _psycopg_url(url: str) -> str:
    if _scheme(url) not in _POSTGRES_SCHEMES:
        raise ValueError("must look like postgresql://user:password@host:5432/database")
    return "postgresql+psycopg://" + url.partition("://")[2]


def _broker_url(url: str) -> str:
    if _scheme(url) not in _BROKER_SCHEMES:
        raise ValueError(
            "must begin with redis://, rediss://, amqp:// or amqps://; unset it to use PostgreSQL as the broker"
        )
    return url


class Settings(BaseSettings):
    """One installation. Times are seconds."""

    model_config = SettingsConfigDict(env_prefix="PYTHIA_", env_ignore_empty=True, frozen=True, extra="ignore")

    database_url: Annotated[str, AfterValidator(_psycopg_url)] | None = None
    """PostgreSQL 14 or newer, as SQLAlchemy with psycopg 3 wants it; None until an embedded server has one."""
    broker_url: Annotated[str, AfterValidator(_broker_url)] | None = None
    """Redis or RabbitMQ; None carries messages in the database itself."""
    queue_prefix: str = Field(default="pythia", pattern=r"^[a-z][a-z0-9_-]{0,40}$")
    """Begins every queue's name, so that two installations can share a broker."""
    data_dir: Path = Path("~/.local/share/pythia")
    """Embedded database, logs of jobs, trained predictors."""
    bundle_dir: Path | None = None
    """A fitted predictor to use instead of the promoted or the shipped one."""

    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    """0 takes any free port."""

    relay_interval_s: float = Field(default=0.05, gt=0)
    """How long the relay rests when the outbox was empty."""
    relay_batch: int = Field(default=100, ge=1)
    placer_interval_s: float = Field(default=1.0, gt=0)
    """How often waiting jobs are decided again although no capacity was seen to return."""
    poll_interval_s: float = Field(default=0.5, gt=0)
    """How often a running attempt is looked at."""
    sweep_interval_s: float = Field(default=10.0, gt=0)
    """How often lost, leaked and unclaimed attempts are looked for."""
    retrain_interval_s: float = Field(default=6 * 3600.0, ge=0)
    """How often the predictor learns from what was measured since; 0 never does by itself."""
    lease_s: float = Field(default=60.0, gt=0)
    """A claimed attempt whose worker was silent this long is taken for lost."""
    log_cap_bytes: int = Field(default=10 * 2**20, ge=1024)
    """Kept of each of a job's stdout and stderr; the rest is dropped and said to be."""
    log_format: Literal["text", "json"] = "text"
    """The form of our own log lines."""
    worker_concurrency: int = Field(default=2, ge=1)

    time_scale: float = Field(default=1.0, ge=0)
    """Real seconds waited per virtual second of a simulated run; 0 waits for nothing but the command."""
    simulation_seed: int = 0

    def require_database_url(self) -> str:
        """The database, or the sentence that says how to have one."""
        if self.database_url is None:
            raise InvalidSettings(
                "no database is named: set PYTHIA_DATABASE_URL, or run `pythia up` for an embedded one"
            )
        return self.database_url

    def environment(self) -> dict[str, str]:
        """Our environment for a child process, with exactly these settings in it."""
        variables = {f"PYTHIA_{name.upper()}" for name in type(self).model_fields}
        inherited = {name: value for name, value in os.environ.items() if name.upper() not in variables}
        values = self.model_dump(mode="json", exclude_none=True)
        return inherited | {f"PYTHIA_{name.upper()}": str(value) for name, value in values.items()}

    @property
    def data_path(self) -> Path:
        """The data directory, absolute, with ~ expanded."""
        return self.data_dir.expanduser().absolute()


def load_settings() -> Settings:
    """Read the environment; a malformed value is one sentence naming its variable."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "PYTHIA_" + str(first["loc"][0]).upper()
        reason = str(first["msg"]).removeprefix("Value error, ")
        value = re.sub(r"//[^/]*@", "//…@", str(first["input"]))  # a password has no place in a message
        raise InvalidSettings(f"{variable} is {value!r}, which cannot be used: {reason}") from None
