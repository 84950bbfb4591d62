"""Lengths that vary: the peak follows the longest batch, time the mean one and the slowest rank."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.columns import training_columns
from predictor.footprint.training import training_footprint
from predictor.forecast import Question
from predictor.layout import Layout
from predictor.roofline.training import training_roofline
from predictor.words import Sharding, VramMetric
from predictor.workload import TrainingWorkload
from predictor.workloads.lengths import SPREAD, training_lengths, waited_for
from tests.predictor.questions import train

PACKED = {"engine": "transformers", "kernels": "padding-free"}


def lengths_of(**spec: Any) -> tuple[float, float]:
    workload = train(sequence_length=512, **spec).workload
    assert isinstance(workload, TrainingWorkload)
    found = training_lengths(workload)
    return found.peak, found.mean


def test_equal_lengths_are_taken_at_their_word() -> None:
    assert lengths_of(micro_batch_size=4) == (512, 512)


def test_the_longest_padded_batch_is_that_of_the_longest_sample() -> None:
    """Drawn: batches of log-normal samples padded to their longest; the run's longest over the mean padded length."""
    random = np.random.default_rng(7)
    runs = random.lognormal(sigma=SPREAD, size=(50, 2500, 4)).max(axis=2)
    drawn = float(np.median(runs.max(axis=1) / runs.mean(axis=1)))

    peak, mean = lengths_of(micro_batch_size=4, sequence_length_is_mean=True)

    assert mean == 512
    assert peak / mean == pytest.approx(drawn, rel=0.2)


def test_the_fullest_packed_batch_is_a_sum_and_varies_less() -> None:
    random = np.random.default_rng(7)
    runs = random.lognormal(sigma=SPREAD, size=(50, 1250, 8)).sum(axis=2)
    drawn = float(np.median(runs.max(axis=1) / runs.mean(axis=1)))

    peak, mean = lengths_of(micro_batch_size=8, sequence_length_is_mean=True, software=PACKED)

    assert mean == 512
    assert peak / mean == pytest.approx(drawn, rel=0.2)


def test_a_cap_is_reached_once_and_mostly_not() -> None:
    peak, mean = lengths_of(micro_batch_size=1, sequence_length_is_cap=True)

    assert peak == 512
    assert mean == pytest.approx(0.3 * 512)


def test_varied_lengths_leave_more_in_the_allocators_cache() -> None:
    spec: dict[str, Any] = {
        "method": "lora",
        "sequence_length": 2048,
        "micro_batch_size": 2,
        "metric": VramMetric.RESERVED,
    }
    equal, capped = (
        training_footprint(training_columns([train(**spec, sequence_length_is_cap=said)])) for said in (False, True)
    )

    assert capped.overhead[0] > equal.overhead[0]
    assert capped.activations[0] == equal.activations[0]


def test_a_capped_run_is_faster_than_one_of_full_sequences() -> None:
    equal, capped = (
        training_roofline(training_columns([train(sequence_length=4096, sequence_length_is_cap=said)]))
        for said in (False, True)
    )

    assert capped.step_time_s[0] < equal.step_time_s[0]


def test_the_slowest_of_eight_ranks_is_waited_for() -> None:
    random = np.random.default_rng(7)
    drawn = float(np.median(random.lognormal(sigma=0.3, size=(4000, 8)).max(axis=1)))

    assert waited_for(np.array([0.3]), np.array([8.0]))[0] == pytest.approx(drawn, rel=0.1)
    assert waited_for(np.array([0.3, 0.0]), np.array([1.0, 8.0])).tolist() == [1.0, 1.0]


def test_sharded_weights_make_ranks_wait_in_every_pass() -> None:
    layout = Layout(gpu_count=8, data_parallel=8)
    spec: dict[str, Any] = {"sequence_length_is_mean": True, "global_batch_size": 64, "micro_batch_size": 1}
    alone = train(**spec, layout=layout)
    sharded = replace(alone, layout=replace(layout, sharding=Sharding.ZERO3))

    once, always = training_roofline(training_columns([alone, sharded])).compute_s
    assert always > once


@given(
    batch=st.integers(1, 256),
    sequence=st.floats(1, 50_000),
    said=st.sampled_from(["sequence_length_is_mean", "sequence_length_is_cap"]),
    packed=st.booleans(),
    accumulation=st.booleans(),
)
def test_more_tokens_never_need_less(batch: int, sequence: float, said: str, packed: bool, accumulation: bool) -> None:
    software = PACKED if packed else {"engine": "transformers"}

    spec: dict[str, Any] = {said: True, "global_batch_size": 1024 if accumulation else None, "software": software}

    def ask(batch: int, sequence: float) -> Question:
        return train(sequence_length=sequence, micro_batch_size=batch, metric=VramMetric.DRIVER, **spec)

    questions = [ask(batch, sequence), ask(batch + 1, sequence), ask(batch, sequence * 1.3)]
    footprint = training_footprint(training_columns(questions))

    for values in (footprint.peak_gib, footprint.need_gib):
        assert values[1] >= values[0] * (1 - 1e-9)
        assert values[2] >= values[0] * (1 - 1e-9)
