"""What an attempt is given beside its command, as a Secret of the cluster: named after the attempt, like its Job.

It is made before the Job, so that no container ever waits for it, and given to the Job as soon as there is one: whoever
deletes the Job deletes both, and so does the cluster once the Job's time is over, though no worker ever came again. It
cannot be changed, so the first start's values are those of every start after it. What a worker left behind between the
two, `tidy` finds by its label.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from uuid import UUID

from lightkube.models.core_v1 import EnvVar, EnvVarSource, PodSpec, SecretKeySelector
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Secret

from scheduler.domain.attempt import AttemptWork
from workers.backends.base import JobRefused
from workers.backends.handed_over import HandedOver
from workers.backends.kubernetes.names import ATTEMPT, CONTAINER, job_name, whose

_VARIABLE = "env."
"""Before the name of each variable, so that none is taken for something else that is kept there."""
STAGING = "staging.json"
"""The plan of the job's files and the keys to their store."""
_MOST_BYTES = 1024 * 1024


def secret_of(work: AttemptWork, handed: HandedOver) -> Secret:
    """The Secret of an attempt; JobRefused where it cannot hold all that is to be in it."""
    values = {_VARIABLE + name: value.encode(errors="surrogatepass") for name, value in handed.secrets.items()}
    if handed.plan is not None and handed.access is not None:
        values[STAGING] = json.dumps({"plan": asdict(handed.plan), "access": asdict(handed.access)}).encode()
    if (size := sum(map(len, values.values()))) > _MOST_BYTES:
        raise JobRefused(f"its secrets and its list of files are {size:,} bytes, and a Secret of a cluster holds 1 MiB")
    return Secret(
        metadata=ObjectMeta(name=job_name(work.attempt_id), labels=whose(work)),
        type="Opaque",
        immutable=True,
        data={name: base64.b64encode(value).decode() for name, value in values.items()},
    )


def variables_from(attempt_id: UUID, names: Iterable[str]) -> list[EnvVar]:
    """Variables that the kubelet reads from the attempt's Secret when the container begins."""
    secret = job_name(attempt_id)
    return [
        EnvVar(name=name, valueFrom=EnvVarSource(secretKeyRef=SecretKeySelector(name=secret, key=_VARIABLE + name)))
        for name in names
    ]


def spec_of(job: Job) -> PodSpec | None:
    """Of the pod that a Job makes."""
    return job.spec.template.spec if job.spec is not None else None


def has_secret(pod: PodSpec | None) -> bool:
    """Whether a pod of ours needs its attempt's Secret: for the command's environment, or for its files."""
    for container in (pod and pod.containers) or ():
        if container.name == CONTAINER and any(
            one.valueFrom and one.valueFrom.secretKeyRef for one in container.env or ()
        ):
            return True
    return any(volume.secret is not None for volume in (pod and pod.volumes) or ())


def values_in(secret: Secret) -> list[str]:
    """The values that a command finds in its environment."""
    data: Mapping[str, str] = secret.data or {}
    return [
        base64.b64decode(value).decode(errors="surrogatepass")
        for name, value in data.items()
        if name.startswith(_VARIABLE)
    ]


def owned_by(job: Job) -> dict[str, object]:
    """The change that gives a Secret to its Job."""
    metadata = job.metadata
    assert metadata is not None  # noqa: S101 - the cluster has named it
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata.name, "uid": metadata.uid}
    return {"metadata": {"ownerReferences": [owner]}}


NOBODYS: Mapping[str, object] = {"metadata": {"ownerReferences": None}}
"""The change that takes it from its Job, which is about to be replaced while the output may still have to be read."""


def attempt_of(labels: Mapping[str, str] | None, name: str | None) -> UUID | None:
    """Whose an object is; None for one that we did not make, whatever labels somebody gave it."""
    try:
        attempt_id = UUID((labels or {}).get(ATTEMPT, ""))
    except ValueError:
        return None
    return attempt_id if name == job_name(attempt_id) else None
