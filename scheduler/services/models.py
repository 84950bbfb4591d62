"""Versions of the predictor: list them, and put one into use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from predictor.bundle import Manifest, load_bundle
from predictor.model import load_default_predictor
from scheduler.domain.errors import Conflict, NotBetter
from scheduler.storage import models
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.views import ModelView


def list_models(engine: Engine) -> list[ModelView]:
    """All stored versions, newest first."""
    with reading(engine) as session:
        return models.every(session)


def version_in_use(engine: Engine) -> str:
    """The champion's version, or the shipped bundle's where none was promoted."""
    with reading(engine) as session:
        return models.champion_version(session) or load_default_predictor().version


def trained_on(engine: Engine, version: str) -> int | None:
    """How many observations a version was trained on; None for one that is neither shipped nor stored."""
    shipped = shipped_manifest()
    if version == shipped.version:
        return shipped.observations
    with reading(engine) as session:
        return models.rows(session, version)


@cache
def shipped_manifest() -> Manifest:
    """What the bundle that ships with Pythia is."""
    return load_bundle().manifest


def promote_model(engine: Engine, version: str, *, now: datetime) -> ModelView:
    """Put a version into use; NotBetter unless it beat the predictor now in use, or was in use before.

    Going back to an earlier champion needs no proof: that is how a bad promotion is undone.
    """
    with transaction(engine) as session:
        wanted = models.get(session, version)
        current = models.champion_version(session) or load_default_predictor().version
        if wanted.champion:
            return wanted
        if wanted.promoted_at is None:
            _demand_proof(version, wanted.comparison, current)
        models.promote(session, version, now)
        return models.get(session, version)


def roll_back(engine: Engine) -> str:
    """Put back what was in use before the champion, the shipped bundle in the end; the version now in use.

    What is rolled back needs proof again, so that rolling back twice goes back two versions.
    """
    with transaction(engine) as session:
        models.lock(session)
        current = models.champion_version(session)
        if current is None:
            raise Conflict("the shipped bundle is in use; there is nothing before it to go back to")
        earlier = models.before(session, current)
        models.demote(session, current)
        if earlier is None:
            return load_default_predictor().version
        models.restore(session, earlier)
        return earlier


def _demand_proof(version: str, comparison: Mapping[str, Any] | None, current: str) -> None:
    if comparison is None:
        raise NotBetter(f"{version} was never compared with a champion; train again to have it compared")
    if comparison["champion"] != current:
        raise NotBetter(
            f"{version} was compared with {comparison['champion']}, but {current} is in use now; train again"
        )
    if not comparison["better"]:
        raise NotBetter(str(comparison["verdict"]))
