"""What fits, what a crash teaches, and that more memory never hurts."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from predictor.forecast import Forecast, Vram
from predictor.layout import Layout
from predictor.words import Basis
from scheduler.domain.fit import Tried, judge_fit
from scheduler.domain.verdicts import Code

ONE = Layout()


def forecast(need: float | None, usable: float | None, *, spread: float = 1.1, fits: float | None = None) -> Forecast:
    vram = None if need is None else Vram(p50_gib=need, p95_gib=need * spread)
    return Forecast(
        gpu_type="ANY", layout=ONE, peak_vram=vram, usable_vram_gib=usable, fit_probability=fits, vram_breakdown=None,
        tokens_per_second=None, step_time_s=None, runtime_s=None, startup_s=0, max_batch_size=None,
        basis=Basis.ARITHMETIC, in_domain=True, assumptions=(), model_version="x",
    )  # fmt: skip


def crash(need: float | None, usable: float, gpu_type: str = "SMALL") -> Tried:
    return Tried(gpu_type=gpu_type, layout=ONE, usable_gib=usable, need_p50_gib=need)


def test_too_little_memory_is_told_in_gib() -> None:
    verdict = judge_fit("ANY", forecast(50, 45, fits=0.1), (), 0.95).verdict
    assert verdict is not None
    assert verdict.code is Code.VRAM
    assert verdict.number is not None
    assert math.isclose(verdict.number, 10.0)


def test_a_fit_that_is_likely_but_not_likely_enough_is_told_as_a_probability() -> None:
    verdict = judge_fit("ANY", forecast(30, 45, fits=0.97), (), 0.99).verdict
    assert verdict is not None
    assert (verdict.code, verdict.number) == (Code.FIT_PROBABILITY, 0.97)


def test_work_that_needs_memory_does_not_run_on_a_host_without_any() -> None:
    verdict = judge_fit("CPU", forecast(2, None), (), 0.95).verdict
    assert verdict is not None
    assert verdict.code is Code.VRAM


def test_work_without_a_memory_figure_may_run_anywhere() -> None:
    assert judge_fit("CPU", forecast(None, None), (), 0.95).verdict is None


def test_the_same_placement_is_never_tried_twice() -> None:
    verdict = judge_fit("SMALL", forecast(20, 1000, fits=1.0), [crash(20, 24)], 0.95).verdict
    assert verdict is not None
    assert verdict.code is Code.TRIED


@given(st.floats(1, 100), st.floats(1, 100), st.floats(0.1, 10))
def test_what_has_no_more_headroom_than_the_crash_is_out(need: float, usable: float, scale: float) -> None:
    # headroom carries over: another layout with a tenth of the need on a tenth of the memory is the same crash again
    found = judge_fit("ANY", forecast(need * scale, usable * scale * 0.999, fits=1.0), [crash(need, usable)], 0.95)
    if usable >= need:
        assert found.verdict is not None


@given(st.floats(1, 100), st.floats(1.0, 3.0), st.floats(1.01, 2.0))
def test_twice_the_headroom_is_always_worth_a_try(need: float, headroom: float, spread: float) -> None:
    tried = [crash(need, need * headroom)]
    roomy = forecast(need, need * headroom * 2.01, spread=spread, fits=1.0)
    assert judge_fit("ANY", roomy, tried, 0.95).verdict is None


@given(st.floats(1, 100), st.floats(1.0, 3.0), st.floats(1, 400), st.floats(1, 400))
def test_more_memory_never_makes_a_fit_less_likely(need: float, headroom: float, one: float, other: float) -> None:
    small, large = sorted((one, other))
    tried = [crash(need, need * headroom)]
    chances = [judge_fit("ANY", forecast(need, usable, fits=1.0), tried, 0.95).probability for usable in (small, large)]
    assert chances[0] <= chances[1]


def test_without_a_forecast_a_crash_rules_out_what_is_no_larger() -> None:
    tried = [crash(None, 24)]
    assert judge_fit("ANY", forecast(None, 24), tried, 0.95).verdict is not None
    assert judge_fit("ANY", forecast(None, 45), tried, 0.95).verdict is None
