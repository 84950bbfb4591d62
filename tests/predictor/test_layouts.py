"""The layouts an expert would try, and those a job cannot take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.errors import InvalidLayout
from predictor.layout import Layout
from predictor.layouts import MOST, check_layout, sensible_layouts
from predictor.words import Sharding
from predictor.workload import CustomWorkload, TrainingWorkload, Workload
from tests.predictor.questions import DEEPSEEK_V3, LLAMA_3_8B, LLAMA_3_70B, serve, train

MODELS = tuple(model.id for model in load_models())


def labels(workload: Workload, count: int) -> list[str]:
    return [layout.label() for layout in sensible_layouts(workload, count)]


def test_full_training_on_a_machine_tries_sharding_then_tensors() -> None:
    assert labels(train(LLAMA_3_8B).workload, 8)[:7] == [
        "dp8", "dp8 zero1", "dp8 zero2", "dp8 zero3", "tp2 dp4 zero1", "tp4 dp2 zero1", "tp8",
    ]  # fmt: skip


def test_adapters_shard_the_base_or_nothing() -> None:
    shardings = {
        layout.sharding
        for layout in sensible_layouts(train(LLAMA_3_8B, method="lora").workload, 8)
        if layout.data_parallel == 8
    }

    assert shardings == {Sharding.NONE, Sharding.ZERO3}


def test_a_small_global_batch_leaves_no_room_for_replicas() -> None:
    workload = train(LLAMA_3_8B, micro_batch_size=1, global_batch_size=1).workload

    assert {layout.data_parallel for layout in sensible_layouts(workload, 8)} == {1}


def test_training_over_machines_tries_pipelines() -> None:
    assert "tp8 pp2" in labels(train(LLAMA_3_70B).workload, 16)


def test_a_long_sequence_is_worth_splitting() -> None:
    assert "cp8 zero3" in labels(train(LLAMA_3_8B, sequence_length=65_536, global_batch_size=1).workload, 8)
    assert not any("cp" in label for label in labels(train(LLAMA_3_8B, sequence_length=4096).workload, 8))


def test_serving_tries_every_mix_of_replicas_and_tensors() -> None:
    assert labels(serve(LLAMA_3_70B).workload, 8)[:4] == ["dp8", "tp2 dp4", "tp4 dp2", "tp8"]


def test_a_replica_without_a_request_is_not_tried() -> None:
    workload = serve(LLAMA_3_8B, num_requests=2).workload

    assert {layout.data_parallel for layout in sensible_layouts(workload, 8)} <= {1, 2}


def test_a_mixture_with_latent_attention_tries_experts_apart_and_attention_repeated() -> None:
    layouts = sensible_layouts(serve(DEEPSEEK_V3).workload, 8)

    assert any(layout.expert_parallel == 8 and not layout.data_parallel_attention for layout in layouts)
    assert any(layout.data_parallel_attention for layout in layouts)


def test_a_custom_job_is_plain_data_parallelism() -> None:
    assert sensible_layouts(CustomWorkload(kind="resnet"), 4) == (Layout(gpu_count=4, data_parallel=4),)


@given(st.sampled_from(MODELS), st.integers(1, 64), st.sampled_from([4, 8]), st.integers(1, 64), st.booleans())
def test_layouts_are_few_distinct_possible_and_exact(
    model: str, count: int, node_gpus: int, batch: int, training: bool
) -> None:
    workload = (
        train(model, micro_batch_size=1, global_batch_size=batch) if training else serve(model, num_requests=batch)
    ).workload
    layouts = sensible_layouts(workload, count, node_gpus=node_gpus)

    assert 1 <= len(layouts) == len(set(layouts)) <= MOST
    for layout in layouts:
        assert layout.gpu_count == count
        assert layout.tensor_parallel <= node_gpus
        check_layout(workload, layout)
        if isinstance(workload, TrainingWorkload):
            assert layout.data_parallel <= batch


@pytest.mark.parametrize(
    ("workload", "layout", "sentence"),
    [
        (
            train(LLAMA_3_8B, micro_batch_size=4, global_batch_size=16).workload,
            Layout(gpu_count=8, data_parallel=8),
            "layout.data_parallel 8 x micro_batch_size 4 is 32, more than global_batch_size 16",
        ),
        (
            serve(LLAMA_3_8B).workload,
            Layout(gpu_count=3, tensor_parallel=3),
            "layout.tensor_parallel 3 does not divide the 32 attention heads of meta-llama/Meta-Llama-3-8B",
        ),
        (
            serve(LLAMA_3_8B).workload,
            Layout(gpu_count=64, pipeline_parallel=64),
            "layout.pipeline_parallel 64 is more than the 32 layers of meta-llama/Meta-Llama-3-8B",
        ),
        (
            serve("mistralai/Mixtral-8x7B-v0.1").workload,
            Layout(gpu_count=16, data_parallel=16, expert_parallel=16),
            "layout.expert_parallel 16 is more than the 8 experts of mistralai/Mixtral-8x7B-v0.1",
        ),
        (
            serve(LLAMA_3_8B).workload,
            Layout(gpu_count=2, data_parallel=2, expert_parallel=2),
            "layout.expert_parallel 2 has nothing to spread: meta-llama/Meta-Llama-3-8B has no experts",
        ),
    ],
)
def test_an_impossible_layout_is_refused_with_the_numbers(workload: Workload, layout: Layout, sentence: str) -> None:
    with pytest.raises(InvalidLayout) as refusal:
        check_layout(workload, layout)

    assert str(refusal.value) == sentence


def test_more_tensor_parallel_ranks_than_kv_heads_repeat_them() -> None:
    check_layout(serve(LLAMA_3_70B).workload, Layout(gpu_count=16, tensor_parallel=16))  # 64 heads, 8 KV heads


def test_a_layout_that_divides_everything_is_accepted() -> None:
    check_layout(
        train(LLAMA_3_8B, micro_batch_size=2, global_batch_size=16).workload, Layout(gpu_count=8, data_parallel=8)
    )
