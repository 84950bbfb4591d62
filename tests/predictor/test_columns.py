"""Questions become columns: every distinct fact read once, every row in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.columns import inference_columns, training_columns
from predictor.errors import InvalidWorkload
from predictor.gather import distinct, gather
from predictor.layout import Layout
from predictor.workload import TrainingWorkload
from predictor.workloads.lora import lora_parameters
from predictor.workloads.optimizers import find_optimizer, optimizer_assumption
from tests.predictor.questions import LLAMA_3_8B, serve, train


def test_each_distinct_object_is_read_once_and_rows_keep_their_order() -> None:
    reads: list[float] = []

    class Thing:
        def __init__(self, size: float) -> None:
            self.size = size

    def read(thing: Thing) -> dict[str, float]:
        reads.append(thing.size)
        return {"size": thing.size, "double": 2 * thing.size}

    one, two = Thing(1.0), Thing(2.0)
    arrays = gather(distinct([two, one, two, two, one]), read)

    assert reads == [2.0, 1.0]
    assert arrays["size"].tolist() == [2.0, 1.0, 2.0, 2.0, 1.0]
    assert arrays["double"].tolist() == [4.0, 2.0, 4.0, 4.0, 2.0]


@given(
    micro=st.integers(1, 8),
    data=st.sampled_from([1, 2, 4]),
    passes=st.integers(1, 7),
    samples=st.integers(1, 10_000),
)
def test_steps_and_accumulation_are_those_of_the_workload(micro: int, data: int, passes: int, samples: int) -> None:
    layout = Layout(gpu_count=data, data_parallel=data)
    question = train(
        layout=layout, micro_batch_size=micro, global_batch_size=micro * data * passes, num_samples=samples
    )
    workload = question.workload
    assert isinstance(workload, TrainingWorkload)

    columns = training_columns([question])

    assert columns.accumulation[0] == workload.accumulation_steps(layout) == passes
    assert columns.steps[0] == workload.steps(layout)
    assert columns.sequences_per_step[0] == workload.sequences_per_step(layout)


@pytest.mark.parametrize(
    ("gpu", "precision", "rate"),
    [
        ("H100-SXM", "fp8", "fp8_tflops"),
        ("A100-80GB-SXM", "fp8", "bf16_tflops"),  # no FP8 unit: weights are widened as they are read
        ("H100-SXM", "int4", "bf16_tflops"),  # a storage format everywhere
        ("H100-SXM", "fp4", "bf16_tflops"),  # before Blackwell
        ("B200", "fp4", "fp4_tflops"),
    ],
)
def test_a_precision_the_silicon_lacks_runs_at_the_rate_it_falls_back_to(gpu: str, precision: str, rate: str) -> None:
    question = serve(gpu=gpu, precision=precision)

    columns = inference_columns([question])

    assert columns.compute_tflops[0] == getattr(question.gpu, rate)


def test_bf16_on_a_card_without_it_runs_as_fp16() -> None:
    question = serve(gpu="T4", precision="bf16")

    assert inference_columns([question]).compute_tflops[0] == question.gpu.fp16_tflops


def test_adapters_on_every_linear_layer_of_llama_3_8b() -> None:
    """Rank 16 on q, k, v, o, gate, up, down of 32 layers: 16 x (sum of widths) = 41.9 M, as PEFT prints it."""
    columns = training_columns([train(LLAMA_3_8B, method="lora", lora_rank=16)])

    assert columns.lora_parameters[0] == 41_943_040


def test_adapters_on_query_and_value_only() -> None:
    workload = train(LLAMA_3_8B, method="lora").workload
    assert isinstance(workload, TrainingWorkload)

    count = lora_parameters(workload.architecture, 16, ("q_proj", "v_proj"))

    assert count == 32 * 16 * ((4096 + 4096) + (4096 + 1024))


def test_an_unknown_target_module_counts_as_every_linear_layer() -> None:
    workload = train(LLAMA_3_8B, method="lora").workload
    assert isinstance(workload, TrainingWorkload)

    assert lora_parameters(workload.architecture, 16, ("mystery",)) == 41_943_040


@pytest.mark.parametrize(
    ("optimizer", "bytes_per_parameter"),
    [
        ("adamw", 8.0),
        ("adamw_torch_fused", 8.0),
        ("sgd", 0.0),
        ("lion", 4.0),
        ("adamw_8bit", 2.03125),
        ("prodigy", 8.0),
    ],
)
def test_states_beside_fp32_masters(optimizer: str, bytes_per_parameter: float) -> None:
    question = train(optimizer=optimizer, software={"engine": "deepspeed"})

    assert training_columns([question]).state_bytes[0] == pytest.approx(bytes_per_parameter)


def test_an_optimizer_nobody_knows_is_counted_as_adamw_out_loud() -> None:
    assert find_optimizer("prodigy") is None
    assert optimizer_assumption("prodigy") == "optimizer: prodigy is not known, counted as adamw"
    assert optimizer_assumption("paged_adamw_8bit") is None


def test_muon_keeps_one_state_in_layers_and_two_outside() -> None:
    """Llama-3 8B: 1.05 B of 8.03 B parameters are embedding and head."""
    columns = training_columns([train(optimizer="muon", software={"engine": "deepspeed"})])

    outside = 2 * 128_256 * 4096 / 8_030_261_248
    assert columns.state_bytes[0] == pytest.approx(4.0 * (1.0 + outside), rel=1e-4)


def test_questions_of_another_kind_are_refused() -> None:
    with pytest.raises(InvalidWorkload, match="1 of 2 questions are about training"):
        training_columns([train(), serve()])


def test_the_network_nobody_described_is_that_of_the_makers_design() -> None:
    h100, l40s = inference_columns([serve(gpu="H100-SXM"), serve(gpu="L40S")]).layout.interconnect_gbs

    assert (h100, l40s) == (8 * 400 / 8, 100 / 8)


def test_hundreds_of_rows_of_one_workload_cost_little_more_than_one() -> None:
    question = serve()
    columns = inference_columns([question] * 600)

    assert columns.input.shape == (600,)
    assert np.ptp(columns.model.parameters) == 0
