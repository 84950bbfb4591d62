"""Train a challenger on what was measured, compare it with the champion on held-out jobs, promote it if better."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from predictor.bundle import Bundle, load_bundle, to_blob
from predictor.errors import NotEnoughData, PythiaError
from predictor.evaluation.comparison import MIN_PAIRS, Comparison, compare
from predictor.hardware import GpuCatalogue
from predictor.site.training import Lesson, learn_site
from predictor.telemetry import Observation, owner_of, read_observation
from predictor.workloads.spec import ModelSource
from scheduler.domain.errors import NotBetter
from scheduler.services.champion import readable_or_shipped
from scheduler.services.models import promote_model
from scheduler.storage import models, observations
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.observations import Measured
from scheduler.storage.views import ModelView

log = structlog.get_logger(__name__)

HELD_OUT = 5
"""One configuration in so many is never trained on. The same ones every time, so that a champion trained here has not
seen what its challengers are compared on."""

JUDGES = 1000
"""The newest held-out observations of each owner, which decide: what was true a year ago is another matter."""

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
    left_out: int
    """Observations that today's facts cannot read."""
    quarantined: int
    """Measurements that cannot be."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """An observation, who gave it, and when."""

    observation: Observation
    contributor: str
    at: datetime


def train_from_database(
    engine: Engine, gpus: GpuCatalogue, known_models: ModelSource, *, git_revision: str, now: datetime
) -> Trained:
    """Learn this site from every stored observation on top of the shipped bundle, store the version, and promote it if
    it is better. NotEnoughData where there is too little to learn or to compare.
    """
    with reading(engine) as session:
        version = models.champion_version(session)
        blob = None if version is None else models.bundle(session, version)
        seen, left_out = _read(observations.every(session), gpus, known_models)
    base = load_bundle()
    champion = base if blob is None else readable_or_shipped(blob)
    learned = [one for one in seen if not is_held_out(one.observation)]
    held_out = [one for one in seen if is_held_out(one.observation)]
    if not learned or not held_out:
        raise NotEnoughData(
            f"{len(seen)} observations of {len({one.observation.configuration for one in seen})} configurations are "
            "too few to learn from some and compare on others; run more jobs or import observations"
        )
    lesson = learn_site(
        base,
        [one.observation for one in learned],
        contributors=[one.contributor for one in learned],
        seed=SEED,
        created=now.date().isoformat(),
        git_revision=git_revision,
    )
    for kept_out in lesson.quarantined[:20]:
        log.warning("quarantined a measurement", id=kept_out.id, source=kept_out.source, reason=kept_out.reason)
    challenger = lesson.bundle
    if challenger.version == version:
        # its proof stands as it was given: a version is no better than itself
        raise NothingNew(
            f"nothing new was learned: {len(seen)} observations, {len(lesson.quarantined)} of them quarantined, "
            f"teach what {version} knows"
        )
    judges = _newest(held_out)
    witnesses = _newest(_of_the_unheard(learned, judges))
    verdict = compare(
        champion,
        challenger,
        [one.observation for one in judges],
        contributors=[one.contributor for one in judges],
        witnesses=[one.observation for one in witnesses],
        witness_contributors=[one.contributor for one in witnesses],
    )
    window = (min(one.at for one in seen), max(one.at for one in seen))
    # the one it would replace, even where that cannot be read any more and the shipped bundle stood in for it
    comparison = {**verdict.to_json(), "champion": version or champion.version}
    _keep(engine, lesson, verdict, comparison, window, now)
    promoted = _promote_if_better(engine, challenger.version, now)
    with reading(engine) as session:
        model = models.get(session, challenger.version)
    return Trained(
        model=model, promoted=promoted, window=window, read=len(seen), learned_from=len(learned),
        held_out=len(held_out), left_out=left_out, quarantined=len(lesson.quarantined),
    )  # fmt: skip


def is_held_out(observation: Observation) -> bool:
    """Whether a configuration is kept for comparing; told by its hash, so that repeats stay together."""
    return int(hashlib.sha256(observation.configuration.encode()).hexdigest()[:8], 16) % HELD_OUT == 0


def _read(rows: Iterable[Measured], gpus: GpuCatalogue, known_models: ModelSource) -> tuple[list[_Seen], int]:
    read: list[_Seen] = []
    left_out = 0
    for row in rows:
        try:
            observation = read_observation(row.body, known_models, gpus)
        except PythiaError as error:
            left_out += 1
            log.warning("left out an observation", reason=str(error))
            continue
        read.append(_Seen(observation, _contributor(row), row.observed_at))
    return read, left_out


def _contributor(row: Measured) -> str:
    """Who gave an observation, its owner before the slash, under a name that tells other tenants nothing."""
    owner, source = (
        hashlib.sha256(said.encode()).hexdigest()[:8] for said in (str(row.tenant_id), f"{row.tenant_id}/{row.source}")
    )
    return f"contributor {owner}/{source}"


def _newest(held_out: Sequence[_Seen]) -> list[_Seen]:
    """The newest of each owner; `held_out` is oldest first."""
    taken: Counter[str] = Counter()
    newest: list[_Seen] = []
    for one in reversed(held_out):
        owner = owner_of(one.contributor)
        if taken[owner] < JUDGES:
            taken[owner] += 1
            newest.append(one)
    return newest


def _of_the_unheard(learned: Sequence[_Seen], judges: Sequence[_Seen]) -> list[_Seen]:
    """What was learned from owners of whom next to nothing is held out: by chance, or because they have few jobs."""
    heard: dict[str, set[str]] = {}
    for one in judges:
        heard.setdefault(owner_of(one.contributor), set()).add(one.observation.configuration)
    return [one for one in learned if len(heard.get(owner_of(one.contributor), ())) < MIN_PAIRS]


def _keep(
    engine: Engine,
    lesson: Lesson,
    verdict: Comparison,
    comparison: Mapping[str, Any],
    window: tuple[datetime, datetime],
    now: datetime,
) -> None:
    bundle: Bundle = lesson.bundle
    slices = {"quantity": verdict.by_quantity, "gpu_type": verdict.by_gpu_type, "contributor": verdict.by_contributor}
    metrics = {
        "base": bundle.manifest.base,
        "window": {"from": window[0].isoformat(), "to": window[1].isoformat()},
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
