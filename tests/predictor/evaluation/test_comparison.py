"""A challenger is promoted for being better on jobs that neither has seen, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from predictor.bundle import Bundle
from predictor.errors import NotEnoughData
from predictor.evaluation.comparison import LEVEL, compare
from predictor.site.training import learn_site
from predictor.telemetry import Observation
from predictor.training import train
from tests.predictor.observations import invented_world, observe, raw_custom


def halves() -> tuple[list[Observation], list[Observation]]:
    world = invented_world()
    return [seen for row, seen in enumerate(world) if row % 3], [seen for row, seen in enumerate(world) if not row % 3]


@cache
def trained() -> Bundle:
    return train(halves()[0], seed=7, created="2026-01-02", git_revision="abc", base=None)


def test_a_challenger_that_learned_the_world_beats_arithmetic() -> None:
    found = compare(None, trained(), halves()[1])
    assert found.better
    assert found.challenger_error < found.champion_error
    assert found.p_value <= 0.05
    assert "is better" in found.verdict


def test_a_bundle_is_not_better_than_itself() -> None:
    found = compare(trained(), trained(), halves()[1])
    assert not found.better
    assert found.champion_error == found.challenger_error
    assert "not shown to be better" in found.verdict


def test_a_bundle_taught_nonsense_is_not_promoted() -> None:
    seen, held_out = halves()
    wrong = [
        replace(
            one,
            runtime_s=one.runtime_s and one.runtime_s * 8,
            step_time_s=one.step_time_s and one.step_time_s * 8,
            peak_vram_gib=one.peak_vram_gib and one.peak_vram_gib / 4,
        )
        for one in seen
    ]
    poisoned = train(wrong, seed=7, created="2026-01-02", git_revision="abc", base=None)
    assert not compare(trained(), poisoned, held_out).better
    assert not compare(None, poisoned, held_out).better


def test_too_few_held_out_settings_are_no_verdict() -> None:
    with pytest.raises(NotEnoughData, match="too few"):
        compare(None, trained(), halves()[1][:3])
    with pytest.raises(NotEnoughData, match="no held-out"):
        compare(None, trained(), [])


def test_a_kind_of_job_the_champion_never_heard_of_counts_against_it() -> None:
    jobs = [
        observe(raw_custom(2.0 * size, row=row, features={"size": float(size)}))
        for row, size in enumerate(range(1, 41))
    ]
    challenger = train(jobs[::2], seed=1, created="2026-01-02", git_revision="abc", base=None)
    found = compare(None, challenger, jobs[1::2])
    assert found.better
    assert found.challenger_error < 0.1


def test_a_champion_that_is_as_good_as_right_is_not_replaced() -> None:
    """Every run takes what a challenger learned to the last digit, and the champion said but for a third of a per cent:
    the share of its error that would go is all of it."""
    jobs = [
        observe(raw_custom(2.0 * size, row=row, features={"size": float(size)}))
        for row, size in enumerate(range(1, 41))
    ]
    before = [replace(one, runtime_s=one.runtime_s and one.runtime_s * 1.003) for one in jobs]
    champion, challenger = (
        train(seen, seed=1, created=created, git_revision="abc", base=None)
        for seen, created in ((before, "2026-01-02"), (jobs, "2026-01-03"))
    )
    found = compare(champion, challenger, jobs)
    assert found.p_value < LEVEL
    assert found.challenger_error < found.champion_error
    assert not found.better


def test_nobody_decides_by_sending_most() -> None:
    seen, held_out = halves()
    few = [one for one in held_out if one.source == "lab0"]
    others = [one for one in held_out if one.source != "lab0"]
    champion = train(seen, seed=7, created="2026-01-02", git_revision="abc", base=None)
    elsewhere = [slower(one) for one in seen if one.source != "lab0"]
    challenger = train(elsewhere, seed=7, created="2026-01-03", git_revision="abc", base=None)
    found = compare(champion, challenger, [*few, *map(slower, others), *map(slower, others)])
    assert not found.better
    assert "lab0" in found.worse_for


def slower(one: Observation) -> Observation:
    """What somebody says whose clock runs at half the speed."""
    return replace(
        one, runtime_s=one.runtime_s and one.runtime_s * 2, step_time_s=one.step_time_s and one.step_time_s * 2
    )


@cache
def misled() -> Bundle:
    """What learned the champion's world at half its speed."""
    flood = [slower(one) for one in halves()[0]]
    return learn_site(trained(), flood, seed=7, created="2026-01-03", git_revision="abc").bundle


def test_many_names_are_one_voice() -> None:
    """A flood under twenty names against a lab of which too little is held out to object: with a voice for each name
    the flood would decide for both."""
    _, held_out = halves()
    honest = [one for one in held_out if one.runtime_s][:4]
    flood = [slower(one) for one in held_out if one not in honest]
    apart = ["lab"] * len(honest) + [f"flood {row % 20}" for row in range(len(flood))]
    assert compare(trained(), misled(), [*honest, *flood], contributors=apart).better
    one_voice = [name.replace(" ", "/") for name in apart]
    found = compare(trained(), misled(), [*honest, *flood], contributors=one_voice)
    assert not found.better
    assert found.p_value > 0.05
    assert found.worse_for == ()


def test_who_has_few_jobs_objects_with_them() -> None:
    _, held_out = halves()
    small, flood = held_out[:12], [slower(one) for one in held_out[12:]]
    names = ["small/one"] * 6 + ["small/two"] * 6 + ["flood"] * len(flood)
    found = compare(trained(), misled(), [*small, *flood], contributors=names)
    assert not found.better
    assert "small" in found.worse_for
    pleased = [slower(one) for one in small]
    assert compare(trained(), misled(), [*pleased, *flood], contributors=names).better


def test_memory_and_time_of_a_run_are_one_pair_and_its_repeats_one_configuration() -> None:
    both = [one for one in halves()[1] if one.step_time_s and one.peak_vram_gib][:4]
    assert len(both) == 4
    with pytest.raises(NotEnoughData, match="4 held-out jobs are too few"):
        compare(trained(), misled(), both)
    repeated = [slower(one) for one in both for _ in range(3)]
    found = compare(trained(), misled(), repeated)
    assert found.configurations == 4
    assert {name: pair.configurations for name, pair in found.by_quantity.items()} == {
        "training memory": 4, "training step time": 4,
    }  # fmt: skip
    assert "on 12 held-out runs of 4 configurations" in found.verdict


def test_one_job_of_many_nights_proves_no_more_than_one_of_five() -> None:
    one = next(one for one in halves()[1] if one.runtime_s)
    few, many = (compare(trained(), misled(), [slower(one)] * nights) for nights in (5, 300))
    assert few.better
    assert few.p_value == many.p_value
    with pytest.raises(NotEnoughData):
        compare(trained(), misled(), [slower(one)] * 4)


def test_what_the_challenger_learned_from_is_forecast_by_what_had_not() -> None:
    flood = [slower(one) for one in halves()[1]]
    assert compare(trained(), misled(), flood).better
    same = compare(trained(), misled(), flood, learned_without=[trained()] * len(flood))
    assert same.champion_error == same.challenger_error
    assert not same.better
