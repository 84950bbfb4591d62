"""Training finds what arithmetic misses, is judged on groups not seen, and stands back where it knows nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from predictor.evaluation.scores import Score, configuration_errors, evaluate, score_table
from predictor.features import Task
from predictor.learned.domain import describe
from predictor.learned.folds import GROUPINGS, group_folds, groups_of
from predictor.learned.samples import ABSURD_RATIO, samples
from predictor.telemetry import Outcome
from predictor.training import fit
from tests.predictor.observations import invented_world, observe, raw_training, real_observations


@cache
def invented_scores() -> dict[tuple[Task, str], Score]:
    return {(score.task, score.grouping): score for score in evaluate(invented_world(), seed=7)}


def test_a_law_that_holds_everywhere_is_learned_beyond_the_groups_it_was_seen_in() -> None:
    for task in (Task.TRAINING_MEMORY, Task.TRAINING_TIME, Task.INFERENCE_TIME):
        for grouping in ("configuration", "family", "site"):
            part = invented_scores()[task, grouping].overall
            assert part.learned < 0.75 * part.arithmetic, (task, grouping, part)


def test_intervals_hold_on_settings_that_were_not_seen() -> None:
    memory = invented_scores()[Task.TRAINING_MEMORY, "configuration"]
    # about 200 rows: 95 % less four binomial standard deviations is 89 %
    assert memory.overall.covered >= 0.89
    for task in (Task.TRAINING_TIME, Task.INFERENCE_TIME):
        # p10 to p90, 80 %; four standard deviations at 200 rows are 11 %
        assert invented_scores()[task, "configuration"].overall.covered >= 0.69


def test_runs_out_of_memory_raise_the_forecast() -> None:
    """Bounds that lie a factor of e above what the others teach pull the forecast up; dropped, they could not."""
    world = [seen for seen in invented_world() if seen.step_time_s or seen.outcome is Outcome.OUT_OF_MEMORY]
    found = samples(Task.TRAINING_MEMORY, world)
    assert found.lower_bound.any()
    lifted = replace(found, measured=found.measured + found.lower_bound)
    with_bounds = fit(Task.TRAINING_MEMORY, lifted, seed=1)
    without = fit(Task.TRAINING_MEMORY, found.take(~found.lower_bound), seed=1)
    bound = found.take(found.lower_bound)
    raised = with_bounds.correct(bound.rows).shift - without.correct(bound.rows).shift
    assert raised.mean() > 0.05


def test_far_from_the_data_the_arithmetic_is_left_alone_or_nearly() -> None:
    found = samples(Task.TRAINING_TIME, invented_world())
    correction = fit(Task.TRAINING_TIME, found, seed=1)
    far = found.rows[:1].copy()
    far[:, list(Task.TRAINING_TIME.features.fixed)] += 1000.0 * np.maximum(correction.domain.scales, 1.0)
    corrected = correction.correct(far)
    assert not corrected.in_domain[0]
    assert correction.particulars.trust.at(corrected.distance)[0] <= correction.particulars.trust.at(np.zeros(1))[0]


def test_training_twice_is_training_the_same() -> None:
    found = samples(Task.TRAINING_TIME, invented_world())
    assert fit(Task.TRAINING_TIME, found, seed=3).to_json() == fit(Task.TRAINING_TIME, found, seed=3).to_json()


def test_the_order_of_observations_does_not_matter_to_the_folds() -> None:
    found = samples(Task.INFERENCE_TIME, invented_world())
    shuffled = np.random.default_rng(1).permutation(len(found))
    for grouping in GROUPINGS:
        straight = [set(found.ids[mask]) for mask in group_folds(groups_of(found, grouping), 4, 7)]
        mixed = found.take(shuffled)
        assert straight == [set(mixed.ids[mask]) for mask in group_folds(groups_of(mixed, grouping), 4, 7)]


def test_a_group_is_held_out_whole_and_once() -> None:
    found = samples(Task.INFERENCE_TIME, invented_world())
    for grouping in GROUPINGS:
        groups = groups_of(found, grouping)
        masks = np.stack(list(group_folds(groups, 3, 7)))
        assert (masks.sum(axis=0) == 1).all()
        for mask in masks:
            assert not set(groups[mask]) & set(groups[~mask])


def test_a_single_group_cannot_be_held_out() -> None:
    assert list(group_folds(np.array(["one"] * 9), 4, 7)) == []


def test_a_measurement_that_is_a_slip_of_units_is_not_learned_from() -> None:
    right = observe(raw_training())
    slip = replace(right, step_time_s=(right.step_time_s or 0.0) * ABSURD_RATIO * 1000)
    assert len(samples(Task.TRAINING_TIME, [right])) == 1
    assert len(samples(Task.TRAINING_TIME, [slip])) == 0


def test_a_repeated_setting_weighs_as_much_as_one_seen_once() -> None:
    repeats = [replace(observe(raw_training()), id=str(row)) for row in range(4)]
    single = observe(raw_training(id="x", workload=raw_training()["workload"] | {"sequence_length": 512}))
    assert samples(Task.TRAINING_TIME, [*repeats, single]).weights.tolist() == [0.25] * 4 + [1.0]


def test_the_error_of_a_configuration_is_that_of_its_medians() -> None:
    names = np.array(["a", "b", "a", "a"])
    errors = configuration_errors(names, np.log([2.0, 1.0, 2.0, 2.0]), np.log([1.0, 1.0, 2.0, 50.0]))
    assert errors.tolist() == pytest.approx([0.0, 0.0])


def test_references_cover_the_data_within_their_number() -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(500, 4))
    domain = describe(rows, rows[:, :1], limit=60)
    assert len(domain.references) == 60
    thinned = domain.distance(rows)
    assert (describe(rows, rows[:, :1], limit=500).distance(rows) == 0).all()
    assert np.median(thinned) < np.median(domain.distance(rows + 3.0))


def test_scores_are_printed_with_arithmetic_beside_them() -> None:
    lines = score_table(tuple(invented_scores().values()))
    assert "ARITHMETIC" in lines[0]
    assert any(line.startswith("training_memory") and "over-provision" in line for line in lines)


def test_on_real_telemetry_held_out_settings_are_forecast_better_than_by_arithmetic() -> None:
    found = {score.task: score for score in evaluate(real_observations(), seed=7, groupings=("configuration",))}
    for task in (Task.TRAINING_MEMORY, Task.TRAINING_TIME, Task.INFERENCE_TIME):
        assert found[task].overall.learned < found[task].overall.arithmetic, task
    assert found[Task.TRAINING_MEMORY].overall.covered >= 0.9
