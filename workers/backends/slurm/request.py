"""What an attempt asks of Slurm, read from the offer that it was placed on.

An offer of a cluster names a partition as its region, and a machine's GRES (`gpu:a100:4`) or its processors (`cpu:16`)
as its instance type.
"""

from __future__ import annotations

import math
import re

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.spec import beyond_plain
from workers.backends.base import StartFailed
from workers.backends.local import GRACE_S
from workers.backends.slurm.files import Request
from workers.backends.slurm.sealed import PATIENCE_S

_PARTITION = re.compile(r"\w[\w.-]*")
_GPUS = re.compile(r"(gpu(?::\w[\w.-]*)?):([1-9]\d*)")
_CPUS = re.compile(r"cpu:\d+")
_SLURM_LATER_S = 60.0
"""By how much Slurm's time limit is above the supervisor's, which leaves time to end gracefully and to be billed."""
_FILES_S = 3600.0
"""Beside that for a job with files: they are moved before and after the time that its command may take."""


def request_of(work: AttemptWork) -> Request:
    """What to ask for; StartFailed where the offer is not written so."""
    if work.machine is None:
        raise StartFailed("it has no machine to be named after")
    if not _PARTITION.fullmatch(work.region):
        raise StartFailed(f"the offer's region {work.region!r} is no name of a Slurm partition")
    gpus, cpus = _GPUS.fullmatch(work.instance_type), _CPUS.fullmatch(work.instance_type)
    on_gpus = work.usable_vram_gib is not None
    if gpus is None if on_gpus else cpus is None:
        wanted = "a GRES such as gpu:a100:4" if on_gpus else "processors such as cpu:16"
        raise StartFailed(f"the offer's instance_type {work.instance_type!r} names no {wanted}")
    nodes = 1
    if gpus is not None and work.gpu_count > (of_a_node := int(gpus[2])):
        nodes, rest = divmod(work.gpu_count, of_a_node)
        if rest:
            raise StartFailed(f"{work.gpu_count} GPUs are no whole nodes of {work.instance_type}")
    limit, run = work.runtime_limit, work.spec.run
    later_s = GRACE_S + _SLURM_LATER_S
    if run is not None and beyond_plain(run):
        later_s += PATIENCE_S
    if run is not None and (run.inputs or run.outputs):
        later_s += _FILES_S
    return Request(
        key=work.machine.key,
        partition=work.region,
        gres=f"{gpus[1]}:{work.gpu_count // nodes}" if gpus is not None else None,
        cpus=None if on_gpus else work.gpu_count,
        time_limit_min=None if limit is None else math.ceil((limit.seconds + later_s) / 60),
        nodes=nodes,
    )
