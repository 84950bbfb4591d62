"""The best number of sequences in flight: as many as serve more, fit, and keep the limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from predictor.architectures.catalogue import load_models
from predictor.forecast import Question
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.workload import InferenceWorkload
from predictor.workloads.spec import parse_workload
from scheduler.economics.serving import Bound, Limits, Operating, Stop, best_operating
from tests.support.serving import Server


def question(layout: Layout = Layout()) -> Question:  # noqa: B008 - it is frozen
    workload = parse_workload(
        {"type": "inference", "model": "Qwen/Qwen2.5-7B", "num_requests": 1, "input_length": 1000, "output_length": 11},
        load_models(),
    )
    return Question(workload=workload, gpu=load_gpu_types().get("H100-SXM"), layout=layout)


def best(server: Server, limits: Limits | None = None, asked: Question | None = None) -> Operating | None:
    return best_operating([asked or question()], server, limits or Limits())[0]


def found(server: Server, limits: Limits | None = None, asked: Question | None = None) -> Operating:
    point = best(server, limits, asked)
    assert point is not None
    return point


def test_more_are_in_flight_as_long_as_they_serve_more() -> None:
    point = found(Server(most=8))
    assert (point.in_flight, point.stopped_by) == (8, Stop.RATE)
    assert point.request_s.p50 == pytest.approx(0.5 + 12 / 8)


def test_memory_stops_them() -> None:
    point = found(Server(most=64, holds=20))
    assert (point.in_flight, point.stopped_by) == (16, Stop.MEMORY)


def test_what_does_not_fit_alone_is_served_nowhere() -> None:
    assert best(Server(holds=0)) is None


def test_a_request_stays_as_long_as_littles_law_says() -> None:
    point = found(Server(most=8))
    # 8 in flight at half a request a second stay 16 s: 0.5 s for the own prompt, the rest for 10 further tokens
    assert point.tpot_s.p50 == pytest.approx((8 * 2.0 - 0.5) / 10)
    assert point.ttft_s.p50 == pytest.approx(0.5 + point.tpot_s.p50)


def test_a_limit_stops_them_at_the_forecasts_p90() -> None:
    # B in flight stay 12 + B / 2 seconds: a token takes 1.25 s with 2 of them and 1.35 s with 4, a quarter more at p90
    point = found(Server(most=8), Limits(tpot_s=1.25 * 1.3))
    assert (point.in_flight, point.stopped_by) == (2, Stop.LATENCY)
    assert best(Server(), Limits(ttft_s=0.1)) is None


def test_every_replica_has_its_own() -> None:
    point = found(Server(most=64, holds=1000), asked=question(Layout(gpu_count=4, data_parallel=4)))
    assert point.in_flight == 64
    assert point.ttft_s.p50 == pytest.approx(4 * 0.5 + point.tpot_s.p50), "a prompt is read by one replica of four"


def test_each_phase_says_what_it_waits_for() -> None:
    phases = found(Server(most=8)).phases
    assert (phases.prefill_bound, phases.decode_bound) == (Bound.COMPUTE, Bound.MEMORY)
    assert phases.prefill == pytest.approx(0.25)
    assert phases.prefill + phases.decode == pytest.approx(1.0)


def test_a_phase_that_is_not_there_waits_for_nothing() -> None:
    asked = question()
    assert isinstance(asked.workload, InferenceWorkload)
    alone = replace(asked, workload=replace(asked.workload, output_length=0.0))
    phases = found(Server(most=8), asked=alone).phases
    assert (phases.prefill, phases.prefill_bound) == (1.0, Bound.COMPUTE)
    assert (phases.decode, phases.decode_bound) == (0.0, None)


def test_points_come_in_the_order_of_the_questions() -> None:
    small, large = question(), question(Layout(gpu_count=2, tensor_parallel=2))
    points = best_operating([small, large, small], Server(), Limits())
    assert [point.question.layout.gpu_count for point in points if point] == [1, 2, 1]
