"""Train a challenger on all that was measured, compare it with the champion on the newest jobs, promote the better."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from predictor.bundle import Bundle, load_bundle, to_blob
from predictor.errors import NotEnoughData, PythiaError
from predictor.evaluation.comparison import LEAST_PAIRS, Comparison
from predictor.hardware import GpuCatalogue
from predictor.site.training import Lesson, learn_site
from predictor.telemetry import read_observation
from predictor.workloads.spec import ModelSource
from scheduler.domain.errors import NotBetter
from scheduler.services.champion import readable_or_shipped
from scheduler.services.judging import Seen, judge, newest
from scheduler.services.models import promote_model
from scheduler.storage import models, observations, tenants
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.observations import Measured
from scheduler.storage.views import ModelView

log = structlog.get_logger(__name__)

SEED = 7


class NothingNew(PythiaError):
    """A training came to the version that is in use already."""

    code = "nothing_new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A challenger, and whether it is in use now."""

    model: ModelView
    promoted: bool
    window: tuple[datetime, datetime]
    """The first and the last observation that was read."""
    read: int
    learned_from: int
    held_out: int
    """Those that it was judged on."""
    left_out: int
    """Observations that today's facts cannot read."""
    quarantined: int
    """Measurements that cannot be."""


def train_from_database(
    engine: Engine, gpus: GpuCatalogue, known_models: ModelSource, *, git_revision: str, now: datetime
) -> Trained:
    """Learn this site from every stored observation on top of the shipped bundle, store the version, and promote it if
    it is better. NotEnoughData where there is too little to learn or to compare.
    """
    with reading(engine) as session:
        version = models.champion_version(session)
        blob = None if version is None else models.bundle(session, version)
        metrics = {} if version is None else models.get(session, version).metrics
        shared = tenants.several(session)
        seen, left_out = _read(observations.every(session), gpus, known_models)
    base = load_bundle()
    champion = base if blob is None else readable_or_shipped(blob)
    if len(seen) < LEAST_PAIRS:
        raise NotEnoughData(
            f"{len(seen)} observations are too few to learn from and to compare on: {LEAST_PAIRS} runs, of one job or "
            "of several, are the fewest that can prove anything; run more jobs or import observations"
        )

    def learn(from_these: Sequence[Seen]) -> Lesson:
        return learn_site(
            base,
            [one.observation for one in from_these],
            contributors=[one.contributor for one in from_these],
            shared=shared,
            seed=SEED,
            created=now.date().isoformat(),
            git_revision=git_revision,
        )

    lesson = learn(seen)
    for kept_out in lesson.quarantined[:20]:
        log.warning("quarantined a measurement", id=kept_out.id, source=kept_out.source, reason=kept_out.reason)
    challenger = lesson.bundle
    if challenger.version == version:
        # its proof stands as it was given: a version is no better than itself
        raise NothingNew(
            f"nothing new was learned: {len(seen)} observations, {len(lesson.quarantined)} of them quarantined, "
            f"teach what {version} knows"
        )
    judges = newest(seen, lesson.quarantined)
    known = _last_read(metrics) if champion.version == version else None
    verdict = judge(champion, lesson, judges, seen, known=known, learn=learn)
    window = (min(one.at for one in seen), max(one.at for one in seen))
    # the one it would replace, even where that cannot be read any more and the shipped bundle stood in for it
    comparison = {**verdict.to_json(), "champion": version or champion.version}
    _keep(engine, lesson, verdict, comparison, window, seen[-1].id, now)
    promoted = _promote_if_better(engine, challenger.version, now)
    with reading(engine) as session:
        model = models.get(session, challenger.version)
    return Trained(
        model=model, promoted=promoted, window=window, read=len(seen), learned_from=len(seen),
        held_out=len(judges), left_out=left_out, quarantined=len(lesson.quarantined),
    )  # fmt: skip


def _last_read(metrics: Mapping[str, Any]) -> UUID | None:
    """The last observation that a stored version has learned from, where it says so."""
    last = metrics.get("window", {}).get("last")
    return None if last is None else UUID(last)


def _read(rows: Iterable[Measured], gpus: GpuCatalogue, known_models: ModelSource) -> tuple[list[Seen], int]:
    read: list[Seen] = []
    left_out = 0
    for row in rows:
        try:
            observation = read_observation(row.body, known_models, gpus)
        except PythiaError as error:
            left_out += 1
            log.warning("left out an observation", reason=str(error))
            continue
        read.append(Seen(observation, _contributor(row), row.observed_at, row.id))
    return read, left_out


def _contributor(row: Measured) -> str:
    """Who gave an observation, its owner before the slash, under a name that tells other tenants nothing."""
    owner, source = (
        hashlib.sha256(said.encode()).hexdigest()[:8] for said in (str(row.tenant_id), f"{row.tenant_id}/{row.source}")
    )
    return f"contributor {owner}/{source}"


def _keep(
    engine: Engine,
    lesson: Lesson,
    verdict: Comparison,
    comparison: Mapping[str, Any],
    window: tuple[datetime, datetime],
    last: UUID,
    now: datetime,
) -> None:
    bundle: Bundle = lesson.bundle
    slices = {"quantity": verdict.by_quantity, "gpu_type": verdict.by_gpu_type, "contributor": verdict.by_contributor}
    metrics = {
        "base": bundle.manifest.base,
        "window": {"from": window[0].isoformat(), "to": window[1].isoformat(), "last": str(last)},
        "quarantined": len(lesson.quarantined),
        "held_out": {
            slice_: {
                label: {"configurations": pair.configurations, "error": pair.challenger_error}
                for label, pair in pairs.items()
            }
            for slice_, pairs in slices.items()
        },
        "site": {
            task: {"rows": site.rows, "configurations": site.configurations, "noise": site.noise, "width": site.width}
            for task, site in bundle.sites.items()
        },
    }
    with transaction(engine) as session:
        models.add(
            session, version=bundle.version, bundle=to_blob(bundle), rows=bundle.manifest.observations,
            metrics=metrics, comparison=comparison, now=now,
        )  # fmt: skip


def _promote_if_better(engine: Engine, version: str, now: datetime) -> bool:
    try:
        promote_model(engine, version, now=now)
    except NotBetter as error:
        log.info("kept the champion", reason=str(error))
        return False
    log.info("promoted a challenger", version=version)
    return True
