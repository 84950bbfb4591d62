"""A site is learned from few jobs, keeps the order of forecasts, and is not led astray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.bundle import Bundle, from_blob, load_bundle, to_blob
from predictor.errors import InvalidBundle
from predictor.features import Task
from predictor.forecast import Forecast, Question
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.model import Predictor
from predictor.site.kernel import KERNELS, columns_of, covariance, points
from predictor.site.residual import Site
from predictor.site.screening import ABSURD
from predictor.site.training import learn_site
from predictor.telemetry import Observation, read_observation
from predictor.workloads.spec import parse_workload

GPUS, MODELS = load_gpu_types(), load_models()
SLOW, HEAVY = 1.3, 1.15
"""How much longer and larger than forecast the jobs of the made-up site are."""


def training(batch: int = 1, length: int = 1024, rank: int = 16, model: str = "Qwen/Qwen2.5-1.5B") -> dict[str, object]:
    return {
        "type": "training", "model": model, "method": "lora", "precision": "bf16", "sequence_length": length,
        "micro_batch_size": batch, "lora_rank": rank, "num_steps": 100, "engine": "transformers",
    }  # fmt: skip


def serving(batch: int = 8, length: int = 512) -> dict[str, object]:
    return {
        "type": "inference", "model": "Qwen/Qwen2.5-1.5B", "precision": "bf16", "input_length": length,
        "output_length": 128, "num_requests": 256, "max_batch_size": batch, "engine": "vllm",
    }  # fmt: skip


def question(workload: dict[str, object], gpu: str = "A100-80GB-SXM") -> Question:
    return Question(workload=parse_workload(workload, MODELS), gpu=GPUS.get(gpu), layout=Layout())


def said(bundle: Bundle, workload: dict[str, object], gpu: str = "A100-80GB-SXM") -> Forecast:
    return Predictor(bundle).forecast([question(workload, gpu)])[0]


@cache
def base() -> Bundle:
    return load_bundle()


def measured(
    number: int,
    workload: dict[str, object],
    *,
    slow: float = SLOW,
    heavy: float = HEAVY,
    source: str = "here",
    gpu: str = "A100-80GB-SXM",
) -> Observation:
    """A run of the made-up site: as the shipped bundle says, times the site's own habits."""
    forecast = said(base(), workload, gpu)
    assert forecast.runtime_s is not None
    assert forecast.peak_vram is not None
    row = {
        "id": f"{source}-{number}", "source": source, "workload": workload, "gpu_type": gpu, "layout": {"gpu_count": 1},
        "outcome": "completed", "simulated": False, "runtime_s": forecast.runtime_s.p50 * slow,
    }  # fmt: skip
    peak = forecast.peak_vram.p50_gib * heavy
    if workload["type"] == "training" and peak < (GPUS.get(gpu).usable_gib or 0.0):
        row["peak_vram_gib"] = peak
    return read_observation(row, MODELS, GPUS)


def learned(observations: Sequence[Observation], contributors: Sequence[str] | None = None) -> Bundle:
    lesson = learn_site(
        base(), observations, seed=7, created="2026-11-26", git_revision="test", contributors=contributors
    )
    return lesson.bundle


@cache
def site_of(count: int) -> Bundle:
    """The bundle after so many training jobs of the made-up site, and as many of inference."""
    sizes = [(batch, length) for length in (256, 512, 1024, 2048, 4096, 768, 1536, 3072) for batch in (1, 2, 4, 8)]
    rows = [measured(number, training(batch, length)) for number, (batch, length) in enumerate(sizes[:count])]
    rows += [
        measured(1000 + number, serving(8 * batch, length)) for number, (batch, length) in enumerate(sizes[:count])
    ]
    return learned(rows)


def test_one_job_already_helps_and_thirty_nearly_settle_it() -> None:
    asked = training(3, 900)
    before = said(base(), asked)
    missing = []
    for count in (1, 30):
        after = said(site_of(count), asked)
        assert after.runtime_s is not None
        assert before.runtime_s is not None
        missing.append(abs(np.log(after.runtime_s.p50 / (before.runtime_s.p50 * SLOW))))
    assert missing[0] < 0.75 * np.log(SLOW)
    assert missing[1] < 0.1 * np.log(SLOW)


def test_the_same_job_again_and_again_is_known_better_each_time() -> None:
    one = measured(1, training(), slow=2.0, heavy=1.0)
    before = said(base(), training()).runtime_s
    assert before is not None
    missing = []
    for nights in (1, 5, 30):
        after = said(learned([replace(one, id=f"night-{night}") for night in range(nights)]), training()).runtime_s
        assert after is not None
        missing.append(np.log(2.0 * before.p50 / after.p50))
    assert missing[0] > missing[1] > missing[2]
    assert missing[2] < 0.1 * np.log(2.0)


def test_one_job_of_many_nights_does_not_carry_like_jobs_along_that_differ() -> None:
    others = [measured(number, training(1, 128 * (1 + number)), heavy=1.0) for number in range(39)]
    odd = measured(99, training(1, 2200), slow=3.0, heavy=1.0)
    nightly = [replace(odd, id=f"night-{night}") for night in range(30)]
    with_odd, without = (said(learned(rows), training(1, 700)).runtime_s for rows in ([*others, *nightly], others))
    assert with_odd is not None
    assert without is not None
    assert with_odd.p50 == pytest.approx(without.p50, rel=0.05)


def test_memory_and_inference_are_learned_too() -> None:
    before, after = said(base(), training(3, 900)), said(site_of(30), training(3, 900))
    assert after.peak_vram is not None
    assert before.peak_vram is not None
    assert after.peak_vram.p50_gib / before.peak_vram.p50_gib == pytest.approx(HEAVY, rel=0.02)
    before, after = said(base(), serving(24, 900)), said(site_of(30), serving(24, 900))
    assert after.runtime_s is not None
    assert before.runtime_s is not None
    assert after.runtime_s.p50 / before.runtime_s.p50 == pytest.approx(SLOW, rel=0.03)


def test_a_band_narrows_with_what_was_seen_and_never_to_nothing() -> None:
    widths = []
    for bundle in (base(), site_of(1), site_of(30)):
        vram = said(bundle, training(3, 900)).peak_vram
        assert vram is not None
        widths.append(np.log(vram.p95_gib / vram.p50_gib))
    assert widths[0] >= widths[1] > widths[2] > 0.005


def test_what_is_unlike_the_sites_jobs_keeps_most_of_its_doubt_and_of_the_bundles_word() -> None:
    far = {**serving(), "model": "meta-llama/Llama-3.1-70B-Instruct", "precision": "fp8"}
    before, after = said(base(), far, "MI300X"), said(site_of(30), far, "MI300X")
    near_before, near_after = said(base(), serving(24, 900)), said(site_of(30), serving(24, 900))

    def moved(old: Forecast, new: Forecast) -> float:
        assert old.runtime_s is not None
        assert new.runtime_s is not None
        return float(abs(np.log(new.runtime_s.p50 / old.runtime_s.p50)))

    assert moved(before, after) < 0.5 * moved(near_before, near_after)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([1, 10, 30]), st.sampled_from(["batch", "length", "rank"]), st.integers(1, 64),
    st.integers(64, 9000), st.integers(4, 128), st.sampled_from([1.03, 1.5, 2.0, 4.0]),
    st.sampled_from(["Qwen/Qwen2.5-1.5B", "meta-llama/Llama-3.2-1B"]),
)  # fmt: skip
def test_a_larger_job_never_needs_less(
    count: int, grows: str, batch: int, length: int, rank: int, factor: float, model: str
) -> None:
    sizes = {"batch": batch, "length": length, "rank": rank}
    larger = sizes | {grows: max(sizes[grows] + 1, round(sizes[grows] * factor))}
    small, large = (said(contrary(count), training(**asked, model=model)) for asked in (sizes, larger))
    assert small.peak_vram is not None
    assert large.peak_vram is not None
    assert large.peak_vram.p50_gib >= small.peak_vram.p50_gib * (1 - 1e-8)
    assert large.peak_vram.p95_gib >= small.peak_vram.p95_gib * (1 - 1e-8)
    assert small.step_time_s is not None
    assert large.step_time_s is not None
    assert large.step_time_s.p50 >= small.step_time_s.p50 * (1 - 1e-8)


@cache
def contrary(count: int) -> Bundle:
    """A site whose larger jobs did better than expected and whose smaller did worse: a temptation to fall."""
    rows = []
    for number in range(count):
        length = 256 * 2 ** (number % 6)
        tempting = 2.5 * (length / 256) ** -0.6
        rows.append(measured(number, training(1 + number % 4, length), slow=tempting, heavy=tempting**0.5))
    return learned(rows)


def test_a_forecast_does_not_depend_on_what_else_is_asked() -> None:
    asked = [question(training(batch, length)) for batch in (1, 2, 7) for length in (300, 1000, 5000)] * 6
    together = Predictor(site_of(30)).forecast(asked)
    assert together == [Predictor(site_of(30)).forecast([one])[0] for one in asked]


def test_a_site_survives_being_written_down() -> None:
    again = from_blob(to_blob(site_of(30)))
    assert again.manifest == site_of(30).manifest
    assert again.manifest.base == base().version
    assert said(again, training(3, 900)) == said(site_of(30), training(3, 900))


@pytest.mark.parametrize(
    "damage",
    [{"weights": [1.0, 2.0]}, {"noise": 0.0}, {"tilt": -2.0}, {"features": "others"}, {"known": {}}, {"kernel": 1}],
)
def test_a_damaged_site_is_refused(damage: dict[str, object]) -> None:
    raw = site_of(1).sites[Task.TRAINING_TIME].to_json()
    Site.from_json(raw)
    with pytest.raises(InvalidBundle):
        Site.from_json(raw | damage)


def test_learning_twice_gives_the_same_bytes() -> None:
    rows = [measured(number, training(1 + number)) for number in range(5)]
    assert to_blob(learned(rows)) == to_blob(learned(list(reversed(rows))))


def test_a_slip_among_honest_runs_moves_little() -> None:
    honest = [measured(number, training(1 + number % 4, 256 * (1 + number // 4))) for number in range(24)]
    slip = measured(99, training(2, 700), slow=SLOW * 8)
    with_slip, without = (said(learned(rows), training(2, 800)) for rows in ([*honest, slip], honest))
    assert with_slip.runtime_s is not None
    assert without.runtime_s is not None
    assert with_slip.runtime_s.p50 == pytest.approx(without.runtime_s.p50, rel=0.1)


@pytest.mark.parametrize("factor", [ABSURD * 1.5, 1 / (ABSURD * 1.5)])
def test_what_cannot_be_is_quarantined_with_its_reason(factor: float) -> None:
    absurd = measured(1, training(), slow=factor, heavy=1.0)
    lesson = learn_site(base(), [measured(2, training(2)), absurd], seed=7, created="2026-11-26", git_revision="test")
    (kept_out,) = lesson.quarantined
    assert (kept_out.id, kept_out.task) == (absurd.id, Task.TRAINING_TIME)
    assert "times off" in kept_out.reason


def test_memory_above_the_card_is_quarantined() -> None:
    over = replace(measured(1, training()), peak_vram_gib=100.0)
    lesson = learn_site(base(), [measured(2, training(2)), over], seed=7, created="2026-11-26", git_revision="test")
    assert [one.reason for one in lesson.quarantined if one.task is Task.TRAINING_MEMORY]


@pytest.mark.parametrize("repeats", [1, 15])
def test_a_flood_never_outweighs_all_the_others(repeats: int) -> None:
    honest = [measured(number, training(1 + number % 4, 128 * (1 + number // 4))) for number in range(60)]
    flood = [
        measured(number, training(1 + number % 8, 64 * (1 + number // 8)), slow=SLOW * 5, source="flood")
        for number in range(600 // repeats)
    ] * repeats
    forecast, before = said(learned([*honest, *flood]), training(2, 1000)), said(base(), training(2, 1000))
    assert forecast.runtime_s is not None
    assert before.runtime_s is not None
    assert forecast.runtime_s.p50 / before.runtime_s.p50 < SLOW * 2.5


def test_a_run_out_of_memory_raises_a_forecast_that_was_below_it_and_leaves_one_above_alone() -> None:
    def crashed(workload: dict[str, object]) -> Observation:
        return read_observation(
            {
                "id": "crash", "source": "here", "workload": workload, "gpu_type": "L40S", "layout": {"gpu_count": 1},
                "outcome": "out_of_memory", "simulated": False,
            }, MODELS, GPUS,
        )  # fmt: skip

    honest = [measured(number, training(1, 256 * (1 + number)), heavy=1.0, gpu="L40S") for number in range(3)]
    small, huge = training(2, 1024), training(64, 8192)
    for workload, rises in ((small, True), (huge, False)):
        without, with_crash = (
            said(learned(rows), workload, "L40S").peak_vram for rows in (honest, [*honest, crashed(workload)])
        )
        assert without is not None
        assert with_crash is not None
        card = GPUS.get("L40S").usable_gib or 0.0
        assert (without.p50_gib < card) is rises
        assert (with_crash.p50_gib > 1.02 * without.p50_gib) is rises


@pytest.mark.parametrize("task", list(Task))
def test_every_column_has_its_part_in_the_kernel_or_grows_with_the_job(task: Task) -> None:
    at, table = columns_of(task), task.features
    parts = [*at.habits, *at.model, *at.layout, *at.batch]
    assert sorted(parts) == sorted(set(table.all) - set(table.growing))
    assert at.size.any()


@pytest.mark.parametrize("task", list(Task))
def test_a_kernel_is_positive(task: Task) -> None:
    rows = np.random.default_rng(7).normal(size=(40, len(task.features.names)))
    some = points(task, KERNELS[task], rows, rows[:, 0])
    assert np.linalg.eigvalsh(covariance(KERNELS[task], some, some)).min() > -1e-9
