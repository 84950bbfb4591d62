"""How good forecasts are on groups that training has not seen, beside arithmetic alone.

Every figure is nested: for each held-out group the whole training runs on the rest (trees, trust and
calibration), so nothing of the group shaped the forecast it is judged by. Each configuration counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from predictor.evaluation.configurations import Configurations, configurations
from predictor.evaluation.totals import memory_totals, total_table
from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.learned.correction import Correction, uncorrected
from predictor.learned.folds import GROUPINGS, fold_ids, group_folds, groups_of
from predictor.learned.samples import Samples, samples
from predictor.quantiles import MEMORY_MARGIN, TIME_MARGIN, bands, fit_probability
from predictor.telemetry import Observation
from predictor.training import MIN_CONFIGURATIONS, fit

FOLDS = {"configuration": 5, "family": 8, "gpu_type": 100, "site": 100}
"""Folds by grouping; cards and sources are left out one at a time."""

SIZES_GIB = (6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 40.0, 48.0, 64.0, 80.0, 96.0, 141.0, 192.0, 288.0)
"""Memory that cards are sold with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Errors of one source's configurations, or of all."""

    configurations: int
    learned: float
    """Median of |forecast / measured - 1|."""
    arithmetic: float
    covered: float
    """Share below p95 (memory) or between p10 and p90 (time)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One task under one way of holding out."""

    task: Task
    grouping: str
    overall: Slice
    source_mean: float
    """Unweighted mean of the sources' median errors, toys left out."""
    source_mean_arithmetic: float
    by_source: dict[str, Slice]
    over_provision: float | None
    """Mean of p95 / measured - 1 over what counts; memory only."""
    out_of_memory_flagged: int | None
    """Rows out of memory whose p95 is above what the card offers, of `out_of_memory`."""
    out_of_memory: int | None
    refused_roomy: float | None
    """Share of configurations that count and left room to spare, but whose p95 would have refused them."""
    folds: tuple[str, ...]
    """Hashes of the ids held out together."""
    each: Configurations
    """Row by row, for totals over tasks."""

    def to_json(self) -> dict[str, object]:
        """All but the rows."""
        said = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "each"}
        said |= {"overall": asdict(self.overall), "by_source": {k: asdict(v) for k, v in self.by_source.items()}}
        return said


def evaluate(
    observations: Sequence[Observation], *, seed: int, groupings: Sequence[str] = GROUPINGS
) -> tuple[Score, ...]:
    """Scores of every task with enough data, under each grouping that has at least two groups."""
    return tuple(
        score(task, grouping, found, folds, predict_held_out(task, found, folds, seed=seed))
        for task, found in enough(observations)
        for grouping in groupings
        if (folds := folds_of(found, grouping, seed=seed))
    )


def enough(observations: Sequence[Observation]) -> Iterable[tuple[Task, Samples]]:
    """The tasks that have enough different settings to be trained and judged, with their samples."""
    for task in Task:
        found = samples(task, observations)
        if len(set(found.configuration)) >= MIN_CONFIGURATIONS:
            yield task, found


def folds_of(found: Samples, grouping: str, *, seed: int) -> list[Flags]:
    """Masks of what is held out together; none where there is but one group."""
    return list(group_folds(groups_of(found, grouping), FOLDS[grouping], seed))


@dataclass(frozen=True, slots=True)
class HeldOutForecast:
    """Logarithms, one value per sample."""

    p10: Floats
    p50: Floats
    p90: Floats
    p95: Floats
    fit: Floats
    """P(the measured quantity is below what the card offers)."""
    rank: Floats
    """P(the quantity is below what was measured): evenly spread over 0 to 1 where intervals hold."""
    distance: Floats
    """From the nearest configuration that was trained on."""
    beyond: Floats
    """How far sizes are above the largest that was trained on."""
    fit_sizes: Floats
    """(n, SIZES_GIB): P(memory is below each size); no columns for time."""


def predict_held_out(task: Task, found: Samples, folds: Sequence[Flags], *, seed: int) -> HeldOutForecast:
    """Forecast each fold with what was trained on all the others."""
    return put_together(
        folds, [forecast_held(task, fit(task, found.take(~mask), seed=seed), found.take(mask)) for mask in folds]
    )


def put_together(folds: Sequence[Flags], said: Sequence[HeldOutForecast]) -> HeldOutForecast:
    """What was said of each fold, in the order of the samples."""
    whole: dict[str, Floats] = {}
    for field in fields(HeldOutForecast):
        parts = [getattr(part, field.name) for part in said]
        whole[field.name] = np.full((len(folds[0]), *parts[0].shape[1:]), np.nan)
        for mask, part in zip(folds, parts, strict=True):
            whole[field.name][mask] = part
    return HeldOutForecast(**whole)


def forecast_held(task: Task, correction: Correction | None, held: Samples) -> HeldOutForecast:
    """What a correction, or without one the arithmetic, says of samples it was not learned from."""
    bare = MEMORY_MARGIN if task.is_memory else TIME_MARGIN
    corrected = correction.correct(held.rows) if correction else uncorrected(len(held))
    calibration = correction.calibration if correction else bare
    said = bands(held.arithmetic, corrected, calibration, bare)

    def below(size: Floats) -> Floats:
        return fit_probability(held.arithmetic, size, corrected, calibration, bare)

    sizes = [below(np.full(len(held), np.log(size))) for size in SIZES_GIB] if task.is_memory else []
    return HeldOutForecast(
        p10=said.p10,
        p50=said.p50,
        p90=said.p90,
        p95=said.p95,
        fit=below(held.usable),
        rank=below(held.measured),
        distance=corrected.distance,
        beyond=corrected.beyond,
        fit_sizes=np.array(sizes).reshape(len(sizes), len(held)).T,
    )


def score(task: Task, grouping: str, found: Samples, folds: Sequence[Flags], forecast: HeldOutForecast) -> Score:
    """Summarise held-out forecasts."""
    each = configurations(
        found, is_memory=task.is_memory, p10=forecast.p10, p50=forecast.p50, p90=forecast.p90, p95=forecast.p95
    )
    counted, memory, roomy = each.counted, task.is_memory, each.counted.roomy
    by_source = {name: _slice(each.take(each.source == name)) for name in sorted(set(each.source.tolist()))}
    judged = [part for name, part in by_source.items() if name in counted.source]
    flagged = (forecast.p95 > found.usable)[found.lower_bound]
    return Score(
        task=task,
        grouping=grouping,
        overall=_slice(counted),
        source_mean=float(np.mean([part.learned for part in judged])),
        source_mean_arithmetic=float(np.mean([part.arithmetic for part in judged])),
        by_source=by_source,
        over_provision=float(counted.over_provision.mean()) if memory else None,
        out_of_memory_flagged=int(flagged.sum()) if memory else None,
        out_of_memory=len(flagged) if memory else None,
        refused_roomy=float(counted.refused[roomy].mean()) if roomy.any() else None,
        folds=tuple(fold_ids(folds, found.ids)),
        each=each,
    )


def _slice(part: Configurations) -> Slice:
    return Slice(
        configurations=len(part),
        learned=float(np.median(part.learned)),
        arithmetic=float(np.median(part.arithmetic)),
        covered=float(part.covered.mean()),
    )


def configuration_errors(configuration: NDArray[np.str_], forecast: Floats, measured: Floats) -> Floats:
    """|forecast / measured - 1| of each configuration, both as medians over its rows; arguments are logarithms."""
    order = np.argsort(configuration, kind="stable")
    starts = np.flatnonzero(np.r_[True, configuration[order][1:] != configuration[order][:-1]])[1:]
    pairs = zip(np.split(forecast[order], starts), np.split(measured[order], starts), strict=True)
    return np.array([abs(np.median(np.exp(said)) / np.median(np.exp(was)) - 1.0) for said, was in pairs])


def score_table(scores: Sequence[Score]) -> list[str]:
    """Lines for people: one per task and grouping, then one per source; last the memory of both tasks together."""
    lines = [_row("TASK", "HELD OUT BY", "CONFIGS", "ERROR", "ARITHMETIC", "COVERED", "SOURCE MEAN")] if scores else []
    for one in scores:
        lines.append(_slice_row(str(one.task), one.grouping, one.overall, _percent(one.source_mean)) + _memory(one))
        lines += [_slice_row("", f"  {source}", part, "") for source, part in one.by_source.items()]
    return lines + total_table(memory_totals(scores))


def _slice_row(task: str, group: str, part: Slice, mean: str) -> str:
    shares = (_percent(part.learned), _percent(part.arithmetic), _percent(part.covered))
    return _row(task, group, f"{part.configurations:,}", *shares, mean)


def _row(task: str, group: str, *cells: str) -> str:
    return f"{task:16} {group:20}" + "".join(f" {cell:>11}" for cell in cells)


def _memory(one: Score) -> str:
    if one.over_provision is None:
        return ""
    refused = "" if one.refused_roomy is None else f", {_percent(one.refused_roomy)} of roomy runs refused"
    flagged = f", {one.out_of_memory_flagged} of {one.out_of_memory} out-of-memory flagged" if one.out_of_memory else ""
    return f"  over-provision {_percent(one.over_provision)}{flagged}{refused}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
