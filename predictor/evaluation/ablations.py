"""What each choice of the training is worth: the same held-out comparison with one thing left out.

Every variant is the shipped training with one switch turned or one treatment of its data, on the same folds, so that
its errors can be compared pair by pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from predictor.evaluation.comparison import sign_flip
from predictor.evaluation.judged import Judged, per_configuration
from predictor.evaluation.scores import HeldOutForecast, forecast_held, put_together, score
from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.learned.recipe import SHIPPED, Growth, Recipe
from predictor.learned.samples import Samples
from predictor.training import Grown, grow_all, settle

AS_SHIPPED = "as shipped"

Treatment = Callable[[Samples, Samples], tuple[Samples, Samples]]
"""Changes what is trained on and, in the same way, what is asked."""


def _as_they_are(rest: Samples, held: Samples) -> tuple[Samples, Samples]:
    return rest, held


def _without_bounds(rest: Samples, held: Samples) -> tuple[Samples, Samples]:
    return rest.take(~rest.lower_bound), held


def _bounds_as_values(rest: Samples, held: Samples) -> tuple[Samples, Samples]:
    return replace(rest, lower_bound=np.zeros(len(rest), dtype=bool)), held


def _without_arithmetic(rest: Samples, held: Samples) -> tuple[Samples, Samples]:
    """The trees start from one number, the usual measurement, instead of the arithmetic of each row."""
    usual = float(np.average(rest.measured, weights=rest.weights))
    return replace(rest, arithmetic=np.full(len(rest), usual)), replace(held, arithmetic=np.full(len(held), usual))


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A training that differs from the shipped one in one thing."""

    name: str
    says: str
    """What it does instead."""
    recipe: Recipe | None = SHIPPED
    """None: nothing is learned."""
    treat: Treatment = _as_they_are
    bounds_only: bool = False
    """Differs only where runs out of memory were observed."""


VARIANTS = (
    Variant(name=AS_SHIPPED, says="the training that `pythia train` runs"),
    Variant(name="arithmetic alone", says="footprint and roofline, nothing learned", recipe=None),
    Variant(
        name="no arithmetic",
        says="the same trees on the log of the measurement itself, with squared loss; arithmetic is only a feature",
        recipe=Recipe(growth=Growth(bent_loss=False)),
        treat=_without_arithmetic,
    ),
    Variant(
        name="no habits",
        says="one layer of trees over all columns",
        recipe=Recipe(growth=Growth(habits=False)),
    ),
    Variant(
        name="no particulars",
        says="only the trees that read software and cards, nothing of the job",
        recipe=Recipe(growth=Growth(particulars=False)),
    ),
    Variant(
        name="not monotone",
        says="trees may fall as batch, length or rank grows",
        recipe=Recipe(growth=Growth(monotone=False)),
    ),
    Variant(
        name="squared loss",
        says="least squares instead of a loss that is linear for outliers",
        recipe=Recipe(growth=Growth(bent_loss=False)),
    ),
    Variant(name="no trust", says="the whole correction everywhere, however far from the data",
            recipe=Recipe(trust=False)),
    Variant(name="no balance", says="large sources outvote small ones in trust and calibration",
            recipe=Recipe(balance=False)),
    Variant(name="no spread", says="all questions are equally hard at a distance", recipe=Recipe(spread=False)),
    Variant(name="one width", says="intervals do not widen with distance", recipe=Recipe(by_distance=False)),
    Variant(name="no bounds", says="runs out of memory are dropped", treat=_without_bounds, bounds_only=True),
    Variant(name="bounds as values", says="a run out of memory is taken to have needed what the card offers",
            treat=_bounds_as_values, bounds_only=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """One variant on one task under one way of holding out."""

    task: Task
    grouping: str
    variant: str
    says: str
    configurations: int
    error: float
    """Median of |forecast / measured - 1| over configurations, toys left out."""
    source_mean: float
    covered: float
    pinball: float
    """Mean loss of the promised quantiles, in logarithms; lower is better."""
    over_provision: float | None
    out_of_memory_flagged: int | None
    out_of_memory: int | None
    error_p: float
    """Of the variant being no worse than what ships, by signs of paired |log errors| of configurations."""
    pinball_p: float

    def to_json(self) -> dict[str, object]:
        return asdict(self)


MOST_CONFIGURATIONS = 1_000
"""Drawn of a task for its ablations: a dozen trainings take the time of one evaluation, and a paired comparison on
fewer still shows what is worth having."""

Each = Callable[[Callable[[Flags], dict[str, HeldOutForecast]], Sequence[Flags]], Iterable[dict[str, HeldOutForecast]]]
"""`map`, or one that runs in several processes."""


def thinned(found: Samples, most: int = MOST_CONFIGURATIONS) -> Samples:
    """At most so many whole configurations, drawn by a hash of their names, and all that ran out of memory."""
    names = np.unique(found.configuration)
    if len(names) <= most:
        return found
    drawn = sorted(names.tolist(), key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:most]
    return found.take(np.isin(found.configuration, drawn) | found.lower_bound)


def variants_for(found: Samples) -> tuple[Variant, ...]:
    """Those that can differ on these samples."""
    return tuple(one for one in VARIANTS if not one.bounds_only or found.lower_bound.any())


def held_out_variants(
    task: Task, found: Samples, folds: Sequence[Flags], variants: Sequence[Variant], *, seed: int, each: Each = map
) -> dict[str, HeldOutForecast]:
    """What every variant says of each fold, trained on all the others."""
    said = list(each(partial(_fold, task, found, variants, seed), folds))
    return {one.name: put_together(folds, [part[one.name] for part in said]) for one in variants}


def _fold(
    task: Task, found: Samples, variants: Sequence[Variant], seed: int, mask: Flags
) -> dict[str, HeldOutForecast]:
    said: dict[str, HeldOutForecast] = {}
    grown: dict[tuple[Treatment, Growth], Grown] = {}  # several variants differ only in what follows the trees
    for one in variants:
        rest, held = one.treat(found.take(~mask), found.take(mask))
        correction = None
        if one.recipe is not None:
            key = (one.treat, one.recipe.growth)
            if key not in grown:
                grown[key] = grow_all(task, rest, seed=seed, growth=one.recipe.growth)
            correction = settle(task, rest, grown[key], seed=seed, recipe=one.recipe)
        said[one.name] = forecast_held(task, correction, held)
    return said


def ablations(shipped: Judged, said: Mapping[str, HeldOutForecast]) -> list[Ablation]:
    """Each variant beside what ships."""
    says = {one.name: one.says for one in VARIANTS}
    usual = _losses(shipped)
    found: list[Ablation] = []
    for name, forecast in said.items():
        judged = replace(shipped, said=forecast)
        summary = score(shipped.task, shipped.grouping, shipped.found, shipped.folds, forecast)
        errors, pinballs = _losses(judged)
        found.append(
            Ablation(
                task=shipped.task,
                grouping=shipped.grouping,
                variant=name,
                says=says[name],
                configurations=summary.overall.configurations,
                error=summary.overall.learned,
                source_mean=summary.source_mean,
                covered=summary.overall.covered,
                pinball=float(pinballs.mean()),
                over_provision=summary.over_provision,
                out_of_memory_flagged=summary.out_of_memory_flagged,
                out_of_memory=summary.out_of_memory,
                error_p=sign_flip(errors - usual[0], seed=7),
                pinball_p=sign_flip(pinballs - usual[1], seed=7),
            )
        )
    return found


def _losses(judged: Judged) -> tuple[Floats, Floats]:
    """|log error| and pinball loss of each configuration that counts."""
    counted = judged.counted
    names = judged.configuration[counted]
    missed = np.abs(judged.found.measured - judged.said.p50)[counted]
    both = (per_configuration(names, values) for values in (missed, judged.pinball[counted]))
    errors, pinballs = (np.array(list(found.values())) for found in both)
    return errors, pinballs
