"""Names and labels of what we make in a cluster, and what we note on it."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from uuid import UUID

from lightkube.resources.batch_v1 import Job

from scheduler.domain.attempt import AttemptWork

CONTAINER = "main"
"""The container that runs the command."""
FETCH, KEEP = "fetch", "keep"
"""Those that bring its files in before, and take them out after."""
OURS = {"app.kubernetes.io/managed-by": "pythia"}
"""Selects everything that any Pythia has made."""
ATTEMPT, MACHINE, ROLE = "pythia-scheduler/attempt", "pythia-scheduler/machine", "pythia-scheduler/role"
"""Labels, beside those of job and tenant."""
RUNS, FORBIDDEN = "attempt", "forbidden"
"""Roles: a Job that runs an attempt, and one that holds its name so that none ever will."""
KEY, LIMIT = "pythia-scheduler/machine-key", "pythia-scheduler/max-runtime-s"
"""Annotations of a Job."""
PREALLOCATES = "pythia-scheduler/preallocates"
"""That its engine grabs the card up front: what it says it holds is an upper bound of its need."""
BEGAN = "pythia-scheduler/began"
"""When its container began, noted when we first saw it: the pod's own word goes with the pod."""
OVER = "pythia-scheduler/over"
"""When it ended: on a Job whose outputs are still being sent, and on one that took another's place."""
STOPPED, WHY = "pythia-scheduler/stopped", "pythia-scheduler/why"
"""That we have ended it, how its outcome is to be named, and one sentence."""


class Why(StrEnum):
    """How the outcome of what we ended is to be named."""

    ASKED = "asked"
    TIMEOUT = "timeout"
    TAKEN = "taken"
    """Somebody took its place away: it was preempted."""
    FAILED = "failed"
    LOST = "lost"


def job_name(attempt_id: UUID) -> str:
    """The name of an attempt's Job, and of its Secret."""
    return f"pythia-{attempt_id}"


def machine_label(key: str) -> str:
    """A machine's key, short enough for a label."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def whose(work: AttemptWork) -> dict[str, str]:
    """The labels that say whose something is."""
    return {
        **OURS,
        ATTEMPT: str(work.attempt_id),
        "pythia-scheduler/job": str(work.job_id),
        "pythia-scheduler/tenant": str(work.tenant_id),
    }


def note(job: Job, name: str) -> str | None:
    """What we have noted on a Job under a name."""
    return ((job.metadata and job.metadata.annotations) or {}).get(name)
