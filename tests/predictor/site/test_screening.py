"""What cannot be teaches nothing, and one of several owners does not move the forecasts of all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from predictor.bundle import Bundle
from predictor.features import Task
from predictor.learned.samples import every_sample, samples
from predictor.site.kinds import learn_kinds
from predictor.site.screening import Quarantined, borne_out, screen
from predictor.telemetry import Observation
from predictor.training import train
from tests.predictor.observations import observe, raw_custom, raw_training


def crashed() -> Observation:
    """A run that had no chance: it needs far over a hundred times what the card holds."""
    workload = raw_training()["workload"] | {
        "model": "meta-llama/Llama-3.1-70B", "method": "full", "lora_rank": None, "sequence_length": 65536,
    }  # fmt: skip
    return observe(raw_training(workload=workload, gpu_type="L4", outcome="out_of_memory", peak_vram_gib=None,
                                step_time_s=None))  # fmt: skip


def test_a_run_that_had_no_chance_to_fit_is_no_contradiction() -> None:
    found = every_sample(Task.TRAINING_MEMORY, [crashed()])
    assert found.residuals[0] < -np.log(30.0)
    kept, quarantined = screen(Task.TRAINING_MEMORY, found)
    assert (len(kept), quarantined) == (1, [])
    assert len(samples(Task.TRAINING_MEMORY, [crashed()])) == 1


def trainings(owner: str, count: int, slow: float) -> list[Observation]:
    """Steps that take so many times what arithmetic says."""
    drafts = [
        observe(
            raw_training(
                id=f"{owner}/{length}", source=f"{owner}/all",
                workload=raw_training()["workload"] | {"sequence_length": 256 * (1 + length)},
            )
        )
        for length in range(count)
    ]  # fmt: skip
    said = np.exp(every_sample(Task.TRAINING_TIME, drafts).arithmetic)
    return [
        observe(
            raw_training(
                id=draft.id, source=draft.source, step_time_s=slow * float(step),
                workload=raw_training()["workload"] | {"sequence_length": draft.question.workload.sequence_length},  # type: ignore[union-attr]
            )
        )
        for draft, step in zip(drafts, said, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "heard"),
    [
        ([("a", 1.9)], {"a"}),
        ([("a", 2.1)], set()),
        ([("a", 8.0), ("b", 1.0)], {"b"}),
        ([("a", 1 / 8.0), ("b", 1.0)], {"b"}),
        ([("a", 3.0), ("b", 4.0)], {"a", "b"}),
        ([("a", 3.0), ("b", 4.0), ("c", 12.0), ("d", 1.0)], {"a", "b", "d"}),
    ],
)
def test_who_goes_far_needs_another_who_says_so(given: Sequence[tuple[str, float]], heard: set[str]) -> None:
    seen = [one for owner, slow in given for one in trainings(owner, 3, slow)]
    found = every_sample(Task.TRAINING_TIME, seen)
    kept, quarantined = borne_out(Task.TRAINING_TIME, found, np.zeros(len(found)))
    assert {name.split("/")[0] for name in kept.source} == heard
    assert len(kept) == 3 * len(heard)
    assert len(quarantined) == 3 * (len(given) - len(heard))


def jobs(owner: str, count: int, slow: float = 1.0, kind: str = "book") -> list[Observation]:
    """Three seconds a page, times `slow`, a tenth more or less."""
    return [
        observe(
            raw_custom(
                3.0 * slow * (10 + 7 * number) * (1.0 + 0.1 * np.sin(12.9898 * number)),
                row=number, kind=kind, features={"pages": 10 + 7 * number},
            )
            | {"source": f"{owner}/all"}
        )
        for number in range(count)
    ]  # fmt: skip


@cache
def shipped() -> Bundle:
    return train(jobs("public", 40), seed=7, created="2026-01-02", git_revision="abc", base=None)


def taught(seen: Sequence[Observation], *, shared: bool) -> tuple[float | None, list[Quarantined]]:
    """What a lesson says of a book of a hundred pages, where it says anything of books."""
    kinds, quarantined = learn_kinds(shipped().kinds, seen, seed=7, shared=shared)
    if "book" not in kinds:
        return None, quarantined
    question = observe(raw_custom(1.0, kind="book", features={"pages": 100})).question
    return float(np.exp(kinds["book"].log_runtime([question])[0])), quarantined


def test_a_slip_of_units_among_custom_jobs_teaches_nothing() -> None:
    slips = [one for one in jobs("us", 34, slow=1000.0) if one.id in {"site/custom-31", "site/custom-33"}]
    said, quarantined = taught([*jobs("us", 30, slow=2.0), *slips], shared=False)
    assert said == pytest.approx(600.0, rel=0.1)
    assert {one.id for one in quarantined} == {"site/custom-31", "site/custom-33"}
    assert "off the other jobs of its kind" in quarantined[0].reason


def test_a_kind_that_spreads_widely_is_no_slip() -> None:
    wild = [
        observe(raw_custom(float(10.0 ** (number % 6)), row=number, kind="book")) for number in range(24)
    ]  # told apart by nothing that was said
    assert taught(wild, shared=False)[1] == []


def test_one_owner_alone_does_not_turn_a_kind_that_ships() -> None:
    said, quarantined = taught([*jobs("flood", 200, slow=1e4), *jobs("us", 4)], shared=True)
    assert said is None
    assert len(quarantined) == 200
    said, quarantined = taught([*jobs("us", 20, slow=3.0), *jobs("them", 20, slow=3.0)], shared=True)
    assert said == pytest.approx(900.0, rel=0.1)
    assert quarantined == []


def test_a_kind_that_does_not_ship_is_learned_from_owners_who_agree() -> None:
    def learned(*seen: Observation) -> tuple[set[str], int]:
        kinds, quarantined = learn_kinds({}, seen, seed=7, shared=True)
        return set(kinds), len(quarantined)

    assert learned(*jobs("us", 30)) == (set(), 0)
    assert learned(*jobs("us", 30), *jobs("flood", 90, slow=100.0)) == (set(), 120)
    assert learned(*jobs("us", 30), *jobs("them", 4)) == (set(), 0)
    assert learned(*jobs("us", 30), *jobs("them", 10, slow=1.2), *jobs("flood", 90, slow=100.0)) == ({"book"}, 90)


def test_who_sends_most_of_a_kind_is_not_heard_most() -> None:
    us, flood = jobs("us", 100), jobs("flood", 100, slow=1.5)
    said, quarantined = taught([*us, *flood * 4], shared=True)
    assert quarantined == []
    # halfway between the two; by heads it would be four fifths of the way
    assert said == pytest.approx(300.0 * 1.5**0.5, rel=0.06)
