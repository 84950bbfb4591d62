"""Bands are learned near the data, where configurations may change places, and stand on arithmetic's margin beyond."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from predictor.features import Task
from predictor.learned.correction import Correction
from predictor.learned.domain import Domain
from predictor.learned.held_out import HeldOut
from predictor.learned.misses import misses
from predictor.learned.samples import samples
from predictor.quantiles import MEMORY_MARGIN, P95, bands
from predictor.training import fit
from tests.predictor.observations import invented_world


@cache
def correction() -> Correction:
    return fit(Task.TRAINING_MEMORY, samples(Task.TRAINING_MEMORY, invented_world()), seed=1)


def held_out(distances: list[float], **changed: object) -> HeldOut:
    rows = len(distances)
    ones = np.ones(rows)
    plain = HeldOut(
        residuals=ones, measured=np.log(np.full(rows, 20.0)), lower_bound=np.zeros(rows, dtype=bool),
        configuration=np.array([str(row) for row in range(rows)]), steady=np.zeros((rows, 2)), habits=ones,
        particulars=ones, distances=np.array(distances), weights=2.0 * ones, balance=ones, once=ones,
    )  # fmt: skip
    return replace(plain, **changed)  # type: ignore[arg-type]


def domain(reach: float) -> Domain:
    return Domain(scales=np.ones(2), references=np.zeros((1, 2)), largest=np.zeros(1), reach=reach)


def test_memory_beyond_the_reach_of_the_data_has_no_vote_and_time_has() -> None:
    left = np.array([0.1, 0.2, 0.3])
    rows = held_out([0.0, 1.0, 5.0])
    assert len(misses(Task.TRAINING_MEMORY, rows, left, domain(2.0)).apart) == 2
    assert len(misses(Task.TRAINING_TIME, rows, left, domain(2.0)).apart) == 3


def test_a_small_job_that_misses_by_the_same_gib_misses_as_much_as_a_large_one() -> None:
    measured = np.log([3.0, 61.0])
    left = measured - np.log([1.0, 59.0])
    found = misses(Task.TRAINING_MEMORY, held_out([0.0, 0.0], measured=measured), left, domain(2.0))
    assert left[0] / left[1] > 30
    assert found.apart[0] / found.apart[1] < 12


def test_a_repeated_configuration_has_one_vote() -> None:
    rows = held_out([0.0] * 4, once=np.array([1.0, 1 / 3, 1 / 3, 1 / 3]))
    weights = misses(Task.TRAINING_MEMORY, rows, np.zeros(4), domain(2.0)).weights
    assert weights[0] == pytest.approx(weights[1:].sum())


def test_beyond_the_reach_the_band_is_at_least_that_of_bare_arithmetic() -> None:
    learned = correction()
    found = samples(Task.TRAINING_MEMORY, invented_world())
    far = found.rows[:3].copy()
    far[:, list(Task.TRAINING_MEMORY.features.fixed)] += 1000.0
    corrected = learned.correct(far)
    assert (corrected.distance > learned.domain.reach).all()
    assert corrected.spread.tolist() == [1.0] * 3
    middle = np.log(np.full(3, 30.0)) - corrected.shift
    said = bands(middle, corrected, learned.calibration, MEMORY_MARGIN).p95
    bare = bands(np.log(np.full(3, 30.0)), replace(corrected, shift=np.zeros(3)), MEMORY_MARGIN, MEMORY_MARGIN).p95
    assert (said >= bare - 0.03).all()


def test_near_the_data_the_band_is_what_was_missed_there() -> None:
    learned = correction()
    found = samples(Task.TRAINING_MEMORY, invented_world()).take(np.arange(100))
    said = bands(found.arithmetic, learned.correct(found.rows), learned.calibration, MEMORY_MARGIN)
    done = ~found.lower_bound
    covered = (found.measured <= said.p95)[done].mean()
    # rows that were trained on miss a little less than new ones, so more than P95 of them lie below
    assert covered >= P95 - 0.03
    # the world's noise is 2 %, far below what bare arithmetic must allow for
    assert np.median(np.exp(said.p95 - said.p50)) < 1.2
