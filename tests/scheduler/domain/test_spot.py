"""Interruptible machines: what they are expected to cost in time, and where the figures come from."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.errors import InvalidFacts
from predictor.workload import Software
from predictor.workloads.spec import resolve
from scheduler.domain.spot import CHECKPOINT_S, NEVER_S, at_most, checkpoint_s, load_hazards, slowdown, spot_note
from tests.support.offers import make_custom_spec, make_offer, make_spec


def factor(run_s: float, restart_s: float, per_hour: float, every_s: float) -> float:
    return float(slowdown(np.array([run_s]), np.array([restart_s]), np.array([per_hour]), every_s)[0])


def within(run_s: float, restart_s: float, per_hour: float, every_s: float, probability: float) -> float:
    found = at_most(np.array([run_s]), np.array([restart_s]), np.array([per_hour]), every_s, probability)
    return float(found[0])


def test_on_demand_takes_as_long_as_the_work() -> None:
    assert factor(3600, 300, 0.0, CHECKPOINT_S) == 1.0


@pytest.mark.parametrize(
    ("run_s", "restart_s", "per_hour", "every_s"),
    [(36_000, 600, 0.5, 1800), (1_000, 60, 2.0, math.inf), (200_000, 900, 0.02, 1800)],
)
def test_the_formula_is_what_a_simulation_of_interruptions_gives(
    run_s: float, restart_s: float, per_hour: float, every_s: float
) -> None:
    draw = np.random.default_rng(1)
    took = [interrupted(draw, run_s, restart_s, per_hour / 3600, min(every_s, run_s)) for _ in range(4000)]
    assert float(np.mean(took)) == pytest.approx(run_s * factor(run_s, restart_s, per_hour, every_s), rel=0.03)


@pytest.mark.parametrize("probability", [0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("run_s", "restart_s", "per_hour", "every_s"),
    [(36_000, 600, 0.1, 1800), (36_000, 600, 0.5, 1800), (1_000, 60, 2.0, math.inf), (200_000, 900, 0.02, 1800)],
)
def test_what_is_promised_of_interrupted_work_is_kept_as_often_as_it_is_promised(
    run_s: float, restart_s: float, per_hour: float, every_s: float, probability: float
) -> None:
    draw = np.random.default_rng(2)
    took = [interrupted(draw, run_s, restart_s, per_hour / 3600, min(every_s, run_s)) for _ in range(2000)]
    promised = within(run_s, restart_s, per_hour, every_s, probability)
    # of 2,000 runs three standard deviations: at most 3.4 points
    assert float(np.mean(np.array(took) <= promised)) >= probability - 3 * math.sqrt(0.25 / 2000)
    assert run_s <= promised < 7 * run_s


def test_no_deadline_is_promised_to_work_that_is_interrupted_before_it_gets_on() -> None:
    assert within(360_000, 600, 4.0, math.inf, 0.9) == NEVER_S
    assert within(360_000, 600, 0.0, math.inf, 0.9) == 360_000


def interrupted(draw: np.random.Generator, run_s: float, restart_s: float, rate: float, every_s: float) -> float:
    """One run: what is left since the last checkpoint is done again after each interruption."""
    clock = saved = 0.0
    next_interruption = draw.exponential(1 / rate)
    while saved < run_s:
        until_saved = min(every_s, run_s - saved)
        if clock + until_saved <= next_interruption:
            clock += until_saved
            saved += until_saved
            continue
        # Daly counts the restart as work that may itself be interrupted only by what comes after it
        clock = next_interruption + restart_s
        next_interruption = clock + draw.exponential(1 / rate)
    return clock


@given(st.floats(1, 1e8), st.floats(0, 3600), st.floats(0, 100), st.sampled_from([1800.0, math.inf]))
def test_interruptions_never_save_time_and_never_leave_the_numbers(
    run_s: float, restart_s: float, per_hour: float, every_s: float
) -> None:
    found = factor(run_s, restart_s, per_hour, every_s)
    assert math.isfinite(found)
    assert found >= 1.0


def test_published_figures_go_before_the_assumption() -> None:
    published = load_hazards().of(
        make_offer(provider="aws", region="il-central-1", instance_type="g5.16xlarge", spot_micros_per_gpu_hour=1)
    )
    assert not published.assumed
    assert 1 - math.exp(-730 * published.per_hour) == pytest.approx(0.5)  # its band is open: more than 20 % a month
    elsewhere = load_hazards().of(make_offer(provider="verda"))
    assert elsewhere.assumed
    assert 1 - math.exp(-24 * elsewhere.per_hour) == pytest.approx(0.15)


def test_custom_work_begins_again_and_says_so() -> None:
    custom = resolve(make_custom_spec().workload, load_models(), Software())
    training = resolve(make_spec().workload, load_models(), Software())
    assert math.isinf(checkpoint_s(custom))
    hazard = load_hazards().of(make_offer(provider="verda"))
    assert spot_note(hazard, custom).endswith("the job then begins again (assumed)")
    assert "15 % of days (assumed)" in spot_note(hazard, training)
    assert "every 30 min" in spot_note(hazard, training)


def test_a_share_that_cannot_be_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "spot.csv"
    path.write_text(
        "provider,region,instance_type,monthly_share_from,monthly_share_to,as_of,source\naws,x,y,0.2,0.1,2026-08,test\n"
    )
    with pytest.raises(InvalidFacts, match="line 2"):
        load_hazards(path)
