"""The simulation against measured serving: what it makes of a ladder, at a load that the ladder does not hold."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from statistics import median, quantiles

import numpy as np

from predictor.workload import InferenceWorkload
from scheduler.economics.fleet_deployment import rates_between
from scheduler.economics.fleet_simulation import simulate
from tests.predictor.observations import real_observations

SOURCES = ("aic_silicon", "inferencemax")
"""Closed loops: so many sequences in flight all the time."""


def ladders() -> list[dict[int, float]]:
    """Of each configuration that was timed with several numbers in flight: requests a second."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in real_observations():
        work = one.question.workload
        if one.source in SOURCES and one.runtime_s and isinstance(work, InferenceWorkload):
            plain = (
                work.architecture.id, work.precision, work.input_length, work.output_length, one.question.gpu.name,
                one.question.layout.to_json(), str(work.software),
            )  # fmt: skip
            found[json.dumps(plain)][work.max_batch_size or 1].append(work.num_requests / one.runtime_s)
    return [{held: median(rates) for held, rates in steps.items()} for steps in found.values()]


def test_a_measured_load_between_two_others_comes_out_as_measured() -> None:
    """Leave out one step, hold that many in flight, compare the rate.

    Steps of the measured ladders are two to four times apart, those that a fleet is simulated on at most 1.5 times;
    repeats of one configuration at fixed software spread by 3 to 10 %. So 5 % at the median and 10 % at p90 are asked.
    """
    chance = np.random.default_rng(2)
    off: list[float] = []
    for ladder in ladders():
        steps = sorted(ladder)
        for (low, held), (_, high) in pairwise(pairwise(steps)):
            if high > 4 * low:
                continue
            rates = rates_between((low, high), (ladder[low], ladder[high]))[: held + 1]
            requests = 50 * held
            run = simulate(np.zeros(requests), chance.uniform(0.9, 1.1, requests), rates, dedicated=1)
            off.append(abs(requests / run.last_answer_s / ladder[held] - 1))
    assert len(off) > 300
    assert median(off) < 0.05
    assert quantiles(off, n=10)[-1] < 0.10
