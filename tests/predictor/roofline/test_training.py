"""The time of a training step: six FLOPs per parameter and token, and what stands between a GPU and them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.columns import training_columns
from predictor.hardware import load_gpu_types
from predictor.roofline.startup import training_startup_s
from tests.predictor.roofline_questions import GPUS, LLAMA_7B, LLAMA_70B, MODELS, question, time_training, training

PARTS = ("compute_s", "memory_s", "communication_s", "overhead_s", "bubble_s")
EIGHT = {"gpu_count": 8, "data_parallel": 8, "sharding": "zero1"}


def utilisation(workload: dict[str, Any], gpu: str, peak: float, layout: dict[str, Any]) -> float:
    """Model FLOPs (6 per parameter and token, PaLM appendix B) over what the cards could do in the step."""
    asked = question(workload, gpu, layout)
    tokens = workload["micro_batch_size"] * workload["sequence_length"] * asked.layout.data_parallel
    seconds = time_training(asked).step_time_s[0]
    return float(6 * 6.74e9 * tokens / (seconds * peak * asked.layout.gpu_count))


def test_a_7b_model_uses_half_of_an_a100_and_less_of_an_h100() -> None:
    # published runs of 7B models with 4k sequences: 50-60 % on A100, 38-48 % on H100
    a100 = utilisation(training(), "A100-80GB-SXM", 312e12, EIGHT)
    h100 = utilisation(training(), "H100-SXM", 989e12, EIGHT)
    assert 0.45 < a100 < 0.65
    assert 0.33 < h100 < a100


def test_full_checkpointing_costs_one_more_forward_pass_of_three() -> None:
    plain, full = time_training(
        question(training(), layout=EIGHT), question(training(gradient_checkpointing="full"), layout=EIGHT)
    ).compute_s
    assert full / plain == pytest.approx(4 / 3, rel=0.03)  # the head is not computed again


def test_long_sequences_cost_more_on_hopper_where_kernels_are_those_of_ampere() -> None:
    """FlashAttention-2 fills 35 % of an H100; cuDNN's kernels, which Megatron runs, twice that (arXiv:2407.08608)."""
    long = {"sequence_length": 65_536, "micro_batch_size": 1}

    def ratio(engine: str) -> float:
        a100, h100 = time_training(
            *(question(training(**long, engine=engine), g) for g in ("A100-80GB-SXM", "H100-SXM"))
        ).compute_s
        return float(a100 / h100)

    assert ratio("composer") < 0.75 * ratio("megatron-lm")


def test_fused_adapters_move_less() -> None:
    shape = {"method": "lora", "lora_rank": 16, "engine": "transformers", "sequence_length": 2048}
    plain, fused = time_training(
        question(training(**shape)), question(training(**shape), software={"kernels": "unsloth"})
    ).memory_s
    assert fused < 0.5 * plain


def test_frozen_weights_need_no_gradient_of_their_own() -> None:
    short = {"engine": "transformers", "sequence_length": 256, "micro_batch_size": 64}  # hardly any attention
    full, lora = time_training(
        question(training(**short)), question(training(**short, method="lora", lora_rank=8))
    ).compute_s
    assert lora / full == pytest.approx(4 / 6, rel=0.03)


def test_a_quantised_base_is_widened_before_every_product() -> None:
    shape = {"method": "lora", "lora_rank": 16, "engine": "transformers", "micro_batch_size": 1}
    lora, qlora = time_training(
        question(training(**shape)), question(training(**shape | {"method": "qlora", "quantization": "nf4"}))
    ).memory_s
    # 18.5 bytes moved for each of 6.5e9 weights, forward and backward, at 1.8 TB/s
    assert qlora - lora == pytest.approx(2 * 18.5 * 6.5e9 / 1.8e12, rel=0.1)


def test_the_bubble_is_stages_minus_one_of_the_micro_batches() -> None:
    asked = training(micro_batch_size=1, global_batch_size=16)
    time = time_training(question(asked, layout={"gpu_count": 4, "pipeline_parallel": 4}))
    steady = time.step_time_s[0] - time.bubble_s[0]
    assert time.bubble_s[0] / steady == pytest.approx(3 / 16, rel=0.1)  # (p - 1) / m, arXiv:2104.04473 section 2.2.1


def test_accumulation_repeats_the_micro_step() -> None:
    once, eight = time_training(
        question(training(micro_batch_size=2, global_batch_size=2)),
        question(training(micro_batch_size=2, global_batch_size=16)),
    ).compute_s
    assert eight == pytest.approx(8 * once)


def test_sharded_weights_cost_more_across_machines_than_inside_one() -> None:
    def exposed(gpus: int, network: float | None = None) -> float:
        sharded = {"gpu_count": gpus, "data_parallel": gpus, "sharding": "zero3"}
        asked = replace(question(training(engine="fsdp"), "H100-SXM", sharded), interconnect_gbps=network)
        return float(time_training(asked).communication_s[0])

    assert 0 < exposed(8) < exposed(16, network=400.0) < exposed(16, network=100.0)


def test_states_in_host_memory_make_a_slow_step() -> None:
    on_card, offloaded = time_training(question(training()), question(training(optimizer_offload="cpu"))).step_time_s
    # 6.7e9 parameters at 1.2 ns, and 4 + 2 bytes of each over PCIe 4.0
    assert 8.0 < offloaded - on_card < 11.0


def test_a_tiny_model_waits_for_launches() -> None:
    tiny = {"num_hidden_layers": 12, "hidden_size": 512, "num_attention_heads": 8, "vocab_size": 32000}
    time = time_training(question(training(model=tiny, sequence_length=1024, micro_batch_size=1)))
    assert time.overhead_s[0] > 0.7 * time.step_time_s[0]


def test_a_window_bounds_the_work_of_attention() -> None:
    layers = {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "vocab_size": 32000}
    windowed, full = time_training(
        question(training(model=layers | {"sliding_window": 4096}, sequence_length=32_768, micro_batch_size=1)),
        question(training(model=layers, sequence_length=32_768, micro_batch_size=1)),
    ).compute_s
    assert windowed < 0.7 * full


def test_start_up_of_a_70b_is_dominated_by_its_weights() -> None:
    small, large = training_startup_s(training_columns([question(training()), question(training(model=LLAMA_70B))]))
    assert 15 < small < 40
    assert 90 < large < 180


@pytest.mark.parametrize("gpu", [gpu.name for gpu in load_gpu_types()])
def test_every_model_has_a_finite_positive_step_on_every_card(gpu: str) -> None:
    asked = [
        question(training(model=model, **method), gpu, {"gpu_count": 8, "data_parallel": 8, "sharding": "zero3"})
        for model in load_models().ids()
        for method in ({"method": "full"}, {"method": "qlora", "engine": "transformers", "attention": "eager"})
    ]
    time = time_training(*asked)
    assert np.isfinite(time.step_time_s).all()
    assert (time.step_time_s > 0).all()
    assert np.allclose(sum(getattr(time, part) for part in PARTS), time.step_time_s)
    assert all((getattr(time, part) >= -1e-12 * time.step_time_s).all() for part in PARTS)


layouts = st.sampled_from(
    [
        {"gpu_count": 1},
        {"gpu_count": 8, "data_parallel": 8, "sharding": "zero3"},
        {"gpu_count": 8, "data_parallel": 8, "sharding": "zero2"},
        {"gpu_count": 16, "tensor_parallel": 4, "pipeline_parallel": 2, "data_parallel": 2, "sharding": "zero1"},
        {"gpu_count": 16, "data_parallel": 16, "expert_parallel": 16},
        {"gpu_count": 8, "context_parallel": 4, "tensor_parallel": 2},
    ]
)
runs = st.fixed_dictionaries(
    {
        "model": st.sampled_from(MODELS),
        "sequence_length": st.integers(16, 65_536),
        "micro_batch_size": st.integers(1, 16),
        "engine": st.sampled_from(["transformers", "megatron-lm", "fsdp", "deepspeed", "mystery"]),
        "gradient_checkpointing": st.sampled_from(["none", "selective", "full"]),
        "attention": st.sampled_from(["flash", "eager"]),
    }
)


@given(run=runs, gpu=st.sampled_from(GPUS), layout=layouts, more=st.integers(1, 4096))
def test_more_tokens_never_take_less_time(run: dict[str, Any], gpu: str, layout: dict[str, Any], more: int) -> None:
    step = time_training(
        question(training(**run), gpu, layout),
        question(training(**run | {"sequence_length": run["sequence_length"] + more}), gpu, layout),
        question(training(**run | {"micro_batch_size": run["micro_batch_size"] + more}), gpu, layout),
    ).step_time_s
    assert np.isfinite(step).all()
    assert step[0] > 0
    assert (step[1:] >= step[0] * (1 - 1e-9)).all()


@given(rank=st.integers(1, 256), more=st.integers(1, 256), gpu=st.sampled_from(GPUS))
def test_a_higher_rank_never_takes_less_time(rank: int, more: int, gpu: str) -> None:
    adapters = [question(training(method="lora", lora_rank=r, model=LLAMA_7B), gpu) for r in (rank, rank + more)]
    low, high = time_training(*adapters).step_time_s
    assert high >= low


@given(run=runs, gpu=st.sampled_from(GPUS), layout=layouts, more=st.floats(1.0, 10.0))
def test_a_better_card_or_network_is_never_slower(
    run: dict[str, Any], gpu: str, layout: dict[str, Any], more: float
) -> None:
    card = load_gpu_types().get(gpu)
    plain = question(training(**run), card, layout)
    better = [
        replace(plain, gpu=replace(card, memory_bandwidth_gbs=card.memory_bandwidth_gbs * more)),
        replace(plain, gpu=replace(card, achievable_fraction=min(1.0, card.achievable_fraction * more))),
        replace(plain, gpu=replace(card, nvlink_gbs=card.nvlink_gbs * more)),
    ]
    step = time_training(plain, *better).step_time_s
    assert (step[1:] <= step[0] * (1 + 1e-9)).all()
    slow, fast = time_training(
        replace(plain, interconnect_gbps=100.0), replace(plain, interconnect_gbps=100.0 * more)
    ).step_time_s
    assert fast <= slow * (1 + 1e-9)
