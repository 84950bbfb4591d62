"""Trainings: asked for by a person or the clock, done by a worker of their own queue, remembered with their outcome."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from predictor.errors import PythiaError
from predictor.hardware import GpuCatalogue
from predictor.workloads.spec import ModelSource
from scheduler.dispatch import QUEUE_OF, TRAIN
from scheduler.services.train import train_from_database
from scheduler.storage import outbox, trainings
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.trainings import TrainingEnd, TrainingView

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=30)
"""A training takes seconds to minutes; one that is silent so long died with its worker."""

UNCLAIMED = timedelta(minutes=10)
"""A queued training that nobody began so long is rung again: its doorbell may be lost."""

LEAST_NEW = 5
"""New observations that make a training by the clock worth its while: fewer prove nothing."""

SHOWN = 20


def request_training(engine: Engine, *, now: datetime) -> TrainingView:
    """Ask for a training; where one is open already, that one is the answer."""
    with transaction(engine) as session:
        asked = trainings.request(session, now, scheduled=False)
        if asked is not None:
            outbox.ring(session, TRAIN, QUEUE_OF[TRAIN], training_id=asked)
        found = trainings.open_one(session) if asked is None else trainings.get(session, asked)
    # the open one may have ended between the two statements: then the last one is it
    return found or list_trainings(engine)[0]


def ring_training_if_due(engine: Engine, *, now: datetime, interval_s: float) -> bool:
    """Ask for a training where the last is old and enough was measured since; ring again one that was left behind."""
    with transaction(engine) as session:
        left_behind = trainings.abandoned(session, now=now, silent_since=now - UNCLAIMED)
        wanted = interval_s > 0 and trainings.due(
            session, before=now - timedelta(seconds=interval_s), least_new=LEAST_NEW
        )
        training_id = left_behind or (trainings.request(session, now, scheduled=True) if wanted else None)
        if training_id is not None:
            outbox.ring(session, TRAIN, QUEUE_OF[TRAIN], training_id=training_id)
    return training_id is not None


def run_training(
    engine: Engine,
    training_id: UUID,
    gpus: GpuCatalogue,
    known_models: ModelSource,
    *,
    git_revision: str,
    clock: Callable[[], datetime],
) -> bool:
    """Do a training, whatever comes of it; False where another process does it or has done it.

    No transaction is open while it learns. One that cannot end well says why in its verdict.
    """
    now = clock()
    with transaction(engine) as session:
        if not trainings.claim(session, training_id, now=now, until=now + LEASE):
            return False
    try:
        end = _train(engine, gpus, known_models, git_revision=git_revision, now=now)
    except PythiaError as error:
        end = TrainingEnd(verdict=str(error))
    except Exception as error:
        _end(engine, training_id, TrainingEnd(verdict=f"the training failed ({type(error).__name__})"), clock())
        raise
    _end(engine, training_id, end, clock())
    return True


def list_trainings(engine: Engine) -> list[TrainingView]:
    """The last trainings, newest first."""
    with reading(engine) as session:
        return trainings.last(session, SHOWN)


def get_training(engine: Engine, training_id: UUID) -> TrainingView:
    """One training, or NotFound."""
    with reading(engine) as session:
        return trainings.get(session, training_id)


def _train(
    engine: Engine, gpus: GpuCatalogue, known_models: ModelSource, *, git_revision: str, now: datetime
) -> TrainingEnd:
    trained = train_from_database(engine, gpus, known_models, git_revision=git_revision, now=now)
    comparison = trained.model.comparison or {}
    return TrainingEnd(
        verdict=str(comparison["verdict"]),
        version=trained.model.version,
        promoted=trained.promoted,
        window_from=trained.window[0],
        window_to=trained.window[1],
        read=trained.read,
        learned_from=trained.learned_from,
        held_out=trained.held_out,
        left_out=trained.left_out,
        quarantined=trained.quarantined,
    )


def _end(engine: Engine, training_id: UUID, end: TrainingEnd, now: datetime) -> None:
    with transaction(engine) as session:
        trainings.end(session, training_id, end, now)
    log.info("ended a training", verdict=end.verdict, promoted=end.promoted)
