"""The predictor's versions with their scores, trainings, and whether forecasts still hold."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.models import DriftOut, ModelOut, ModelsOut, RolledBackOut, ShippedOut, SliceOut, TrainingOut
from scheduler.api.strict_json import JsonRoute
from scheduler.services import models, trainings
from scheduler.services.drift import drift

router = APIRouter(prefix="/models", tags=["predictor"], route_class=JsonRoute)


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
        trainings=[
            TrainingOut.model_validate(one, from_attributes=True) for one in trainings.list_trainings(context.engine)
        ],
    )


@router.post(":train", status_code=202, summary="Train a challenger")
def train_model(context: Context, tenant: Tenant) -> TrainingOut:
    """Ask a worker to learn from every stored observation, compare with the champion on held-out jobs, and promote what
    is better. Answers at once; one training is open at a time, and asking again answers with it.
    """
    asked = trainings.request_training(context.engine, now=context.clock())
    return TrainingOut.model_validate(asked, from_attributes=True)


@router.get("/trainings/{training_id}", summary="How a training goes", responses=responses(404))
def get_training(training_id: UUID, context: Context, tenant: Tenant) -> TrainingOut:
    """Queued, running or ended; then with the version it made and the verdict on it."""
    return TrainingOut.model_validate(trainings.get_training(context.engine, training_id), from_attributes=True)


@router.get("/drift", summary="Whether forecasts still hold")
def get_drift(context: Context, tenant: Tenant) -> DriftOut:
    """Errors and coverage of the last finished attempts by task, GPU type, engine and tenant; alarms first."""
    slices = drift(context.engine, now=context.clock(), tenant_id=tenant)
    return DriftOut(
        alarms=[one.alarm for one in slices if one.alarm],
        slices=[SliceOut.model_validate(one, from_attributes=True) for one in slices],
    )


@router.post(":rollback", summary="Go back to the version before", responses=responses(409))
def roll_back(context: Context, tenant: Tenant) -> RolledBackOut:
    """Put back what was in use before the champion; 409 where the shipped version is in use already."""
    return RolledBackOut(in_use=models.roll_back(context.engine))


@router.post("/{version}:promote", summary="Put a version into use", responses=responses(404, 409))
def promote_model(version: str, context: Context, tenant: Tenant) -> ModelOut:
    """409 unless it beat the version now in use on held-out jobs, or was in use before: that is how one goes back."""
    promoted = models.promote_model(context.engine, version, now=context.clock())
    return ModelOut.model_validate(promoted, from_attributes=True)
