"""End an attempt's Job, whatever it is at the moment, so that nothing of it begins any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from workers.backends.base import ProviderUnavailable
from workers.backends.kubernetes.cluster import Cluster
from workers.backends.kubernetes.handed_over import NOBODYS, has_secret, spec_of
from workers.backends.kubernetes.manifest import forbidden_job
from workers.backends.kubernetes.names import BEGAN, OVER, STOPPED, WHY, Why, job_name, note
from workers.backends.kubernetes.seen import forbidden, suspended_at
from workers.backends.kubernetes.sight import look

log = structlog.get_logger(__name__)

_TRIES = 5


def end(
    cluster: Cluster,
    attempt_id: UUID,
    job: Job | None,
    pods: Sequence[Pod],
    *,
    why: Why,
    sentence: str,
    now: datetime,
) -> None:
    """See to it that it ends, and that the Job says why; where there is none, that none is ever made."""
    name = job_name(attempt_id)
    for _ in range(_TRIES):
        if job is None:
            if cluster.create(forbidden_job(attempt_id, {STOPPED: why, WHY: sentence})) is not None:
                break
        elif forbidden(job):
            break
        elif job.spec is not None and job.spec.suspend:
            # its controller keeps no time while it is suspended, and whoever suspended it may let it go on
            if has_secret(spec_of(job)):
                cluster.change_secret(name, NOBODYS)
            cluster.delete_job(name)
            notes = {STOPPED: why, WHY: sentence, **_times(job, now)}
            if cluster.create(forbidden_job(attempt_id, notes)) is not None:
                break
        else:
            notes = {STOPPED: why, WHY: sentence, **look(job, pods, now=now, pending_s=1e9).noted}
            if cluster.change(name, {**noted(notes), "spec": {"activeDeadlineSeconds": 1}}) is not None:
                break
        job = cluster.job(name)  # it has changed meanwhile
    else:
        raise ProviderUnavailable(f"Job {name} changed while it was to be ended")
    log.info("ended job of a cluster", attempt_id=str(attempt_id), why=str(why), reason=sentence)


def noted(notes: Mapping[str, str]) -> dict[str, Any]:
    """The change that notes something on a Job."""
    return {"metadata": {"annotations": dict(notes)}}


def _times(job: Job, now: datetime) -> dict[str, str]:
    """From when until when a suspended Job ran, if it did."""
    began, over = note(job, BEGAN), (suspended_at(job) or now).isoformat()
    return {} if began is None else {BEGAN: began, OVER: note(job, OVER) or over}
