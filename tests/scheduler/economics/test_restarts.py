"""What interruptions and checkpoints add to a run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.economics.restarts import Drawn, Upkeep, best_interval_s, draw_out

HOUR = 3600.0
UPKEEP = Upkeep(interruptions_per_hour=0.05, write_s=60.0, blocking=1.0, restart_s=300.0)


def drawn(work_s: float, **changes: Any) -> Drawn:
    found = draw_out(work_s, replace(UPKEEP, **changes))
    assert found is not None
    return found


def test_the_best_interval_is_young_s_with_daly_s_further_terms() -> None:
    # sqrt(2 × 60 × 72,000) = 2,939.39 s; (60 / 144,000)^½ / 3 = 0.006804; 60 / 144,000 / 9 = 0.0000463
    assert best_interval_s(60.0, 72_000.0) == pytest.approx(2939.388 * (1 + 0.006804 + 0.0000463) - 60, abs=0.01)
    assert math.isinf(best_interval_s(60.0, math.inf))


def test_no_interval_beats_the_best_one_by_a_hundredth_of_a_per_cent() -> None:
    best = drawn(100 * HOUR).total_s
    tried = [drawn(100 * HOUR, interval_s=float(every)).total_s for every in range(300, 20_000, 100)]
    assert min(tried) > best * (1 - 1e-4)


def test_a_rare_interruption_loses_half_an_interval_and_the_way_back() -> None:
    found = drawn(100 * HOUR, interruptions_per_hour=1e-5, interval_s=2000.0)
    # half of 2,000 s of work and 60 s of writing, then 300 s to restart and 60 s to read
    assert found.lost_s / found.interruptions == pytest.approx(1030 + 360, rel=1e-3)
    assert found.checkpoint_s == 180 * 60


def test_the_mean_of_runs_that_are_drawn_is_what_is_expected() -> None:
    expected = drawn(20 * HOUR, interruptions_per_hour=0.5, interval_s=2 * HOUR)
    rng = np.random.default_rng(3)
    totals = []
    for _ in range(4000):
        total, back, pieces = 0.0, 0.0, 10
        while pieces:
            needed, until = back + 2 * HOUR + 60, rng.exponential(2 * HOUR)
            # the way back must go through without an interruption of its own before the piece is tried
            if until >= needed:
                total, pieces, back = total + needed, pieces - 1, 0.0
            else:
                total, back = total + until, 360.0
        totals.append(total)
    # the formula is exact for this course of things: three standard errors, 0.6 % each
    assert np.mean(totals) == pytest.approx(expected.total_s, rel=0.02)
    assert np.std(totals) / np.sqrt(len(totals)) < 0.007 * expected.total_s


def test_writing_beside_the_work_stops_nothing_and_loses_what_was_not_complete() -> None:
    found = drawn(100 * HOUR, interruptions_per_hour=1e-5, interval_s=2000.0, blocking=0.0)
    assert found.checkpoint_s == 0.0
    assert found.lost_s / found.interruptions == pytest.approx(1000 + 360 + 60, rel=1e-3)


def test_a_checkpoint_is_begun_when_the_one_before_is_written() -> None:
    assert drawn(10 * HOUR, blocking=0.0, write_s=700.0).interval_s == 700.0


def test_a_run_saves_itself_at_its_end_at_the_latest() -> None:
    found = drawn(100.0, interruptions_per_hour=0.0)
    assert (found.interval_s, found.total_s) == (100.0, 160.0)


def test_a_run_that_never_gets_to_a_checkpoint_is_hopeless() -> None:
    assert draw_out(1000 * HOUR, replace(UPKEEP, interruptions_per_hour=100.0, interval_s=10 * HOUR)) is None


@given(st.floats(0, 2), st.floats(0, 2), st.floats(1, 1e7), st.floats(0, 1), st.floats(0.01, 1e4))
def test_more_interruptions_never_end_sooner(
    one: float, other: float, work_s: float, blocking: float, write_s: float
) -> None:
    few, many = sorted((one, other))
    asked = replace(UPKEEP, write_s=write_s, blocking=blocking, interval_s=1800.0)
    rare = draw_out(work_s, replace(asked, interruptions_per_hour=few))
    often = draw_out(work_s, replace(asked, interruptions_per_hour=many))
    assert often is None or (rare is not None and rare.total_s <= often.total_s * (1 + 1e-9))
