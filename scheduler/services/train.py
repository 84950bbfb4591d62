"""Train a challenger on what was measured, compare it with the champion on held-out jobs, promote it if better."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from predictor.bundle import Bundle, load_bundle, to_blob
from predictor.comparison import compare
from predictor.errors import NotEnoughData, PythiaError
from predictor.hardware import GpuCatalogue
from predictor.telemetry import Observation, read_observation
from predictor.training import train
from predictor.workload_spec import ModelSource
from scheduler.domain.errors import NotBetter
from scheduler.services.champion import readable_or_shipped
from scheduler.services.models import promote_model
from scheduler.storage import models, observations
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.views import ModelView

log = structlog.get_logger(__name__)

HELD_OUT = 5
"""One configuration in so many is never trained on. The same ones every time, so that a champion trained here has not
seen what its challengers are compared on."""

SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A challenger, and whether it is in use now."""

    model: ModelView
    promoted: bool
    left_out: int
    """Observations that today's facts cannot read."""


def train_from_database(
    engine: Engine,
    gpus: GpuCatalogue,
    known_models: ModelSource,
    *,
    git_revision: str,
    now: datetime,
    tenant_id: UUID | None = None,
) -> Trained:
    """Train on every stored observation (of one tenant, if given), store the version, and promote it if it is better.

    NotEnoughData where there is too little to learn or to compare.
    """
    with reading(engine) as session:
        version = models.champion_version(session)
        blob = None if version is None else models.bundle(session, version)
        seen, left_out = _read(observations.every_body(session, tenant_id), gpus, known_models)
    champion = load_bundle() if blob is None else readable_or_shipped(blob)
    learned = [one for one in seen if not is_held_out(one)]
    held_out = [one for one in seen if is_held_out(one)]
    if not learned or not held_out:
        raise NotEnoughData(
            f"{len(seen)} observations of {len({one.configuration for one in seen})} configurations are too few to "
            "learn from some and compare on others; run more jobs or import observations"
        )
    challenger = train(
        learned, seed=SEED, created=now.date().isoformat(), git_revision=git_revision, base=champion, metrics={}
    )
    verdict = compare(champion, challenger, held_out)
    # the one it would replace, even where that cannot be read any more and the shipped bundle stood in for it
    comparison = {**verdict.to_json(), "champion": version or champion.version}
    _keep(engine, challenger, comparison, now)
    promoted = _promote_if_better(engine, challenger.version, now)
    with reading(engine) as session:
        return Trained(model=models.get(session, challenger.version), promoted=promoted, left_out=left_out)


def is_held_out(observation: Observation) -> bool:
    """Whether a configuration is kept for comparing; told by its hash, so that repeats stay together."""
    return int(hashlib.sha256(observation.configuration.encode()).hexdigest()[:8], 16) % HELD_OUT == 0


def _read(
    bodies: Iterable[Mapping[str, Any]], gpus: GpuCatalogue, known_models: ModelSource
) -> tuple[list[Observation], int]:
    read: list[Observation] = []
    left_out = 0
    for body in bodies:
        try:
            read.append(read_observation(body, known_models, gpus))
        except PythiaError as error:
            left_out += 1
            log.warning("left out an observation", reason=str(error))
    return read, left_out


def _keep(engine: Engine, bundle: Bundle, comparison: Mapping[str, Any], now: datetime) -> None:
    with transaction(engine) as session:
        models.add(
            session, version=bundle.version, bundle=to_blob(bundle), rows=bundle.manifest.observations,
            metrics=bundle.manifest.metrics, comparison=comparison, now=now,
        )  # fmt: skip


def _promote_if_better(engine: Engine, version: str, now: datetime) -> bool:
    try:
        promote_model(engine, version, now=now)
    except NotBetter as error:
        log.info("kept the champion", reason=str(error))
        return False
    log.info("promoted a challenger", version=version)
    return True
