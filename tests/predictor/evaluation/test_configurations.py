"""What is judged is one row a configuration, and nothing is counted twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictor.evaluation.configurations import ROOMY, TOYS, Configurations, configurations
from predictor.evaluation.totals import share_interval
from predictor.features import Task
from predictor.learned.samples import Samples, samples
from predictor.telemetry import SECOND_READINGS
from predictor.words import VramMetric
from tests.predictor.observations import invented_world, observe, raw_training


def found(count: int = 6) -> Samples:
    measured = [one for one in samples_of_memory() if not one.lower_bound.any()][:count]
    return measured[0].take(np.zeros(count, dtype=np.intp)) if not measured else _joined(measured)


def samples_of_memory() -> list[Samples]:
    every = samples(Task.TRAINING_MEMORY, invented_world())
    return [every.take(np.array([row])) for row in range(len(every))]


def _joined(parts: list[Samples]) -> Samples:
    return Samples(*(np.concatenate([getattr(part, name) for part in parts]) for name in Samples.__slots__))


def judged(rows: Samples, above: float = 0.1) -> Configurations:
    said = rows.arithmetic
    return configurations(rows, is_memory=True, p10=said - above, p50=said, p90=said + above, p95=said + above)


def test_repeats_are_one_configuration_whose_slip_counts_for_nothing() -> None:
    once = found(1)
    repeats = _joined([once] * 5)
    slip = replace(repeats, measured=repeats.measured + np.array([0.0, 0.0, 0.0, 0.0, 3.0]))
    assert len(judged(slip)) == 1
    assert judged(slip).learned == pytest.approx(judged(once).learned)


def test_a_second_reading_of_a_run_is_not_judged() -> None:
    both = samples(
        Task.TRAINING_MEMORY, [observe(raw_training(peak_vram_gib=21.5, vram_metric="driver", peak_allocated_gib=18.0))]
    )
    mark = SECOND_READINGS[VramMetric.ALLOCATED]
    assert sorted(str(one).endswith(mark) for one in both.ids) == [False, True]
    each = judged(both)
    first = both.take(~np.char.endswith(both.ids, mark))
    assert len(each) == 1
    assert each.learned == pytest.approx(judged(first).learned)


def test_runs_out_of_memory_are_no_measurements() -> None:
    rows = found(4)
    assert len(judged(replace(rows, lower_bound=np.array([True, False, False, False])))) == 3


def test_toys_have_no_part_in_the_totals_unless_there_is_nothing_else() -> None:
    rows = found(4)
    toys = np.array([TOYS[0], TOYS[0], "lab", "lab"])
    assert len(judged(replace(rows, source=toys)).counted) == 2
    assert len(judged(replace(rows, source=np.array([TOYS[0]] * 4))).counted) == 4


def test_a_run_is_roomy_below_the_share_and_refused_above_the_card() -> None:
    rows = found(1)
    tight = replace(rows, usable=rows.measured + 0.01)
    wide = replace(rows, usable=rows.measured - np.log(ROOMY) + 0.01)
    assert not judged(tight).roomy[0]
    assert judged(wide).roomy[0]
    assert judged(wide, above=5.0).refused[0]
    assert not judged(wide, above=0.0).refused[0] or rows.arithmetic[0] > wide.usable[0]


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson() -> None:
    low, high = share_interval(53, 55)
    # from the beta quantiles B(0.025; 53, 3) and B(0.975; 54, 2)
    assert low == pytest.approx(0.8747, abs=0.001)
    assert high == pytest.approx(0.9956, abs=0.001)
    assert share_interval(0, 0) == (0.0, 1.0)
