"""What a training run costs and how long it takes on every offer, with all that it needs beside its steps.

The work is the predictor's forecast for each count and layout, so more GPUs help as far as it says, no further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from predictor.forecast import Forecast, Question
from predictor.hardware import GpuCatalogue
from predictor.workload import TrainingWorkload
from predictor.workloads.numbers import training_numbers
from scheduler.domain.candidates import Cell, enumerate_candidates
from scheduler.domain.money import billed_seconds, cost_micros
from scheduler.domain.offers import Offer
from scheduler.domain.spec import Constraints
from scheduler.domain.stock import Inventory, Lot
from scheduler.economics.restarts import Drawn, Upkeep, draw_out
from scheduler.economics.serving import Forecaster

GIB = 2**30
MONTH_S = 730 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run meets and does beside its steps."""

    failures_per_gpu_hour: float
    restart_s: float | None
    """From an interruption to the reading of the last checkpoint; None: order and start of a machine as forecast."""
    bytes_per_s: float
    """That one machine writes and reads of a checkpoint; machines write their parts at the same time."""
    blocking: float
    interval_s: float | None
    evaluation_share: float
    """Seconds of evaluation for each second of training."""
    checkpoints_kept: int
    storage_micros_per_gib_month: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """Time and money of a run at one quantile of its forecast."""

    wall_s: float
    """From the order of the machines to the end."""
    evaluation_s: float
    drawn: Drawn
    """Training and evaluation, with checkpoints and interruptions."""
    machine_micros: int
    storage_micros: int

    @property
    def micros(self) -> int:
        """All of it."""
        return self.machine_micros + self.storage_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """The run on some GPUs of one offer, in the fastest layout that fits there."""

    offer: Offer
    gpu_count: int
    spot: bool
    micros_per_hour: int
    """Of all GPUs together."""
    question: Question
    forecast: Forecast
    interruptions_per_hour: float
    write_s: float
    """To write one checkpoint."""
    low: Takes
    """At the forecast's p10, as `mid` and `high` are at p50 and p90."""
    mid: Takes
    high: Takes
    smallest_count: int
    """The fewest GPUs of the offer that the run fits on."""
    scaling_efficiency: float = 1.0
    """Throughput per GPU over that on the smallest count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRuns:
    """The run everywhere, the cheapest first."""

    runs: tuple[TrainingRun, ...]
    unfit: tuple[tuple[str, int], ...]
    """GPU types and counts that are sold and allowed, and on no layout of which the run fits."""
    hopeless: tuple[tuple[str, int], ...]
    """Those on which it is interrupted so often that it hardly ever reaches a checkpoint."""
    checkpoint_gib: float

    def pareto(self) -> tuple[TrainingRun, ...]:
        """From the cheapest to the soonest: each is sooner than all that are cheaper."""
        front: list[TrainingRun] = []
        for run in self.runs:
            if not front or run.mid.wall_s < front[-1].mid.wall_s:
                front.append(run)
        return tuple(front)

    def best_of_each_type(self) -> tuple[TrainingRun, ...]:
        """The cheapest of every GPU type."""
        first: dict[str, TrainingRun] = {}
        for run in self.runs:
            first.setdefault(run.question.gpu.name, run)
        return tuple(first.values())


def checkpoint_bytes(workload: TrainingWorkload) -> float:
    """Of a checkpoint to go on from: what is trained, its FP32 copy where there is one, and the optimizer's states.

    A frozen base is read again from where it came from.
    """
    numbers = training_numbers(workload)
    each = numbers["trained_weight_bytes"] + numbers["master_bytes"] + numbers["state_bytes"]
    return numbers["trained_parameters"] * each


def training_runs(
    workload: TrainingWorkload,
    constraints: Constraints,
    terms: Terms,
    inventory: Inventory,
    gpus: GpuCatalogue,
    predictor: Forecaster,
) -> TrainingRuns:
    """Price the run on every offer and count that the constraints allow, each in its fastest layout that fits."""
    proposals = enumerate_candidates(constraints, workload, inventory, gpus)
    forecasts = predictor.forecast(proposals.questions) if proposals.questions else ()
    best_of_group = [_fastest(cells, forecasts, constraints) for cells in proposals.board.cells]
    size = checkpoint_bytes(workload)
    runs: list[TrainingRun] = []
    unfit: set[tuple[str, int]] = set()
    hopeless: set[tuple[str, int]] = set()
    for place, group in zip(proposals.places.tolist(), proposals.groups.tolist(), strict=True):
        lot, best = inventory.stock.lot(place), best_of_group[group]
        if best is None:
            unfit.add((lot.offer.gpu_type, lot.gpu_count))
            continue
        hazard = float(inventory.stock.lot_hazard[place])
        run = _run(lot, hazard, proposals.questions[best], forecasts[best], terms, size)
        if run is None:
            hopeless.add((lot.offer.gpu_type, lot.gpu_count))
        else:
            runs.append(run)
    runs = _with_efficiency(runs)
    runs.sort(key=lambda one: (one.mid.micros, one.mid.wall_s, one.gpu_count, one.offer.provider, one.offer.region,
                               one.offer.id))  # fmt: skip
    return TrainingRuns(
        runs=tuple(runs), unfit=tuple(sorted(unfit)), hopeless=tuple(sorted(hopeless)), checkpoint_gib=size / GIB
    )


def _fastest(cells: Sequence[Cell], forecasts: Sequence[Forecast], constraints: Constraints) -> int | None:
    """The question of the fastest layout; a name that means several cards promises the slowest of them."""
    found: list[tuple[float, int]] = []
    for cell in cells:
        fitting = [
            (runtime.p50, place)
            for place in cell.questions
            if (runtime := forecasts[place].runtime_s) is not None
            and (forecasts[place].fit_probability or 0.0) >= constraints.min_fit_probability
        ]
        if fitting and len(fitting) == len(cell.questions):
            found.append(max(fitting))
    return min(found)[1] if found else None


def _run(
    lot: Lot, hazard: float, question: Question, forecast: Forecast, terms: Terms, size: float
) -> TrainingRun | None:
    offer, runtime = lot.offer, forecast.runtime_s
    assert runtime is not None  # noqa: S101 - chosen for it
    machines = -(-lot.gpu_count // offer.node_gpus)
    per_hour = terms.failures_per_gpu_hour * lot.gpu_count + hazard
    write_s = size / (machines * terms.bytes_per_s)
    before_s = offer.provision_s + forecast.startup_s
    upkeep = Upkeep(
        interruptions_per_hour=per_hour,
        write_s=write_s,
        blocking=terms.blocking,
        restart_s=before_s if terms.restart_s is None else terms.restart_s,
        interval_s=terms.interval_s,
    )
    low, mid, high = (
        _takes(lot, seconds, before_s, upkeep, terms, size) for seconds in (runtime.p10, runtime.p50, runtime.p90)
    )
    if low is None or mid is None or high is None:
        return None
    return TrainingRun(
        offer=offer,
        gpu_count=lot.gpu_count,
        spot=lot.spot,
        micros_per_hour=lot.micros_per_gpu_hour * lot.gpu_count,
        question=question,
        forecast=forecast,
        interruptions_per_hour=per_hour,
        write_s=write_s,
        low=low,
        mid=mid,
        high=high,
        smallest_count=lot.gpu_count,
    )


def _takes(lot: Lot, run_s: float, before_s: float, upkeep: Upkeep, terms: Terms, size: float) -> Takes | None:
    evaluation_s = run_s * terms.evaluation_share
    drawn = draw_out(run_s + evaluation_s, upkeep)
    if drawn is None:
        return None
    wall_s = before_s + drawn.total_s
    billed = billed_seconds(wall_s, increment_s=lot.offer.billing_increment_s, minimum_s=lot.offer.minimum_s)
    return Takes(
        wall_s=wall_s,
        evaluation_s=evaluation_s,
        drawn=drawn,
        machine_micros=cost_micros(lot.micros_per_gpu_hour, lot.gpu_count, billed),
        storage_micros=_storage_micros(size, drawn, terms),
    )


def _storage_micros(size: float, drawn: Drawn, terms: Terms) -> int:
    """Of as many checkpoints as are kept, for as long as the run takes."""
    gib = Decimal(repr(size)) / GIB * terms.checkpoints_kept
    exact = gib * terms.storage_micros_per_gib_month * Decimal(repr(drawn.total_s)) / MONTH_S
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _with_efficiency(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """The same runs beside the smallest count of their offer: on demand and spot machines are equally fast."""
    smallest: dict[object, TrainingRun] = {}
    for run in sorted(runs, key=lambda one: one.gpu_count):
        smallest.setdefault(run.offer.id, run)
    return [
        replace(run, smallest_count=first.gpu_count, scaling_efficiency=_gpu_seconds(first) / _gpu_seconds(run))
        for run in runs
        for first in (smallest[run.offer.id],)
    ]


def _gpu_seconds(run: TrainingRun) -> float:
    """Of the bare work: its reciprocal is the throughput per GPU."""
    assert run.forecast.runtime_s is not None  # noqa: S101 - chosen for it
    return run.forecast.runtime_s.p50 * run.gpu_count
