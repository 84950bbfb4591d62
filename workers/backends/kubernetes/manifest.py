"""Write an attempt as a Kubernetes Job.

A Job's name follows from the attempt, so that a second creation is refused by the cluster itself; it lives on for a
while after its end for the same reason. Whatever has to be remembered of it is an annotation of the Job: no worker
keeps anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from uuid import UUID

from lightkube.models.batch_v1 import (
    JobSpec,
    PodFailurePolicy,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
)
from lightkube.models.core_v1 import (
    Affinity,
    Container,
    EmptyDirVolumeSource,
    EnvVar,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
    PodTemplateSpec,
    ResourceRequirements,
    Toleration,
    Volume,
    VolumeMount,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.offers import BESIDE, FILES
from scheduler.domain.sharing import preallocates
from scheduler.domain.spec import RunSpec, beyond_plain
from workers.backends.base import StartFailed
from workers.backends.kubernetes.cards import CPU_RESOURCE, PRODUCT_LABEL, Card
from workers.backends.kubernetes.handed_over import variables_from
from workers.backends.kubernetes.names import (
    ATTEMPT,
    CONTAINER,
    FORBIDDEN,
    KEY,
    LIMIT,
    MACHINE,
    OURS,
    PREALLOCATES,
    ROLE,
    RUNS,
    job_name,
    machine_label,
    whose,
)
from workers.backends.kubernetes.staged import LAST_WORD, literal, staging_of

QUEUE = "kueue.x-k8s.io/queue-name"

KEPT_S = 7 * 86_400
"""How long a Job that has ended waits for one of our workers to hear of it."""
CLEARED_S = 3600
"""How long one stays that we know to have ended: until then a late start finds its name taken."""
_SLACK_S = 1800
"""The kubelet's own limit begins before the image is pulled, so it stands this far above the limit that we keep by
looking: a job ends in time while any worker looks, and soon after if none does."""
_TAKEN_AWAY = PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")


def job_of(work: AttemptWork, card: Card | None, *, queue: str | None, staging_image: str | None = None) -> Job:
    """The Job that runs an attempt; StartFailed where it cannot be written."""
    run = work.spec.run
    if run is None:
        raise StartFailed("the job spec has no run.command")
    if more := [name for name in beyond_plain(run) if name not in handed_over(staging_image)]:
        raise StartFailed(f"a Job of a cluster cannot have run.{more[0]}; leave it out, or constrain providers")
    if run.image is None:
        raise StartFailed("the job spec has no run.image, and a Kubernetes cluster runs nothing without one")
    if card is None:
        raise StartFailed(f"what a cluster calls {work.gpu_type} is not known: name it in PYTHIA_KUBERNETES_GPUS")
    labels = {**whose(work), ROLE: RUNS}
    annotations = {}
    if work.machine is not None:
        labels[MACHINE], annotations[KEY] = machine_label(work.machine.key), work.machine.key
    if work.runtime_limit is not None:
        annotations[LIMIT] = repr(work.runtime_limit.seconds)
    if work.usable_vram_gib is not None and preallocates(work.spec.workload):
        annotations[PREALLOCATES] = "true"
    return Job(
        metadata=ObjectMeta(
            name=job_name(work.attempt_id),
            labels=labels if queue is None else {**labels, QUEUE: queue},
            annotations=annotations or None,
        ),
        spec=JobSpec(
            backoffLimit=0,  # what is tried again, and where, is decided by us
            completions=1,
            parallelism=1,
            ttlSecondsAfterFinished=KEPT_S,
            suspend=None if queue is None else True,  # Kueue lets it begin
            # a pod that is taken away is deleted with its status: the Job itself must say that it was
            podFailurePolicy=PodFailurePolicy(
                rules=[PodFailurePolicyRule(action="FailJob", onPodConditions=[_TAKEN_AWAY])]
            ),
            template=PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=_pod(work, run, card, staging_image)),
        ),
    )


def forbidden_job(attempt_id: UUID, annotations: Mapping[str, str]) -> Job:
    """A Job that runs nothing and holds an attempt's name; the cluster removes it after a while."""
    return Job(
        metadata=ObjectMeta(
            name=job_name(attempt_id),
            labels={**OURS, ATTEMPT: str(attempt_id), ROLE: FORBIDDEN},
            annotations=dict(annotations),
        ),
        spec=JobSpec(
            parallelism=0,
            backoffLimit=0,
            activeDeadlineSeconds=1,  # so that it ends, and is removed
            ttlSecondsAfterFinished=CLEARED_S,
            template=PodTemplateSpec(
                spec=PodSpec(restartPolicy="Never", containers=[Container(name=CONTAINER, image="none")])
            ),
        ),
    )


def handed_over(staging_image: str | None) -> frozenset[str]:
    """What a run may ask for beside its command, and is given."""
    return BESIDE["kubernetes"] if staging_image is None else BESIDE["kubernetes"] | FILES


def _pod(work: AttemptWork, run: RunSpec, card: Card, staging_image: str | None) -> PodSpec:
    limit = work.runtime_limit
    staging = staging_of(work.attempt_id, run, staging_image)
    slack_s = _SLACK_S + staging.slack_s
    amount = {card.resource: str(work.gpu_count)}
    on_gpu = card.resource != CPU_RESOURCE
    return PodSpec(
        restartPolicy="Never",
        activeDeadlineSeconds=None if limit is None else math.ceil(limit.seconds) + slack_s,
        terminationGracePeriodSeconds=staging.grace_s,
        automountServiceAccountToken=False,  # a job of a tenant's has no business with the cluster
        enableServiceLinks=False,  # nor with the addresses of what else runs in the namespace
        affinity=_on(card.products) if card.products else None,
        tolerations=[_toleration(card.resource)] if on_gpu else None,
        containers=[
            Container(
                name=CONTAINER,
                image=run.image,
                command=[literal(part) for part in run.command],
                workingDir=staging.working_dir,
                env=_environment(work, run, on_gpu),
                # of an extended resource the request is the limit; a CPU slot is asked for and may be exceeded
                resources=ResourceRequirements(limits=amount) if on_gpu else ResourceRequirements(requests=amount),
                terminationMessagePath=LAST_WORD,
                terminationMessagePolicy="File",
                volumeMounts=[
                    VolumeMount(name="shared-memory", mountPath="/dev/shm"),  # noqa: S108 - in the container
                    *staging.mounts,
                ],
            )
        ],
        # a container's own /dev/shm has 64 MiB, in which no data loader with workers survives
        volumes=[Volume(name="shared-memory", emptyDir=EmptyDirVolumeSource(medium="Memory")), *staging.volumes],
        initContainers=list(staging.containers) or None,
    )


def _toleration(resource: str) -> Toleration:
    """Nodes with GPUs keep others away by a taint, which names the card also where parts of it are given out."""
    vendor = resource.partition("/")[0]
    return Toleration(key=f"{vendor}/gpu", operator="Exists", effect="NoSchedule")


def _on(products: tuple[str, ...]) -> Affinity:
    """Drivers of different ages name one card differently, so any of the names will do."""
    term = NodeSelectorTerm(
        matchExpressions=[NodeSelectorRequirement(key=PRODUCT_LABEL, operator="In", values=list(products))]
    )
    return Affinity(
        nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=NodeSelector(nodeSelectorTerms=[term]))
    )


def _environment(work: AttemptWork, run: RunSpec, on_gpu: bool) -> list[EnvVar]:
    """The spec's variables, its secrets, and ours, which win."""
    # the NVIDIA runtime shows every card to a container of an image that asks for all
    unseen = {} if on_gpu else {"NVIDIA_VISIBLE_DEVICES": "void"}
    ours = {
        "PYTHIA_JOB_ID": str(work.job_id),
        "PYTHIA_ATTEMPT_ID": str(work.attempt_id),
        "PYTHIA_REPORT_FILE": LAST_WORD,
        **unseen,
    }
    given = {name: value for name, value in run.env.items() if name not in ours}
    return [
        *(EnvVar(name=name, value=literal(value)) for name, value in given.items()),
        *variables_from(work.attempt_id, [name for name in run.secrets if name not in ours]),
        *(EnvVar(name=name, value=literal(value)) for name, value in ours.items()),
    ]
