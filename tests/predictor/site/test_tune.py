"""A kernel is tuned to what makes sites differ."""

from __future__ import annotations

from functools import cache

import numpy as np

from predictor.features import Task
from predictor.gather import Floats
from predictor.learned.samples import samples
from predictor.site.fit import cells_of
from predictor.site.kernel import Kernel
from predictor.site.tune import LEAST_CONFIGURATIONS, Pupil, pupil, tune
from tests.predictor.observations import invented_world

TASK = Task.TRAINING_TIME


@cache
def pupils(offsets: tuple[float, ...], seed: int = 1) -> tuple[Pupil, ...]:
    """Sites of 24 jobs each, whose residuals are one offset a site and 3 % noise."""
    found = samples(TASK, invented_world())
    generator = np.random.default_rng(seed)
    made = []
    for place, offset in enumerate(offsets):
        cells = cells_of(found.take(np.arange(24 * place, 24 * place + 24)))
        missed: Floats = offset + generator.normal(0.0, 0.03, len(cells))
        made.append(Pupil(cells, cells.residual - missed))
    return tuple(made)


@cache
def tuned(offsets: tuple[float, ...]) -> Kernel:
    return tune(TASK, pupils(offsets))


def test_sites_that_differ_as_a_whole_are_given_a_large_offset() -> None:
    apart, alike = tuned((0.4, -0.4, 0.3, -0.35)), tuned((0.0, 0.0, 0.0, 0.0))
    assert apart.offset > 0.15
    assert apart.offset > 3 * alike.offset
    # nothing but the offset was at work, so nothing else is believed to matter as much
    assert max(apart.habit, apart.particular, apart.size) < apart.offset


def test_tuning_twice_is_tuning_the_same() -> None:
    assert tune(TASK, pupils((0.4, -0.4, 0.3, -0.35))) == tuned((0.4, -0.4, 0.3, -0.35))


def test_a_site_of_few_jobs_teaches_no_kernel() -> None:
    found = samples(TASK, invented_world())
    assert pupil(found.take(np.arange(LEAST_CONFIGURATIONS - 1)), None) is None
    assert pupil(found.take(np.arange(LEAST_CONFIGURATIONS + 5)), None) is not None


def test_one_site_with_a_large_common_miss_does_not_speak_for_all() -> None:
    one, all_of_them = tuned((0.4, 0.0, 0.02, -0.02)), tuned((0.4, -0.4, 0.3, -0.35))
    assert one.offset < 0.5 * all_of_them.offset
