"""Write what moves a job's files into its pod: an image that knows how, before the command and after it.

The image of the command is its user's and knows nothing of us. So a container that runs before it fetches the inputs
into a volume which is the command's working directory, and another (a native sidecar) runs beside it, asleep: the
kubelet tells it to end once the command has, and until the pod's grace is over it sends the outputs. Both have the keys
to the store in a volume of their own; the command has not, and cannot look into their processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from lightkube.models.core_v1 import (
    Capabilities,
    Container,
    EmptyDirVolumeSource,
    EnvVar,
    ExecAction,
    KeyToPath,
    Probe,
    SecretVolumeSource,
    SecurityContext,
    Volume,
    VolumeMount,
)

from scheduler.domain.spec import RunSpec
from workers.backends.base import JobRefused
from workers.backends.kubernetes.handed_over import STAGING
from workers.backends.kubernetes.names import FETCH, KEEP, job_name
from workers.supervision.moving import NO_OTHER_KEYS

GRACE_S = 30
"""Between SIGTERM and SIGKILL: time to write a checkpoint; what pods have unless somebody says otherwise."""
UPLOAD_S = 6 * 3600
"""The grace of a pod that keeps outputs: the longest that sending them may take. Fetching inputs has as much."""
REST_S = 15.0
"""Sending begins so long after the command's end: a job that was cancelled has less grace than this, and sends none."""
OWN_PLACE = "/pythia/work"
"""Where a command with files runs, unless its spec says where."""
LAST_WORD = "/dev/termination-log"
"""Where the kubelet reads a last word of at most 4 KiB, which then stands in the pod's status."""
_TOLD = "/pythia/told"
_LISTENS = "/tmp/pythia-listens"  # noqa: S108 - in a container of our own image
_READY_TRIES = 120
_MOVE = ("python", "-P", "-m", "workers.staging.pod")
_NO_CARD = {"NVIDIA_VISIBLE_DEVICES": "void"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """What a pod has more for a job's files; nothing for a job without."""

    working_dir: str | None
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    """In the command's container."""
    grace_s: int = GRACE_S
    slack_s: int = 0
    """How much longer than the command the pod may last."""


def staging_of(attempt_id: UUID, run: RunSpec, image: str | None) -> Staging:
    """JobRefused where its files can lie nowhere."""
    if image is None or not (run.inputs or run.outputs):
        return Staging(working_dir=run.working_dir)
    where = run.working_dir or OWN_PLACE
    if not where.startswith("/") or ":" in where or not where.strip("/."):
        raise JobRefused(f"run.working_dir is {where!r}: files need a directory by its whole path, without a colon")
    containers = []
    if run.inputs:
        containers.append(_container(FETCH, image, "in", where))
    if run.outputs:
        keep = _container(KEEP, image, "out", where, str(REST_S), _LISTENS)
        keep.restartPolicy = "Always"  # which makes it a sidecar
        # the command begins once it listens: process 1 of a container is deaf to SIGTERM before
        keep.startupProbe = Probe(
            exec=ExecAction(command=["test", "-e", _LISTENS]), periodSeconds=1, failureThreshold=_READY_TRIES
        )
        containers.append(keep)
    told = SecretVolumeSource(
        secretName=job_name(attempt_id), items=[KeyToPath(key=STAGING, path=STAGING)], defaultMode=0o400
    )
    return Staging(
        working_dir=where,
        containers=tuple(containers),
        volumes=(Volume(name="files", emptyDir=EmptyDirVolumeSource()), Volume(name="told", secret=told)),
        mounts=(VolumeMount(name="files", mountPath=where),),
        grace_s=UPLOAD_S if run.outputs else GRACE_S,
        slack_s=UPLOAD_S * (bool(run.inputs) + bool(run.outputs)),
    )


def _container(name: str, image: str, direction: str, where: str, *more: str) -> Container:
    return Container(
        name=name,
        image=image,
        command=[*_MOVE, direction, f"{_TOLD}/{STAGING}", literal(where), LAST_WORD, *more],
        env=[EnvVar(name=name, value=value) for name, value in (_NO_CARD | NO_OTHER_KEYS).items()],
        # whoever the command runs as: all that it leaves is read, and it may write where inputs lie
        securityContext=SecurityContext(
            runAsUser=0,
            allowPrivilegeEscalation=False,
            capabilities=Capabilities(drop=["ALL"], add=["DAC_OVERRIDE"]),
        ),
        terminationMessagePath=LAST_WORD,
        terminationMessagePolicy="File",
        volumeMounts=[
            VolumeMount(name="files", mountPath=where),
            VolumeMount(name="told", mountPath=_TOLD, readOnly=True),
        ],
    )


def literal(text: str) -> str:
    """Text that the kubelet leaves as it is: it would put variables in the place of `$(NAME)`."""
    return text.replace("$", "$$")
