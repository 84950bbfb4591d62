"""What a policy's replay comes to: money, crashes, waste, waits, deadlines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.money import micros_to_usd
from scheduler.replay.attempts import Columns, Journal
from scheduler.replay.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One policy's replay."""

    policy: str
    says: str
    jobs: int
    total_usd: Decimal
    usd_per_job: Decimal
    regret: float | None
    """Total over the oracle's, minus one; None until there is an oracle to compare with."""
    out_of_memory: int
    """Attempts that ran out of memory."""
    oom_rate: float
    """Of them per job."""
    wasted_gpu_hours: float
    """Billed, but not spent on work that was kept: provisioning, start-up, crashed attempts, billing steps."""
    wasted_gib_hours: float | None
    """Memory of billed GPUs that the work did not need; None where the need was not measured."""
    utilisation: float
    """Share of the billed GPU time that was spent on work that was kept."""
    wait_p50_s: float
    """From submission to the beginning of the work that was kept: queue, provisioning, start-up, crashed attempts."""
    wait_p95_s: float
    queued_p95_s: float
    """The part of it that was spent waiting for free GPUs before the first attempt."""
    deadlines: int
    """Jobs that had one."""
    deadlines_missed: int
    asked_without_deadline: int
    """Jobs that could not be promised their deadline, and were asked again without it."""
    asked_for_likeliest: int
    """Jobs that fit nowhere with the asked probability, and were asked again for the likeliest place."""
    usd_by_gpu_type: dict[str, Decimal]
    usd_by_price_month: dict[str, Decimal]
    """At prices dated then."""

    def to_json(self) -> dict[str, Any]:
        """Everything, money as text."""
        return {name: _json(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One cell per job."""

    wait_s: Floats
    queued_s: Floats
    end_s: Floats
    missed: Flags
    cost_micros: Ints


def timeline(world: World, columns: Columns) -> Timeline:
    """When each job began and ended, and what it cost in all."""
    jobs = world.jobs
    count = len(jobs)
    ended = columns.job[columns.completed]
    if len(ended) != count or len(np.unique(ended)) != count:
        raise AssertionError(f"{count} jobs, but {len(ended)} ends")
    order = np.argsort(ended)
    kept = np.flatnonzero(columns.completed)[order]
    end_s = columns.placed_s[kept] + columns.used_s[kept]
    first = np.full(count, np.inf)
    np.minimum.at(first, columns.job, columns.placed_s)
    return Timeline(
        wait_s=end_s - columns.run_s[kept] - jobs.submit_s,
        queued_s=first - jobs.submit_s,
        end_s=end_s,
        missed=end_s > jobs.deadline_s,
        cost_micros=np.bincount(columns.job, weights=columns.cost_micros, minlength=count).astype(np.int64),
    )


def measure(world: World, *, policy: str, says: str, journal: Journal, oracle_micros: int | None) -> Figures:
    """Add up one policy's replay."""
    columns = journal.columns()
    times = timeline(world, columns)
    micros = int(columns.cost_micros.sum())
    billed_h = float((columns.billed_s * columns.gpu_count).sum()) / 3600
    kept_h = float((columns.run_s * columns.gpu_count)[columns.completed].sum()) / 3600
    crashed = int((~columns.completed).sum())
    count = len(world.jobs)
    return Figures(
        policy=policy,
        says=says,
        jobs=count,
        total_usd=micros_to_usd(micros),
        usd_per_job=micros_to_usd(round(micros / count)),
        regret=None if oracle_micros is None else micros / oracle_micros - 1,
        out_of_memory=crashed,
        oom_rate=crashed / count,
        wasted_gpu_hours=billed_h - kept_h,
        wasted_gib_hours=_wasted_gib_hours(world, columns),
        utilisation=kept_h / billed_h,
        wait_p50_s=float(np.quantile(times.wait_s, 0.5)),
        wait_p95_s=float(np.quantile(times.wait_s, 0.95)),
        queued_p95_s=float(np.quantile(times.queued_s, 0.95)),
        deadlines=int(np.isfinite(world.jobs.deadline_s).sum()),
        deadlines_missed=int(times.missed.sum()),
        asked_without_deadline=len(journal.late),
        asked_for_likeliest=len(journal.unlikely),
        usd_by_gpu_type=_by(columns, _gpu_types(world, columns)),
        usd_by_price_month=_by(
            columns, [world.market.stock.offers[at].price_date[:7] for at in columns.offer.tolist()]
        ),
    )


def _gpu_types(world: World, columns: Columns) -> list[str]:
    kinds = world.jobs.kind[columns.job].tolist()
    return [world.classes[kind].truth.gpu_type[row] for kind, row in zip(kinds, columns.row.tolist(), strict=True)]


def _wasted_gib_hours(world: World, columns: Columns) -> float | None:
    total = 0.0
    kinds = world.jobs.kind[columns.job].tolist()
    use = zip(
        kinds, columns.job.tolist(), columns.row.tolist(), columns.gpu_count.tolist(), columns.billed_s.tolist(),
        columns.run_s.tolist(), columns.completed.tolist(), strict=True,
    )  # fmt: skip
    for kind, job, row, gpus, billed_s, run_s, completed in use:
        peak = world.peak_gib(kind, job, row)
        if peak is None:
            return None
        total += gpus * float(world.classes[kind].truth.usable_gib[row]) * billed_s
        total -= gpus * peak * run_s if completed else 0.0
    return total / 3600


def _by(columns: Columns, names: list[str]) -> dict[str, Decimal]:
    sums: Counter[str] = Counter()
    for name, micros in zip(names, columns.cost_micros.tolist(), strict=True):
        sums[name] += micros
    return {name: micros_to_usd(micros) for name, micros in sums.most_common()}


def _json(value: object) -> object:
    match value:
        case Decimal():
            return str(value)
        case dict():
            return {name: _json(one) for name, one in value.items()}
        case float():
            return round(value, 6)
    return value
