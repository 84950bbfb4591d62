"""The predictor's versions, with their scores."""

from __future__ import annotations

import threading

from fastapi import APIRouter

from scheduler.api.context import Context, Tenant
from scheduler.api.problems import refuse, responses
from scheduler.api.schemas.models import ModelOut, ModelsOut, ShippedOut, TrainedOut
from scheduler.api.strict_json import JsonRoute
from scheduler.revision import git_revision
from scheduler.services import models
from scheduler.services.train import train_from_database

router = APIRouter(prefix="/models", tags=["predictor"], route_class=JsonRoute)

_training = threading.Lock()


@router.get("", summary="Versions of the predictor")
def list_models(context: Context, tenant: Tenant) -> ModelsOut:
    """What was trained here, what came with Pythia, and which of them answers."""
    shipped = models.shipped_manifest()
    return ModelsOut(
        in_use=models.version_in_use(context.engine),
        shipped=ShippedOut(
            version=shipped.version, rows=shipped.observations, created=shipped.created, metrics=shipped.metrics
        ),
        items=[ModelOut.model_validate(one, from_attributes=True) for one in models.list_models(context.engine)],
    )


@router.post(":train", status_code=201, summary="Train a challenger", responses=responses(409))
def train_model(context: Context, tenant: Tenant) -> TrainedOut:
    """Train on every stored observation, compare with the champion on held-out jobs, promote what is better.

    It answers when it is done: seconds to minutes. One training at a time.
    """
    if not _training.acquire(blocking=False):  # two at once would only take each other's processor
        raise refuse(409, "a training is running; ask again when it is done")
    try:
        knowledge = context.knowledge
        trained = train_from_database(
            context.engine, knowledge.gpus, knowledge.models, git_revision=git_revision(), now=context.clock()
        )
    finally:
        _training.release()
    return TrainedOut.model_validate(trained, from_attributes=True)


@router.post("/{version}:promote", summary="Put a version into use", responses=responses(404, 409))
def promote_model(version: str, context: Context, tenant: Tenant) -> ModelOut:
    """409 unless it beat the version now in use on held-out jobs, or was in use before: that is how one goes back."""
    promoted = models.promote_model(context.engine, version, now=context.clock())
    return ModelOut.model_validate(promoted, from_attributes=True)
