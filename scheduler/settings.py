"""What an installation may set, all of it by environment variables named PYTHIA_…

Read once at each edge (`load_settings`) and handed on; nothing below the edges reads the environment.
"""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from predictor.errors import PythiaError

_POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_BROKER_SCHEMES = ("redis", "rediss", "amqp", "amqps")
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=63)]


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


def _header_word(token: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a token is printable ASCII without spaces or line ends")
    return token


class Faults(BaseModel):
    """What may go wrong at the simulated provider; nothing does unless it is asked for. Times are its own seconds,
    but for `latency_s`. Shares are between 0 and 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_s: float = Field(default=0.0, ge=0, le=60)
    """Mean of what a call to it takes, in real seconds."""
    error_share: float = Field(default=0.0, ge=0, lt=1)
    """Calls that it answers with an error, though the next one may succeed."""
    refusal_share: float = Field(default=0.0, ge=0, le=1)
    """Machines that it sells and does not have."""
    preemptions_per_hour: float = Field(default=0.0, ge=0)
    """Of an interruptible machine."""
    vanishings_per_hour: float = Field(default=0.0, ge=0)
    """Of any machine, without a word."""
    quota_gpus: int | None = Field(default=None, ge=0)
    """It rents out no more of a GPU type in a region at once."""


class ClusterGpu(BaseModel):
    """What a Kubernetes cluster calls one of our GPU types."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+(/[A-Za-z0-9._-]+)?$", max_length=200)
    """What a pod asks for: `nvidia.com/mig-1g.10gb` for a part of a card."""
    products: tuple[_Label, ...] = ()
    """Values of the nodes' label `nvidia.com/gpu.product`; none where any node with the resource will do."""


class Settings(BaseSettings):
    """One installation. Times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="PYTHIA_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

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

    host_name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$")
    """What this host is called among those that run jobs (`pythia worker --provider local`); None is its own name."""

    local_processes: int = Field(default=2**16, ge=1)
    """Processes and threads of the worker's user, all its jobs together, beyond which a local job can start no more
    (`ulimit -u`; no bound for root). Here and below, what the worker itself may have is the most that a job may."""
    local_open_files: int = Field(default=2**18, ge=64)
    """Files that a process of a local job may have open at once (`ulimit -n`)."""
    local_file_bytes: int | None = Field(default=None, ge=1024)
    """The largest file that a local job may write (`ulimit -f`); None: any."""
    local_memory_gib: float | None = Field(default=None, gt=0)
    """Of the host's memory that a local job may hold, all its processes together; what is only cached from files does
    not count. It is looked at twice a second, and a job above it is killed. None: any."""

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
    reconcile_interval_s: float = Field(default=2.0, gt=0)
    """How often rented machines are compared with their providers, while there are any."""
    retrain_interval_s: float = Field(default=6 * 3600.0, ge=0)
    """How often the predictor learns from what was measured since; 0 never does by itself."""
    lease_s: float = Field(default=60.0, gt=0)
    """A claimed attempt whose worker was silent this long is taken for lost."""
    log_cap_bytes: int = Field(default=10 * 2**20, ge=1024)
    """Kept of each of a job's stdout and stderr; the rest is dropped and said to be."""
    log_days: float = Field(default=7.0, gt=0, le=3650)
    """How long after its end what an attempt printed is kept, and can be searched."""
    log_format: Literal["text", "json"] = "text"
    """The form of our own log lines."""
    worker_concurrency: int = Field(default=2, ge=1)

    secrets_key_file: Path | None = None
    """Holds the keys that seal secrets, one a line, the first in use; by default `secrets.key` in the data directory,
    where `pythia up` makes it. Whoever has it and the database can read every secret: back it up apart from it."""

    s3_endpoint_url: str | None = Field(default=None, pattern=r"^https?://")
    """Where jobs find their files unless they name another store; None: Amazon S3."""
    s3_region: str | None = None
    s3_access_key_id: str | None = None
    """Keys for jobs that bring none of their own. Every tenant's jobs use them: set them only where that is meant."""
    s3_secret_access_key: str | None = Field(default=None, repr=False)
    files_cap_bytes: int = Field(default=200 * 2**30, ge=1)
    """The most that an attempt may bring in, and take out."""

    slurm_dir: Path | None = None
    """Where workers and the nodes of a Slurm cluster see the same files; with it, offers of the backend `slurm` run."""
    slurm_python: Path | None = None
    """The Python on the nodes that has Pythia; None is the worker's own, where both see the same environment."""
    slurm_options: tuple[str, ...] = ()
    """What the cluster wants in every `sbatch`, as JSON: ["--account=ml", "--cpus-per-gpu=8"]."""
    slurm_window_s: float = Field(default=0.5, ge=0, le=60)
    """Attempts that ask for the same within this time are submitted as one job array; 0 makes each its own job."""

    time_scale: float = Field(default=1.0, ge=0)
    """Real seconds waited per virtual second of a simulated run; 0 waits for nothing but the command."""
    simulation_seed: int = 0
    simulation_commands: bool = True
    """Whether the commands of simulated runs really run here, for specs that do not say."""
    simulation_faults: Faults = Faults()
    """As JSON."""

    kubernetes_namespace: Annotated[str, Field(pattern=_DNS_LABEL)] | None = None
    """Where Jobs are made; None: this installation runs nothing on a cluster."""
    kubernetes_config: Path | None = None
    """A kubeconfig file; None: the service account of the pod we run in, else $KUBECONFIG, else ~/.kube/config."""
    kubernetes_context: str | None = None
    """Of that file; None: its current one."""
    kubernetes_cluster: str = Field(default="default", pattern=_DNS_LABEL)
    """What we call the cluster. Machines are ours by this name, so it stays when the address of the cluster changes."""
    kubernetes_queue: Annotated[str, Field(pattern=_DNS_LABEL)] | None = None
    """Kueue's local queue, which then says when a Job may begin; None: the cluster has no Kueue."""
    kubernetes_gpus: dict[str, ClusterGpu] = Field(default_factory=dict)
    """As JSON, GPU type → names, beside and before `datasets/kubernetes_gpus.csv`."""
    kubernetes_staging_image: Annotated[str, Field(min_length=1)] | None = None
    """An image of Pythia, which brings the files of jobs in and takes them out; None: jobs with files go elsewhere."""
    kubernetes_pending_s: float = Field(default=1800.0, gt=0)
    """A pod that found no node for so long is given up, and the job placed again; time in a queue is not counted."""

    dstack_url: str | None = Field(default=None, pattern=r"^https?://")
    """A dstack server, which rents machines in clouds; None: this installation runs nothing through one."""
    dstack_token: Annotated[str, AfterValidator(_header_word)] | None = Field(default=None, repr=False)
    """Of a member of the project."""
    dstack_project: str = Field(default="main", pattern=r"^[A-Za-z0-9_-]{1,100}$")
    """Machines are ours by this name, so it stays when the address of the server changes."""

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
        return inherited | {f"PYTHIA_{name.upper()}": _as_text(value) for name, value in values.items()}

    @property
    def secrets_key_path(self) -> Path:
        """The file with the keys of secrets, whether it is there or not."""
        return self.data_path / "secrets.key" if self.secrets_key_file is None else self.secrets_key_file.expanduser()

    @property
    def this_host(self) -> str:
        """What this host is called."""
        return self.host_name or socket.gethostname()

    @property
    def data_path(self) -> Path:
        """The data directory, absolute, with ~ expanded."""
        return self.data_dir.expanduser().absolute()


def _as_text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def load_settings() -> Settings:
    """Read the environment; a malformed value is one sentence naming its variable."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = "PYTHIA_" + name.upper()
        reason = str(first["msg"]).removeprefix("Value error, ")
        if name in Settings.model_fields and not Settings.model_fields[name].repr:
            raise InvalidSettings(f"{variable} holds a value that cannot be used: {reason}") from None
        value = re.sub(r"//[^/]*@", "//…@", str(first["input"]))  # a password has no place in a message
        raise InvalidSettings(f"{variable} is {value!r}, which cannot be used: {reason}") from None
    except SettingsError as error:  # one that should hold JSON
        raise InvalidSettings(f"{error.args[0]}: it must hold JSON") from None
