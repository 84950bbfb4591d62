"""Memory of training, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from predictor.columns import training_columns
from predictor.footprint.parts import GIB, Footprint
from predictor.footprint.training import training_footprint
from predictor.forecast import Question
from predictor.layout import Layout
from predictor.words import Sharding, VramMetric
from tests.predictor.questions import LLAMA_2_7B, LLAMA_3_8B, train

LLAMA_2_7B_PARAMETERS = 6_738_415_616
DEEPSPEED: dict[str, object] = {"engine": "deepspeed"}


def footprint(*questions: Question) -> Footprint:
    return training_footprint(training_columns(questions))


def peak(question: Question) -> float:
    return float(footprint(question).peak_gib[0])


def test_mixed_precision_adamw_costs_sixteen_bytes_a_parameter() -> None:
    """ZeRO, arXiv:1910.02054, section 3.1: 2 weights + 2 gradients + 4 master + 8 moments, for Llama-2 7B 100.4 GiB."""
    f = footprint(train(LLAMA_2_7B, software=DEEPSPEED, sequence_length=16, gradient_checkpointing="full"))

    states = f.weights + f.gradients + f.optimizer
    assert states[0] == pytest.approx(16 * LLAMA_2_7B_PARAMETERS / GIB, rel=1e-3)
    assert f.optimizer[0] == pytest.approx(12 * LLAMA_2_7B_PARAMETERS / GIB, rel=1e-3)


def test_megatron_keeps_its_gradients_in_fp32() -> None:
    """Megatron Core, distributed optimizer: 18 bytes, of which ZeRO-1 divides 12 over 8 ranks."""
    layout = Layout(gpu_count=8, data_parallel=8, sharding=Sharding.ZERO1)
    f = footprint(
        train(LLAMA_2_7B, layout=layout, software={"engine": "megatron-lm"}, sequence_length=16, micro_batch_size=1)
    )

    states = f.weights + f.gradients + f.optimizer
    assert states[0] == pytest.approx((6 + 12 / 8) * LLAMA_2_7B_PARAMETERS / GIB, rel=1e-3)


def test_pure_bf16_peaks_at_ten_bytes_a_parameter_in_the_step() -> None:
    """Weights, gradients, two moments, one temporary, two bytes each; measured within 0.1 % on A100."""
    f = footprint(train(LLAMA_2_7B, sequence_length=2048, gradient_checkpointing="full"))

    assert f.peak_gib[0] == pytest.approx(10 * LLAMA_2_7B_PARAMETERS / GIB, rel=1e-3)
    assert f.activations[0] == 0


def test_the_peak_of_the_step_does_not_add_to_that_of_the_pass() -> None:
    short, long = (train(LLAMA_2_7B, sequence_length=n, gradient_checkpointing="full") for n in (256, 4096))

    assert peak(short) == peak(long)


@pytest.mark.parametrize(
    ("optimizer", "bytes_per_parameter"), [("sgd", 2 + 2), ("lion", 2 + 2 + 2), ("adamw_8bit", 2 + 2 + 2.03)]
)
def test_lighter_optimizers_in_pure_bf16(optimizer: str, bytes_per_parameter: float) -> None:
    f = footprint(train(LLAMA_2_7B, sequence_length=8, gradient_checkpointing="full", optimizer=optimizer))

    assert f.weights[0] + f.gradients[0] + f.optimizer[0] == pytest.approx(
        bytes_per_parameter * LLAMA_2_7B_PARAMETERS / GIB, rel=2e-3
    )


def test_offloaded_states_leave_weights_and_gradients() -> None:
    f = footprint(train(LLAMA_2_7B, software=DEEPSPEED, sequence_length=16, optimizer_offload="cpu"))

    assert f.optimizer[0] == 0
    assert f.weights[0] == pytest.approx(2 * LLAMA_2_7B_PARAMETERS / GIB, rel=1e-3)


def test_activations_of_a_gpt_layer_are_those_of_korthikanti() -> None:
    """arXiv:2205.05198, equation 2: 34 s b h + 5 a s^2 b, here without the two dropout masks: 32 s b h + 5 a s^2 b."""
    gpt = {
        "num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
        "vocab_size": 1000, "gated_mlp": False,
    }  # fmt: skip
    eager, flash = (
        train(gpt, software={"engine": "megatron-lm"}, sequence_length=2048, attention=attention, fused_loss=True)
        for attention in ("eager", "flash")
    )
    activation, flash_activation = footprint(eager, flash).activations * GIB

    scores = 24 * 5 * 16 * 2048**2
    assert flash_activation == pytest.approx(24 * 32 * 2048 * 1024, rel=0.05)
    assert activation - flash_activation == pytest.approx(scores, rel=0.1)


def test_full_checkpointing_keeps_one_tensor_a_layer() -> None:
    kept = {
        layers: footprint(
            train(
                {"num_hidden_layers": layers, "hidden_size": 4096, "num_attention_heads": 32, "vocab_size": 1000},
                method="lora",
                sequence_length=8192,
                gradient_checkpointing="full",
            )
        ).activations[0]
        for layers in (16, 32)
    }

    assert kept[32] - kept[16] == pytest.approx(16 * 8192 * 4096 * 2 / GIB, rel=1e-6)


def test_checkpointing_saves_and_selective_lies_between() -> None:
    none, selective, full = (
        peak(train(method="lora", sequence_length=4096, attention="eager", gradient_checkpointing=how))
        for how in ("none", "selective", "full")
    )

    assert full < selective < none


def test_the_logits_of_a_large_vocabulary_vanish_with_a_fused_loss() -> None:
    """128,256 x 8,192 logits at 14 bytes are 13.7 GiB; what remains is the layer's own work."""
    whole, fused = (
        peak(train(method="lora", sequence_length=8192, gradient_checkpointing="full", fused_loss=fused))
        for fused in (False, True)
    )

    assert 11 < whole - fused < 13.7


def test_preparing_a_quantised_base_makes_qlora_need_more_than_lora_at_long_sequences() -> None:
    lora, qlora, long_lora, long_qlora = (
        peak(train(method=method, sequence_length=length, gradient_checkpointing="full", fused_loss=True))
        for length in (512, 65_536)
        for method in ("lora", "qlora")
    )

    assert qlora < lora
    assert long_qlora > long_lora


def test_nf4_weights_are_half_a_byte_and_a_scale() -> None:
    """6.48 B linear weights at 0.516 bytes, 0.26 B of embedding and head prepared in FP32: 4.09 GiB and adapters."""
    f = footprint(train(LLAMA_2_7B, method="qlora", sequence_length=16))

    outside = 2 * 32_000 * 4096
    linear = LLAMA_2_7B_PARAMETERS - outside
    adapters = 4 * 39_976_960
    assert f.weights[0] == pytest.approx((linear * 0.5159 + outside * 4 + adapters) / GIB, rel=0.005)


def test_zero_stages_divide_what_they_say() -> None:
    """Llama-2 7B, 8 ranks, 2 + 2 + 12 bytes: 16, 2 + 2 + 1.5, 2 + 0.25 + 1.5, 0.25 + 0.25 + 1.5 and gathered layers."""
    none, zero1, zero2, zero3 = (
        footprint(
            train(
                LLAMA_2_7B,
                layout=Layout(gpu_count=8, data_parallel=8, sharding=sharding),
                software=DEEPSPEED,
                sequence_length=16,
            )
        )
        for sharding in Sharding
    )
    per_parameter = LLAMA_2_7B_PARAMETERS / GIB

    assert none.optimizer[0] == pytest.approx(12 * per_parameter, rel=1e-3)
    assert zero1.optimizer[0] == pytest.approx(1.5 * per_parameter, rel=1e-3)
    assert zero2.gradients[0] == pytest.approx(0.25 * per_parameter, rel=1e-3)
    assert 0.25 * per_parameter < zero3.weights[0] < 0.6 * per_parameter


def test_fsdp_of_a_habitual_transformers_run_keeps_fp32_shards() -> None:
    layout = Layout(gpu_count=8, data_parallel=8, sharding=Sharding.ZERO3)
    habits: tuple[dict[str, Any], ...] = ({}, {"pure_low_precision": True})
    assumed, stated = (
        footprint(train(LLAMA_2_7B, layout=layout, sequence_length=16, **said)).optimizer[0] for said in habits
    )

    assert assumed == pytest.approx(2 * stated)


def test_fsdp_of_an_fp16_run_keeps_fp16_shards() -> None:
    """7.24 B parameters of 2 + 2 + 4 bytes and 2 more in the step, over 2 ranks: 33.7 GiB, as measured on A100."""
    layout = Layout(gpu_count=2, data_parallel=2, sharding=Sharding.ZERO3)
    question = train("mistralai/Mistral-7B-v0.1", layout=layout, precision="fp16", sequence_length=256)

    assert footprint(question).peak_gib[0] == pytest.approx(33.7, rel=0.05)


def test_under_fsdp_the_step_cannot_reuse_the_blocks_of_the_pass() -> None:
    layout = Layout(gpu_count=4, data_parallel=4, sharding=Sharding.ZERO2)
    plain = train(layout=layout, metric=VramMetric.RESERVED, gradient_checkpointing="full", pure_low_precision=True)
    fsdp = replace(plain, layout=replace(layout, sharding=Sharding.ZERO3))

    f = footprint(plain, fsdp)

    step_copy = 8.03e9 * 2 / 4 / GIB
    assert f.overhead[1] > f.overhead[0] + 0.9 * step_copy


def test_the_first_stage_of_a_pipeline_holds_a_pass_for_each_stage() -> None:
    """1F1B over 4 stages: the first keeps 4 passes of its 8 layers, the last 1."""
    layout = Layout(gpu_count=4, pipeline_parallel=4)
    spec: dict[str, Any] = {"global_batch_size": 16, "sequence_length": 8192, "fused_loss": True}
    columns = training_columns([train(layout=layout, software={"engine": "megatron-lm"}, **spec)])
    fullest = training_footprint(columns)
    last = training_footprint(columns, np.array([True]))

    assert fullest.activations[0] > 3 * last.activations[0]
    assert fullest.peak_gib[0] > last.peak_gib[0]


def test_readings_grow_from_allocated_over_reserved_to_driver() -> None:
    question = train(method="lora", sequence_length=4096)
    allocated, reserved, driver, stated = (
        peak(replace(question, vram_metric=metric))
        for metric in (VramMetric.ALLOCATED, VramMetric.RESERVED, VramMetric.DRIVER, VramMetric.STATED)
    )

    assert allocated < reserved < driver
    assert stated == driver


def test_a_cache_that_grows_is_no_need_and_stops_at_the_card() -> None:
    """Logits fill most of an L40S: the driver would show a full card, yet the job needs less."""
    question = train(method="lora", sequence_length=8192, gradient_checkpointing="full", gpu="L40S")
    f = footprint(replace(question, vram_metric=VramMetric.DRIVER))

    usable = question.gpu.usable_gib
    assert usable is not None
    assert f.peak_gib[0] <= usable
    assert f.need_gib[0] < f.peak_gib[0]


def test_trained_embeddings_are_kept_in_the_models_own_type() -> None:
    """Llama-3 8B: 1.05 B parameters outside the layers; copy, gradient, two moments and a temporary of 2 bytes."""
    plain, trained = (
        footprint(train(LLAMA_3_8B, method="lora", sequence_length=16, train_embeddings=yes)) for yes in (False, True)
    )
    saved = 2 * 128_256 * 4096

    assert trained.weights[0] - plain.weights[0] == pytest.approx(2 * saved / GIB, rel=0.01)
    assert trained.peak_gib[0] - plain.peak_gib[0] == pytest.approx(10 * saved / GIB, rel=0.05)
