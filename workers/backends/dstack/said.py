"""What a dstack server says: as much of its answers as we read, in its own words."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Base64Bytes, BaseModel, ConfigDict

OVER = frozenset({"terminated", "failed", "done"})
"""States of a run that has ended; all others may go on."""


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Rented(_Said):
    """The machine of a job."""

    price: float
    """Dollars per hour, as dstack found it."""


class Submission(_Said):
    """One try of dstack's at one job of a run. We let it try once."""

    id: UUID
    submitted_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    status: str
    termination_reason: str | None = None
    termination_reason_message: str | None = None
    exit_status: int | None = None
    job_provisioning_data: Rented | None = None


class Job(_Said):
    """What runs on one machine of a run."""

    job_submissions: tuple[Submission, ...]


class Configuration(_Said):
    """What the run was asked to be."""

    env: dict[str, Any] = {}


class RunSpec(_Said):
    """The same, with its name."""

    run_name: str | None = None
    configuration: Configuration


class Run(_Said):
    """A run as it stands."""

    id: UUID
    submitted_at: AwareDatetime
    status: str
    termination_reason: str | None = None
    run_spec: RunSpec
    jobs: tuple[Job, ...] = ()

    @property
    def name(self) -> str:
        """Unique among the runs of a project that are not deleted."""
        return self.run_spec.run_name or ""

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs, and nothing will."""
        return self.status in OVER

    @property
    def is_aborted(self) -> bool:
        """Whether it was told to end at once and has not yet."""
        return self.status == "terminating" and self.termination_reason == "aborted_by_user"

    @property
    def submissions(self) -> tuple[Submission, ...]:
        """The last try at each job, in the order of the machines."""
        return tuple(job.job_submissions[-1] for job in self.jobs if job.job_submissions)

    @property
    def usd_per_hour(self) -> float:
        """What its machines cost together."""
        rented = (one.job_provisioning_data for one in self.submissions)
        return sum(machine.price for machine in rented if machine is not None)

    def noted(self, name: str) -> str | None:
        """A variable that we gave it to know it by."""
        value = self.run_spec.configuration.env.get(name)
        return value if isinstance(value, str) else None


class Target(_Said):
    """What an event is about."""

    type: str
    id: UUID


class Event(_Said):
    """Something that the server has written down."""

    id: UUID
    message: str
    recorded_at: AwareDatetime
    targets: tuple[Target, ...]


class LogEvent(_Said):
    """A piece of what a job printed."""

    timestamp: AwareDatetime
    message: Base64Bytes


class Logs(_Said):
    """Some of them, and where the next ones begin."""

    logs: tuple[LogEvent, ...]
    next_token: str | None = None
