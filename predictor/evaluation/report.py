"""All that an evaluation found out, as one value: held-out errors, calibration, a new site's first days, ablations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictor.evaluation.ablations import (
    AS_SHIPPED,
    VARIANTS,
    Ablation,
    Each,
    Variant,
    ablations,
    held_out_variants,
    thinned,
    variants_for,
)
from predictor.evaluation.coverage import Level, Reliability, fit_reliability, levels
from predictor.evaluation.judged import Judged
from predictor.evaluation.learning_curve import Point, learning_curve
from predictor.evaluation.scores import HeldOutForecast, Score, enough, folds_of, score
from predictor.evaluation.slices import SliceError, slice_errors
from predictor.evaluation.worst import WorstRow, readings_of, worst_rows
from predictor.features import Task
from predictor.gather import Floats
from predictor.learned.folds import GROUPINGS
from predictor.learned.samples import Samples
from predictor.telemetry import Observation

SCHEMA = 1
"""Of report.json; rises when a field changes its meaning or goes."""

ABLATED = ("configuration", "site")
"""A choice is questioned on the nearest and on the furthest of what is asked."""

LOOKED_INTO = "configuration"
"""The worst rows are those missed although their source was known."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an evaluation found out."""

    seed: int
    created: str
    git_revision: str
    sources: Mapping[str, int]
    """Observations by source."""
    scores: tuple[Score, ...]
    slices: tuple[SliceError, ...]
    levels: tuple[Level, ...]
    reliability: tuple[Reliability, ...]
    curve: tuple[Point, ...]
    """Empty where it was left out."""
    ablations: tuple[Ablation, ...]
    """Empty where they were left out."""
    worst: tuple[WorstRow, ...]
    judged: tuple[Judged, ...]
    """Row by row, for pictures."""

    def to_json(self) -> dict[str, Any]:
        """Everything, rows as columns."""
        return {
            "schema": SCHEMA,
            "seed": self.seed,
            "created": self.created,
            "git_revision": self.git_revision,
            "sources": dict(self.sources),
            "scores": [one.to_json() for one in self.scores],
            "slices": [one.to_json() for one in self.slices],
            "levels": [one.to_json() for one in self.levels],
            "fit_reliability": [one.to_json() for one in self.reliability],
            "learning_curve": [one.to_json() for one in self.curve],
            "ablations": [one.to_json() for one in self.ablations],
            "worst": [one.to_json() for one in self.worst],
            "forecasts": [_columns(one) for one in self.judged],
        }


def make_report(
    observations: Sequence[Observation],
    *,
    seed: int,
    created: str,
    git_revision: str,
    groupings: Sequence[str] = GROUPINGS,
    ablate: bool = True,
    curve: bool = True,
    each: Each = map,
    say: Say = lambda sentence: None,
) -> Report:
    """Train without each group in turn, judge what is said of it, and put together all there is to see.

    `say` hears what is being done, since all of it takes a while; `each` may spread folds over processes.
    """
    tasks = list(enough(observations))
    judged = [
        one
        for task, found in tasks
        for grouping in groupings
        if (one := _judge(task, found, grouping, VARIANTS[:1], seed, each, say)) is not None
    ]
    ablated = [
        part
        for task, found in tasks
        for grouping in ABLATED
        if ablate and grouping in groupings
        for part in _ablate(task, thinned(found), grouping, seed, each, say)
    ]
    if curve:
        say("how soon a new site is known")
    readings = readings_of(observations)
    return Report(
        seed=seed,
        created=created,
        git_revision=git_revision,
        sources=dict(sorted(Counter(observation.source for observation in observations).items())),
        scores=tuple(score(one.task, one.grouping, one.found, one.folds, one.said) for one in judged),
        slices=tuple(part for one in judged for part in slice_errors(one)),
        levels=tuple(level for one in judged for level in levels(one)),
        reliability=tuple(part for one in judged for part in fit_reliability(one)),
        curve=learning_curve(observations, seed=seed) if curve else (),
        ablations=tuple(ablated),
        worst=tuple(row for one in judged if one.grouping == LOOKED_INTO for row in worst_rows(one, readings)),
        judged=tuple(judged),
    )


def _judge(
    task: Task, found: Samples, grouping: str, variants: Sequence[Variant], seed: int, each: Each, say: Say
) -> Judged | None:
    said = _said(task, found, grouping, variants, seed, each, say)
    return said[0] if said else None


def _ablate(task: Task, found: Samples, grouping: str, seed: int, each: Each, say: Say) -> list[Ablation]:
    said = _said(task, found, grouping, variants_for(found), seed, each, say)
    return ablations(*said) if said else []


def _said(
    task: Task, found: Samples, grouping: str, variants: Sequence[Variant], seed: int, each: Each, say: Say
) -> tuple[Judged, dict[str, HeldOutForecast]] | None:
    folds = folds_of(found, grouping, seed=seed)
    if not folds:
        return None
    many = f", {len(variants)} variants" if len(variants) > 1 else ""
    say(f"{task}: {len(found):,} rows held out by {grouping}, {len(folds)} folds{many}")
    said = held_out_variants(task, found, folds, variants, seed=seed, each=each)
    shipped = Judged(task=task, grouping=grouping, found=found, folds=tuple(folds), said=said[AS_SHIPPED])
    return shipped, said


def _columns(judged: Judged) -> dict[str, object]:
    """Rows as columns, GiB or seconds to four digits; a run out of memory is `lower_bound`."""
    columns: dict[str, Floats] = {
        "measured": judged.found.measured,
        "arithmetic": judged.found.arithmetic,
        "p10": judged.said.p10,
        "p50": judged.said.p50,
        "p90": judged.said.p90,
        "p95": judged.said.p95,
    }
    return {
        "task": str(judged.task),
        "grouping": judged.grouping,
        "id": judged.found.ids.tolist(),
        "source": judged.found.source.tolist(),
        "lower_bound": judged.found.lower_bound.tolist(),
        **{name: [float(f"{value:.4g}") for value in np.exp(values).tolist()] for name, values in columns.items()},
    }
