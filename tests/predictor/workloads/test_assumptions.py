"""What the arithmetic assumed is said."""

from __future__ import annotations

from dataclasses import replace

from predictor.layout import Layout
from predictor.words import Sharding, VramMetric
from predictor.workload import CustomWorkload
from predictor.workloads.assumptions import arithmetic_assumptions
from tests.predictor.questions import serve, train


def test_a_question_that_says_everything_assumes_nothing() -> None:
    assert arithmetic_assumptions(serve(max_batch_size=8, engine="vllm"), 8) == ()
    assert arithmetic_assumptions(train(pure_low_precision=False), 1) == ()


def test_an_open_batch_is_named_with_its_size() -> None:
    notes = arithmetic_assumptions(serve(engine="sglang"), 96)

    assert notes == ("max_batch_size: 96 (what fits the card, within the engine's limits)",)


def test_unknown_software_is_named_with_what_it_was_counted_as() -> None:
    assert arithmetic_assumptions(serve(max_batch_size=8, engine="homegrown"), 8) == (
        "engine: homegrown is not known, counted as vllm",
    )
    assert arithmetic_assumptions(train(engine="homegrown", optimizer="prodigy"), 1) == (
        "optimizer: prodigy is not known, counted as adamw",
        "engine: homegrown is not known, counted as transformers",
    )


def test_fp32_shards_are_said_only_where_the_habit_was_assumed() -> None:
    layout = Layout(gpu_count=2, data_parallel=2, sharding=Sharding.ZERO3)

    assert arithmetic_assumptions(train(layout=layout), 1) == ("pure_low_precision: FP32 shards (the habit of FSDP)",)
    assert arithmetic_assumptions(train(layout=layout, pure_low_precision=True), 1) == ()


def test_fp16_runs_outside_mixed_precision_are_not_widened() -> None:
    layout = Layout(gpu_count=2, data_parallel=2, sharding=Sharding.ZERO3)

    assert arithmetic_assumptions(train(layout=layout, precision="fp16"), 1) == ()


def test_how_long_the_longest_batch_is_taken_to_be_is_said() -> None:
    question = train(sequence_length=768, micro_batch_size=1, sequence_length_is_cap=True)

    assert arithmetic_assumptions(question, 1) == (
        "sequence_length: lengths vary, 230 in a mean batch and 768 in the longest",
    )


def test_a_network_nobody_described_is_said_only_across_machines() -> None:
    one = serve(max_batch_size=8, engine="vllm", layout=Layout(gpu_count=8, data_parallel=8))
    two = replace(one, layout=Layout(gpu_count=16, data_parallel=16))

    assert arithmetic_assumptions(one, 8) == ()
    assert arithmetic_assumptions(two, 8) == ("interconnect_gbps: the maker's reference design",)
    assert arithmetic_assumptions(replace(two, interconnect_gbps=100.0), 8) == ()


def test_a_stated_reading_is_taken_as_the_drivers() -> None:
    question = serve(max_batch_size=8, engine="vllm", metric=VramMetric.STATED)

    assert arithmetic_assumptions(question, 8) == ("vram_metric: stated, read as driver",)


def test_a_custom_job_has_no_arithmetic() -> None:
    assert arithmetic_assumptions(replace(serve(), workload=CustomWorkload(kind="resnet")), 1) == ()
