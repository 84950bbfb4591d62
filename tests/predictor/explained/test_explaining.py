"""An explanation adds up to the forecast it explains, and names jobs that really are the nearest."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from time import process_time

import numpy as np
import pytest

from predictor.bundle import MANIFEST, Bundle, load_bundle, make_bundle, read_files
from predictor.errors import InvalidBundle, NotEnoughData
from predictor.explained.explanation import CustomExplanation, Explanation, Learned, Neighbour
from predictor.explained.learning import DIFFERENCES, NEIGHBOURS
from predictor.explained.naming import said
from predictor.features import Role, Task
from predictor.forecast import Forecast, Question
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.learned.domain import Domain, describe
from predictor.model import Predictor
from predictor.site.training import learn_site
from predictor.telemetry import Observation
from predictor.training import REFERENCES, train
from predictor.workload import CustomWorkload
from tests.predictor.observations import invented_world, observe, raw_custom
from tests.predictor.questions import LLAMA_3_8B, LLAMA_3_70B, serve
from tests.predictor.questions import train as ask_training

TP4 = Layout(gpu_count=4, tensor_parallel=4)
PP2 = Layout(gpu_count=2, pipeline_parallel=2)
QUESTIONS = (
    ask_training("Qwen/Qwen2-7B", method="lora", gpu="A100-80GB-SXM"),
    ask_training(LLAMA_3_8B, method="full", layout=PP2, engine="megatron-lm", global_batch_size=16),
    ask_training(LLAMA_3_8B, method="full", sequence_length=131_072),
    serve("Qwen/Qwen2-7B", max_batch_size=32, engine="vllm"),
    serve(LLAMA_3_70B, layout=TP4, engine="vllm"),
    serve("Qwen/Qwen2-0.5B", input_length=8000, output_length=1, max_batch_size=64, engine="vllm"),
)


@cache
def made() -> Bundle:
    return train(invented_world(), seed=7, created="2026-01-02", git_revision="abc", base=None)


@cache
def at_a_site() -> Bundle:
    slower = [replace(one, step_time_s=one.step_time_s and one.step_time_s * 1.4) for one in invented_world()[:60]]
    return learn_site(load_bundle(), slower, seed=7, created="2026-01-02", git_revision="abc").bundle


def explained(predictor: Predictor, questions: Sequence[Question] = QUESTIONS) -> list[tuple[Forecast, Explanation]]:
    found = []
    for answer in predictor.explain(questions):
        assert isinstance(answer, Forecast)
        assert isinstance(answer.explanation, Explanation)
        found.append((answer, answer.explanation))
    return found


BUNDLES: dict[str, Callable[[], Bundle | None]] = {
    "arithmetic": lambda: None,
    "shipped": load_bundle,
    "trained": made,
    "site": at_a_site,
}


@pytest.mark.parametrize("bundle", list(BUNDLES))
def test_parts_times_factors_are_the_forecast(bundle: str) -> None:
    for forecast, why in explained(Predictor(BUNDLES[bundle]())):
        peak, time = forecast.peak_vram, forecast.step_time_s or forecast.runtime_s
        assert peak is not None
        assert time is not None
        memory = why.memory.arithmetic_gib * why.memory.learned.factor
        assert memory == pytest.approx(peak.p50_gib, rel=1e-6) or (why.memory.limited_by_card and memory > peak.p50_gib)
        assert why.time.whole.seconds * why.time.learned.factor == pytest.approx(time.p50, rel=1e-6)
        for learned in (why.memory.learned, why.time.learned):
            assert product_of_layers(learned) == pytest.approx(learned.factor, rel=1e-6)


def product_of_layers(learned: Learned) -> float:
    """`site` says what it did to all before it, so the product of what is named is the whole."""
    layers = [layer.factor for layer in (learned.habits, learned.particulars) if layer]
    return math.prod(layers) * (learned.site or 1.0)


@pytest.mark.parametrize("bundle", list(BUNDLES))
def test_an_explanation_changes_no_forecast(bundle: str) -> None:
    predictor = Predictor(BUNDLES[bundle]())
    plain = predictor.forecast(QUESTIONS)
    assert [replace(forecast, explanation=None) for forecast, _ in explained(predictor)] == plain
    assert all(forecast.explanation is None and "explanation" not in forecast.to_json() for forecast in plain)


def test_what_a_site_put_on_top_is_told_apart() -> None:
    (_, here), (_, elsewhere) = (explained(Predictor(one), QUESTIONS[:1])[0] for one in (at_a_site(), load_bundle()))
    assert elsewhere.time.learned.site is None
    assert here.time.learned.site is not None
    assert here.time.learned.site > 1.1
    assert here.time.learned.habits == elsewhere.time.learned.habits


def test_prefill_and_decode_add_up_and_wait_for_different_things() -> None:
    (_, batch), (_, reading) = explained(Predictor(None), [QUESTIONS[3], QUESTIONS[5]])
    prefill, decode = batch.time.phases["prefill"], batch.time.phases["decode"]
    assert prefill.seconds + decode.seconds == pytest.approx(batch.time.whole.seconds)
    for part, value in batch.time.whole.parts_s.items():
        assert prefill.parts_s[part] + decode.parts_s[part] == pytest.approx(value)
    assert (prefill.bottleneck, decode.bottleneck) == ("compute", "bandwidth")
    # a job that only reads prompts has no decoding to wait for
    assert reading.time.phases["decode"].seconds == 0.0
    assert reading.time.phases["decode"].bottleneck == "none"


def test_the_details_of_a_forecast_know_the_parts_of_each_phase() -> None:
    for forecast, explanation in explained(Predictor(None), [QUESTIONS[3], QUESTIONS[5]]):
        for name, phase in explanation.time.phases.items():
            assert forecast.details[f"{name}_s"] == pytest.approx(phase.seconds)
            said = [forecast.details[f"{name}_{part}_s"] for part in ("compute", "memory", "communication", "overhead")]
            assert said == [phase.parts_s[part] for part in ("compute", "bandwidth", "communication", "overhead")]


def test_a_pipeline_waits_for_its_bubble_and_a_split_tensor_for_its_links() -> None:
    (_, staged), (_, split) = explained(Predictor(None), [QUESTIONS[1], QUESTIONS[4]])
    assert staged.time.whole.parts_s["pipeline_bubble"] > 0.0
    assert split.time.whole.parts_s["communication"] > 0.0
    assert "pipeline_bubble" not in split.time.whole.parts_s


def test_sizes_above_the_largest_seen_are_named() -> None:
    (_, usual), (_, long) = explained(Predictor(made()), [QUESTIONS[0], QUESTIONS[2]])
    assert usual.memory.learned.beyond == {}
    # the longest sequence of the invented world has 4,096 tokens
    assert long.memory.learned.beyond["sequence"] == pytest.approx(131_072 / 4096, rel=1e-3)


def test_the_nearest_jobs_are_those_of_the_training_data_and_the_nearest_first() -> None:
    ids = {seen.id for seen in invented_world()}
    for _, why in explained(Predictor(made())):
        for nearest, learned in ((why.memory.nearest, why.memory.learned), (why.time.nearest, why.time.learned)):
            if learned.distance is None:
                continue  # nobody measured the memory of serving in the invented world
            assert len(nearest) == NEIGHBOURS
            assert nearest[0].distance == pytest.approx(learned.distance, abs=2e-3)
            assert [one.distance for one in nearest] == sorted(one.distance for one in nearest)
            for one in nearest:
                assert one.id in ids
                assert len(one.differs) <= DIFFERENCES
                assert math.sqrt(sum(part.apart**2 for part in one.differs)) <= one.distance + 1e-3


def test_no_reference_is_nearer_than_those_that_are_named() -> None:
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(300, 6))
    domain = describe(rows, rows[:, :1], limit=200)
    asked = generator.normal(size=(50, 6))
    for row, named in zip(asked, domain.nearest(asked, 3), strict=True):
        distances = np.sqrt(((np.round(row / domain.scales, 3) - domain.references) ** 2).sum(axis=1))
        assert distances[named].tolist() == sorted(distances)[:3]
    assert domain.nearest(asked, 500).shape == (50, 200)


def test_a_job_of_the_training_data_is_its_own_neighbour_and_differs_in_nothing() -> None:
    seen = next(one for one in invented_world() if one.step_time_s)
    (_, why) = explained(Predictor(made()), [seen.question])[0]
    nearest = why.time.nearest[0]
    assert (nearest.distance, nearest.differs) == (0.0, ())
    alike = next(one for one in invented_world() if one.id == nearest.id)
    assert alike.question.gpu == seen.question.gpu
    assert alike.question.workload.architecture == seen.question.workload.architecture  # type: ignore[union-attr]


def test_a_difference_is_told_as_people_say_it() -> None:
    _, why = explained(Predictor(made()), [ask_training("Qwen/Qwen2-7B", gpu="A100-80GB-SXM", layout=TP4)])[0]
    told = {part.feature: part for one in why.time.nearest for part in one.differs}
    assert (told["tensor parallel"].asked, told["tensor parallel"].known) == (4.0, 1.0)
    assert said("checkpointing", 2.0) == "full"
    assert (said("year", 0.75), said("generation", 3.5), said("generation", 0.0)) == (2023.0, 2025.5, "unsaid")
    assert (said("amd", 2.0), said("amd", 0.0)) == (True, False)


NUMBERS = {"sharding stage", "master bytes", "gradient bytes", "weight bytes", "cache bytes", "matrix share"}


@pytest.mark.parametrize("task", list(Task))
def test_every_feature_that_measures_distance_is_a_size_a_number_or_told_in_words(task: Task) -> None:
    """A flag that is scaled for distance would else read as 2.0."""
    names = {feature.name for feature in task.features.features if feature.role is Role.FIXED}
    in_words = {name for name in names if not name.startswith("log ") and name not in NUMBERS}
    assert all(isinstance(said(name, 2.0), bool | str) or name in {"year", "generation"} for name in in_words)


def test_an_older_bundle_without_ids_still_loads_and_names_no_job() -> None:
    files = dict(made().files)
    bundle = read_files(files)
    corrections = {task: replace(one, domain=replace(one.domain, ids=None)) for task, one in bundle.corrections.items()}
    older = make_bundle(
        corrections, {}, created="2026-01-02", git_revision="abc", seed=7, observations=1, sources=(), metrics={}
    )
    assert "ids" not in json.loads(older.files["training_time.json"])["domain"]
    pairs = zip(explained(Predictor(older)), explained(Predictor(bundle)), strict=True)
    for (_, old), (_, new) in pairs:
        assert [one.id for one in old.time.nearest] == [None] * NEIGHBOURS
        assert [one.distance for one in old.time.nearest] == [one.distance for one in new.time.nearest]
        assert old.to_json()["time"]["nearest"][0]["id"] is None  # type: ignore[index]


def test_ids_that_do_not_belong_to_the_vectors_are_refused() -> None:
    raw = json.loads(made().files["training_time.json"])["domain"]
    assert len(Domain.from_json(raw).ids or ()) == len(raw["references"])
    with pytest.raises(InvalidBundle, match="ids stand beside"):
        Domain.from_json(raw | {"ids": raw["ids"][1:]})
    assert MANIFEST in made().files


def test_a_bundle_names_no_more_jobs_than_it_may() -> None:
    assert sum(REFERENCES.values()) <= 2000
    for task, correction in made().corrections.items():
        assert len(correction.domain.ids or ()) <= REFERENCES[task]


def test_the_first_id_stands_for_equal_rows_whatever_their_order() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    ids = np.array(["b", "c", "a"])
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        found = describe(rows[order], rows[order], limit=9, ids=ids[order])
        assert found.ids == ("a", "c")


def test_a_custom_job_says_where_it_begins() -> None:
    workload = CustomWorkload(kind="fit", features=(), runtime_s=100.0)
    question = Question(workload=workload, gpu=load_gpu_types().get("CPU"), layout=Layout())
    unheard = replace(question, workload=replace(workload, kind="unheard", runtime_s=None))
    past: list[Observation] = [observe(raw_custom(300.0, row=row)) for row in range(4)]
    past += [observe(raw_custom(1.0, row=9, kind="other"))]
    known, refused = Predictor(None).explain([question, unheard], past)
    assert isinstance(known, Forecast)
    nearest = tuple(Neighbour(id=f"site/custom-{row}", distance=0.0, differs=()) for row in (3, 2, 1))
    assert known.explanation == CustomExplanation(
        kind="fit", stated_runtime_s=100.0, stated_vram_gib=None, past_jobs=4, trained_on=0, nearest=nearest
    )
    assert isinstance(refused, NotEnoughData)


def test_a_custom_job_names_the_past_ones_it_is_most_like_and_in_what_they_differ() -> None:
    def of(size: float, mode: str) -> CustomWorkload:
        return CustomWorkload(kind="fit", features=(("mode", mode), ("size", size)))

    sizes = [(2.0, "slow"), (8.0, "fast"), (64.0, "fast"), (16.0, "fast")]
    past = [
        observe(raw_custom(10.0, row=row, gpu="L4", features={"size": size, "mode": mode}))
        for row, (size, mode) in enumerate(sizes)
    ]
    question = Question(workload=of(16.0, "fast"), gpu=load_gpu_types().get("L4"), layout=Layout())
    (answer,) = Predictor(None).explain([question], past)
    assert isinstance(answer, Forecast)
    assert isinstance(answer.explanation, CustomExplanation)
    first, second, third = answer.explanation.nearest
    assert [one.id for one in (first, second, third)] == ["site/custom-3", "site/custom-1", "site/custom-2"]
    assert (first.distance, first.differs) == (0.0, ())
    assert [(one.feature, one.asked, one.known) for one in second.differs] == [("size", 16.0, 8.0)]
    assert second.distance == pytest.approx(math.log(2.0))
    assert third.distance == pytest.approx(math.log(4.0))


def test_a_kind_of_which_a_job_gives_no_feature_is_not_what_its_forecast_begins_at() -> None:
    gpu = load_gpu_types().get("A100-80GB-SXM")
    asked = [
        Question(workload=CustomWorkload(kind="vision-train", features=given, runtime_s=9.0), gpu=gpu, layout=Layout())
        for given in ((), (("batch", 64.0),))
    ]
    none, one = (
        answer.explanation for answer in Predictor(load_bundle()).explain(asked) if isinstance(answer, Forecast)
    )
    assert isinstance(none, CustomExplanation)
    assert isinstance(one, CustomExplanation)
    assert none.trained_on == 0
    assert one.trained_on > 1000


def test_thousands_are_explained_at_once() -> None:
    """One pass for all: a thousand explanations take less than sixty times one, whose cost is mostly fixed."""
    predictor = Predictor(load_bundle())
    many = [ask_training("Qwen/Qwen2-7B", micro_batch_size=1 + row % 7) for row in range(1000)]
    predictor.explain(many[:1])

    def cost(questions: list[Question]) -> float:
        start = process_time()
        predictor.explain(questions)
        return process_time() - start

    assert min(cost(many) for _ in range(3)) < 60 * min(cost(many[:1]) for _ in range(10))
