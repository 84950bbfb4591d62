"""How soon a new site is known: errors after so many of its own jobs, the bundle before having seen none of it.

For each source the bundle is trained on all others, and the kernel tuned on all others, whose residuals come from
bundles that never saw them. Then some of its configurations are drawn, the site is learned from them, and its other
configurations are forecast. Draws are seeded; a source takes part while enough is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from predictor.evaluation.configurations import TOYS, first_readings
from predictor.evaluation.scores import configuration_errors
from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.learned.correction import Correction, uncorrected
from predictor.learned.folds import groups_of
from predictor.learned.samples import Samples, samples
from predictor.quantiles import MEMORY_MARGIN, TIME_MARGIN, bands
from predictor.site.fit import learn
from predictor.site.kernel import Kernel
from predictor.site.tune import Pupil, pupil, tune
from predictor.telemetry import Observation
from predictor.training import MIN_CONFIGURATIONS, fit

COUNTS = (0, 1, 3, 10, 30, 100, 300)
DRAWS = 20
LEAST_LEFT = 10
"""Configurations that must be left to forecast; and a source needs as many to take part at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Errors on a source's other configurations after `own` of its configurations, medians over the draws."""

    task: Task
    source: str | None
    """None: all sources pooled, each configuration once, toys left out."""
    own: int
    sources: int
    configurations: int
    """Left to forecast."""
    error: float
    """Median of |forecast / measured - 1|."""
    covered: float
    """Share below p95 (memory) or between p10 and p90 (time)."""
    width: float
    """Median of p95 / p50 (memory) or p90 / p10 (time)."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def learning_curve(
    observations: Sequence[Observation], *, seed: int, counts: Sequence[int] = COUNTS, draws: int = DRAWS
) -> tuple[Point, ...]:
    """The curve of every task: one training for each source, and `draws` sites for each count."""
    found: list[Point] = []
    for task in Task:
        every = samples(task, observations)
        if (~every.lower_bound).any():
            found += _task_curve(task, every, seed, counts, draws)
    return tuple(found)


def site_bases(task: Task, every: Samples, seed: int) -> dict[str, Correction | None]:
    """For each site what all the others teach; None where they are too few."""
    sites = groups_of(every, "site")
    bases: dict[str, Correction | None] = {}
    for site in sorted(set(sites.tolist())):
        rest = every.take(sites != site)
        enough = len(set(rest.configuration.tolist())) >= MIN_CONFIGURATIONS
        bases[site] = fit(task, rest, seed=seed) if enough else None
    return bases


def site_pupils(every: Samples, bases: Mapping[str, Correction | None]) -> dict[str, Pupil]:
    """The sites that kernels can be learned from, under corrections that never saw them."""
    sites = groups_of(every, "site")
    found = {site: pupil(every.take(sites == site), base) for site, base in bases.items()}
    return {site: one for site, one in found.items() if one is not None}


def _task_curve(task: Task, every: Samples, seed: int, counts: Sequence[int], draws: int) -> list[Point]:
    sites = groups_of(every, "site")
    bases = site_bases(task, every, seed)
    pupils = site_pupils(every, bases)
    own: dict[str, list[list[_Trial]]] = {}
    for site, base in bases.items():
        others = [one for name, one in pupils.items() if name != site]
        kernel = tune(task, others) if others else None
        here = every.take(sites == site)
        for source in sorted(set(here.source.tolist())):
            mine = here.take(here.source == source)
            if len(_timed(mine)) > LEAST_LEFT:
                own[source] = [_trials(task, mine, base, kernel, count, draws, seed) for count in counts]
    points: list[Point] = []
    for place, count in enumerate(counts):
        trials = {source: by_count[place] for source, by_count in own.items() if by_count[place]}
        points += [_point(task, source, count, [[trial] for trial in found]) for source, found in trials.items()]
        pooled = [found for source, found in trials.items() if source not in TOYS]
        if pooled:
            points.append(_point(task, None, count, [list(draw) for draw in zip(*pooled, strict=True)]))
    return points


@dataclass(frozen=True, slots=True)
class _Trial:
    errors: Floats
    covered: Flags
    width: Floats


def _timed(found: Samples) -> list[str]:
    return sorted(set(found.configuration[~found.lower_bound].tolist()))


def _trials(
    task: Task, mine: Samples, base: Correction | None, kernel: Kernel | None, count: int, draws: int, seed: int
) -> list[_Trial]:
    names = np.array(_timed(mine))
    if len(names) < count + LEAST_LEFT:
        return []
    trials: list[_Trial] = []
    for draw in range(draws if count else 1):
        chosen = np.random.default_rng([seed, draw, count]).permutation(names)[:count]
        trials.append(_trial(task, mine, base, kernel, np.isin(mine.configuration, chosen)))
    return trials * (1 if count else draws)


def _trial(task: Task, mine: Samples, base: Correction | None, kernel: Kernel | None, known: Flags) -> _Trial:
    asked = mine.take(~known & ~mine.lower_bound & first_readings(mine))
    corrected = base.correct(asked.rows) if base else uncorrected(len(asked))
    site = learn(task, mine.take(known), base, kernel) if known.any() else None
    if site:
        corrected = site.refine(asked.rows, corrected)
    margin = MEMORY_MARGIN if task.is_memory else TIME_MARGIN
    said = bands(asked.arithmetic, corrected, base.calibration if base else margin, margin)
    upper, lower = (said.p95, said.p50) if task.is_memory else (said.p90, said.p10)
    inside = asked.measured <= upper
    return _Trial(
        errors=configuration_errors(asked.configuration, said.p50, asked.measured),
        covered=inside if task.is_memory else inside & (asked.measured >= lower),
        width=np.exp(upper - lower),
    )


def _point(task: Task, source: str | None, count: int, draws: Sequence[Sequence[_Trial]]) -> Point:
    """The median over draws, each of one or several sources' trials."""
    errors = [np.concatenate([trial.errors for trial in trials]) for trials in draws]
    return Point(
        task=task,
        source=source,
        own=count,
        sources=len(draws[0]),
        configurations=int(np.median([len(found) for found in errors])),
        error=float(np.median([np.median(found) for found in errors])),
        covered=float(np.median([np.concatenate([trial.covered for trial in trials]).mean() for trials in draws])),
        width=float(np.median([np.median(np.concatenate([trial.width for trial in trials])) for trials in draws])),
    )


def curve_table(points: Sequence[Point]) -> list[str]:
    """Lines for people: one per task and source, the errors after 0, 1, 3 … own configurations."""
    counts = sorted({point.own for point in points})
    lines = [f"{'TASK':17}{'SOURCE':18}" + "".join(f"{count:>9}" for count in counts)] if points else []
    by_line: dict[tuple[Task, str], dict[int, Point]] = {}
    for point in points:
        by_line.setdefault((point.task, point.source or "all but toys"), {})[point.own] = point
    for (task, source), found in by_line.items():
        cells = (f"{100 * found[count].error:.1f} %" if count in found else "" for count in counts)
        lines.append(f"{task:17}{source:18}" + "".join(f"{cell:>9}" for cell in cells))
    return lines
