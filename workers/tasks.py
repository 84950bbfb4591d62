"""The Celery tasks: each is a doorbell that rings one method and returns in seconds."""

from __future__ import annotations

from uuid import UUID

from scheduler.dispatch import LAUNCH, NOTIFY, PLACE_WAITING, POLL, RECONCILE, SWEEP, TRAIN
from workers.app import app
from workers.wiring import installation

TRAINING_S = 1500
"""Less than a training's lease, so that it ends before another begins."""

__all__ = ["app"]


@app.task(name=LAUNCH)
def launch(attempt_id: str) -> None:
    """Start what was placed."""
    installation().runner.launch(UUID(attempt_id))


@app.task(name=POLL)
def poll(attempt_id: str | None = None, attempt_ids: str = "") -> None:
    """Look at what runs: at one, or at several whose ids are joined by commas."""
    if attempt_id is not None:
        installation().runner.look(UUID(attempt_id))
    if attempt_ids:
        installation().runner.look_at_all([UUID(each) for each in attempt_ids.split(",")])


@app.task(name=SWEEP)
def sweep() -> None:
    """Find what fell through."""
    installation().runner.sweep()


@app.task(name=RECONCILE)
def reconcile() -> None:
    """Compare machines with their providers."""
    installation().runner.reconcile()


@app.task(name=PLACE_WAITING)
def place_waiting() -> None:
    """Decide again for jobs that wait."""
    installation().place_waiting()


@app.task(name=NOTIFY)
def notify(job_id: str, tries: str = "0") -> None:
    """Tell a webhook that its job has ended."""
    installation().messenger.tell(UUID(job_id), tries=int(tries))


@app.task(name=TRAIN, soft_time_limit=TRAINING_S, time_limit=TRAINING_S + 60)
def train(training_id: str) -> None:
    """Learn from what was measured: minutes, on a queue whose worker does nothing else."""
    installation().train(UUID(training_id))
