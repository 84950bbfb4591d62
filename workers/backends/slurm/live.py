"""How far an attempt has come whose job waits or runs, by Slurm's word and its supervisor's."""

from __future__ import annotations

import time
from pathlib import Path

from workers.backends.base import Phase, Report
from workers.backends.slurm.sealed import asking_key
from workers.backends.slurm.words import WAITING, QueuedJob
from workers.backends.supervised import report_of
from workers.supervision.status import RunState, Status

_HEARTBEAT_IS_FRESH_S = 60.0


def look_at(queued: QueuedJob, status: Status | None, folder: Path) -> Report:
    """The report of an attempt whose job is not over."""
    if queued.state in WAITING:
        return Report(phase=Phase.STARTING, simulated=False)
    if status is None:  # on its node, and its supervisor has not come up yet
        return Report(phase=Phase.STARTING, simulated=False)
    asks = status.state is RunState.STARTING and asking_key(folder) is not None
    return report_of(status, Phase.ASKS if asks else _phase(status))


def by_heartbeat(status: Status | None) -> Report | None:
    """The same without Slurm's word; None where the supervisor does not say that it lives."""
    if status is None or status.state is RunState.ENDED:
        return None
    if abs(time.time() - status.heartbeat_at) >= _HEARTBEAT_IS_FRESH_S:
        return None
    return report_of(status, _phase(status))


def _phase(status: Status) -> Phase:
    """The command's last word is not its job's, which holds the node still."""
    return Phase.STARTING if status.state is RunState.STARTING else Phase.RUNNING
