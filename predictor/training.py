"""Train a bundle: trees on what arithmetic missed, and how far to trust them, from groups they had not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from predictor.bundle import Bundle, Source, make_bundle
from predictor.custom.training import train_kinds
from predictor.errors import NotEnoughData
from predictor.features import Task
from predictor.learned.correction import Correction, Layer, Trust
from predictor.learned.domain import describe
from predictor.learned.growing import grow
from predictor.learned.held_out import HeldOut, choose_trust, hold_out
from predictor.learned.misses import learn_bands, misses
from predictor.learned.recipe import SHIPPED, Growth, Recipe
from predictor.learned.samples import Samples, samples
from predictor.learned.trees import Trees
from predictor.telemetry import Observation
from predictor.threads import one_thread

MIN_CONFIGURATIONS = 30
"""Fewer different settings of a task leave it to arithmetic, or to the bundle one starts from."""

REFERENCES = {
    Task.TRAINING_MEMORY: 450,
    Task.INFERENCE_MEMORY: 150,
    Task.TRAINING_TIME: 500,
    Task.INFERENCE_TIME: 900,
}
"""Vectors kept for distances, each with the id of a job it is of; 2,000 in all."""


def train(
    observations: Sequence[Observation],
    *,
    seed: int,
    created: str,
    git_revision: str,
    base: Bundle | None,
    metrics: Mapping[str, Any] | None = None,
) -> Bundle:
    """A bundle from observations; tasks and kinds they say too little about are taken over from `base`.

    `metrics` are scores on held-out groups, to be kept in the manifest.
    """
    corrections = dict(base.corrections) if base else {}
    for task in Task:
        found = samples(task, observations)
        if len(set(found.configuration)) >= MIN_CONFIGURATIONS:
            corrections[task] = fit(task, found, seed=seed)
    kinds = (dict(base.kinds) if base else {}) | train_kinds(observations, seed=seed)
    if not corrections and not kinds:
        raise NotEnoughData(
            f"{len(observations)} observations teach nothing yet: give at least {MIN_CONFIGURATIONS} different "
            "settings of training or inference, or five custom jobs of one kind"
        )
    return make_bundle(
        corrections,
        kinds,
        created=created,
        git_revision=git_revision,
        seed=seed,
        observations=len(observations),
        sources=sources_of(observations),
        metrics=dict(metrics or {}),
    )


def sources_of(observations: Sequence[Observation]) -> tuple[Source, ...]:
    """Where the rows came from, by name."""
    counted = Counter((observation.source, observation.licence) for observation in observations)
    return tuple(Source(name=name, licence=licence, rows=rows) for (name, licence), rows in sorted(counted.items()))


_WHOLE = Trust(near=1.0, far=1.0, distance=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """The trees of one task, and what trees like them said of rows they had not seen."""

    habits: str
    particulars: str
    held_out: HeldOut


def fit(task: Task, found: Samples, *, seed: int, recipe: Recipe = SHIPPED) -> Correction:
    """Learn one task: the trees on all rows, trust and calibration on rows held out group by group."""
    return settle(task, found, grow_all(task, found, seed=seed, growth=recipe.growth), seed=seed, recipe=recipe)


def grow_all(task: Task, found: Samples, *, seed: int, growth: Growth = SHIPPED.growth) -> Grown:
    """Grow the trees on all rows, and again without each group in turn: nearly all the work there is."""
    with one_thread():
        held_out = hold_out(task, found, seed=seed, growth=growth)
    habits, particulars = grow(task, found, seed=seed, growth=growth)
    return Grown(habits=habits, particulars=particulars, held_out=held_out)


def settle(task: Task, found: Samples, grown: Grown, *, seed: int, recipe: Recipe = SHIPPED) -> Correction:
    """How far to trust what was grown, and how widely it misses."""
    table = task.features
    held_out = grown.held_out if recipe.balance else grown.held_out.unbalanced()
    several = len(set(found.site.tolist())) > 1
    habits, particulars = choose_trust(held_out, several_sites=several) if recipe.trust else (_WHOLE, _WHOLE)
    domain = describe(found.rows[:, table.fixed], found.rows[:, table.growing], limit=REFERENCES[task], ids=found.ids)
    missed = misses(task, held_out, held_out.left(habits, particulars), domain)
    spread, calibration = learn_bands(task, missed, domain, seed=seed, recipe=recipe)
    return Correction(
        task=task,
        habits=Layer(trees=Trees(grown.habits), text=grown.habits, trust=habits),
        particulars=Layer(trees=Trees(grown.particulars), text=grown.particulars, trust=particulars),
        spread=spread,
        domain=domain,
        calibration=calibration,
        rows=len(found),
        configurations=len(set(found.configuration)),
    )
