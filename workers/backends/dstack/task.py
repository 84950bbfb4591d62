"""Write an attempt as a run of dstack, and know it again.

A run's name follows from the attempt, and a server refuses a second run of a name while one goes on. But it begins one
when the first is over, and on PostgreSQL it may take both of two requests of the same moment. So whoever starts an
attempt looks first, and the request says until when it may begin. What a request that was held up for longer has begun
is ended, and so is any run beside or after another of its attempt (`rivals.py`): on sight, not before it begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from predictor.hardware import GpuCatalogue
from scheduler.domain.attempt import AttemptWork
from scheduler.domain.errors import NothingToExport
from scheduler.exports.dstack import dstack_configuration
from scheduler.exports.rental import Place, Rental, rent
from workers.backends.base import StartFailed
from workers.backends.dstack.said import Run

JOB, ATTEMPT, MACHINE = "PYTHIA_JOB_ID", "PYTHIA_ATTEMPT_ID", "PYTHIA_MACHINE_KEY"
ROLE, BEFORE = "PYTHIA_ROLE", "PYTHIA_START_BEFORE"
"""Variables of a run that we know it by; they win over a user's of the same name."""
RUNS, FORBIDDEN = "attempt", "forbidden"
"""Roles: a run of an attempt, and one that holds its name so that none ever will be."""
HELD_UP = timedelta(minutes=2)
"""Between our look and the run that it led to: three times what we wait for the answer (`server.APPLY_S`), since the
server goes on with a request whose sender has given up."""
_NEVER = {"cron": "0 0 29 2 *"}
"""A run that waits for its hour is one that has not ended, and has no machine; it is removed long before."""


def run_name(attempt_id: UUID) -> str:
    """The name of an attempt's run: dstack takes 41 characters, small letters, digits and hyphens."""
    return f"pythia-{attempt_id.hex}"


def run_of(work: AttemptWork, gpus: GpuCatalogue, *, now: datetime) -> Mapping[str, Any]:
    """The run that an attempt is, asked for now; StartFailed where it cannot be written."""
    try:
        rental = _rental(work, gpus)
        given = {} if work.spec.run is None else work.spec.run.env
        more = {name: given[name] for name in rental.secrets} | {
            JOB: str(work.job_id),
            ATTEMPT: str(work.attempt_id),
            MACHINE: "" if work.machine is None else work.machine.key,
            ROLE: RUNS,
            BEFORE: (now + HELD_UP).isoformat(),
        }
        configuration = dstack_configuration(rental, more)
    except NothingToExport as error:
        raise StartFailed(str(error)) from None
    if rental.image is None:
        raise StartFailed("the job spec has no run.image, and a machine in a cloud holds nothing of yours without one")
    return _spec(work.attempt_id, configuration)


def forbidden_run(attempt_id: UUID) -> Mapping[str, Any]:
    """A run that waits for ever and holds an attempt's name: nobody can make another before it is removed."""
    return _spec(
        attempt_id,
        {
            "type": "task",
            "commands": ["exit 0"],
            "env": {ATTEMPT: str(attempt_id), ROLE: FORBIDDEN},
            "schedule": _NEVER,
            # and even then it would find nothing
            "creation_policy": "reuse",
            "max_price": 0.0001,
        },
    )


def _rental(work: AttemptWork, gpus: GpuCatalogue) -> Rental:
    place = Place(
        provider=work.provider, region=work.region, instance_type=work.instance_type, node_gpus=work.node_gpus,
        gpu_type=work.forecast.get("gpu_type") or work.gpu_type, gpu_count=work.gpu_count, spot=work.spot,
        micros_per_gpu_hour=0 if work.machine is None else work.machine.tariff.micros_per_gpu_hour,
    )  # fmt: skip
    return rent(work.spec, place, work.runtime_limit, gpus)


def _spec(attempt_id: UUID, configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    name = run_name(attempt_id)
    return {"run_name": name, "configuration": {**configuration, "name": name}}


def attempt_of(run: Run) -> UUID | None:
    """Whose run it is; None for one that we did not make, whatever variables somebody gave it."""
    try:
        attempt_id = UUID(run.noted(ATTEMPT) or "")
    except ValueError:
        return None
    return attempt_id if run.name == run_name(attempt_id) else None


def forbids(run: Run) -> bool:
    """Whether a run only holds its name."""
    return run.noted(ROLE) == FORBIDDEN


def asked_at(run: Run) -> datetime | None:
    """When whoever asked for a run had looked that there was none, by the server's clock."""
    try:
        before = datetime.fromisoformat(run.noted(BEFORE) or "")
    except ValueError:
        return None
    return None if before.tzinfo is None else before - HELD_UP


def came_late(run: Run) -> bool:
    """Whether a run was begun by a request that should have led to none any more."""
    asked = asked_at(run)
    return asked is not None and run.submitted_at > asked + HELD_UP
