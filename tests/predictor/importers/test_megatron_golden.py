"""Golden values become a step of the model that the test's own arguments describe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.predictor.importers.result_files import MEGATRON_CONFIG, golden_values, read, the_reason, the_row

EIGHT = {"layout.gpu_count": "8"}


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A test's folder with its model_config.yaml."""
    (tmp_path / "model_config.yaml").write_text(MEGATRON_CONFIG)
    return tmp_path


def test_time_is_the_median_after_warm_up_and_memory_the_last_ranks_largest(case: Path) -> None:
    row = the_row(read(case, golden_values(), "golden_values_dev_dgx_h100.json", given=EIGHT))
    assert row["step_time_s"] == 0.6
    assert (row["peak_vram_gib"], row["vram_metric"], row["rank"]) == (3.0, "allocated", "last")
    assert row["gpu_type"] == "H100-SXM"


def test_arguments_shape_model_batch_and_split(case: Path) -> None:
    row = the_row(read(case, golden_values(), "golden_values_dev_dgx_h100.json", given=EIGHT))
    workload, layout = row["workload"], row["layout"]
    assert workload["model"] | {"num_hidden_layers": 12, "hidden_size": 512} == workload["model"]
    assert workload["model"]["intermediate_size"] == 2048
    assert workload["model"]["tie_word_embeddings"]
    assert (workload["precision"], workload["attention"], workload["optimizer"]) == ("bf16", "eager", "adamw")
    assert (workload["micro_batch_size"], workload["global_batch_size"], workload["sequence_length"]) == (4, 32, 1024)
    assert (layout["tensor_parallel"], layout["pipeline_parallel"], layout["sharding"]) == (2, 2, "zero1")


def test_mixtures_and_latent_attention_are_read(case: Path) -> None:
    more = (
        "  --swiglu: true\n  --num-experts: 8\n  --moe-layer-freq: ([0]*3+[1]*9)\n  --moe-ffn-hidden-size: 1024\n"
        "  --moe-router-topk: 4\n  --multi-latent-attention: true\n  --kv-lora-rank: 128\n  --fp8-format: hybrid\n"
        "  --expert-model-parallel-size: 2\n  --use-megatron-fsdp: true\n"
        "  --data-parallel-sharding-strategy: optim_grads_params\n  --recompute-granularity: full\n"
    )
    (case / "model_config.yaml").write_text(MEGATRON_CONFIG.replace("TEST_TYPE", more + "TEST_TYPE"))
    row = the_row(read(case, golden_values(), given=EIGHT | {"gpu_type": "H100-SXM"}))
    model = row["workload"]["model"]
    assert (model["num_experts"], model["num_experts_per_tok"], model["first_k_dense_layers"]) == (8, 4, 3)
    assert (model["kv_lora_rank"], model["qk_rope_head_dim"], model["intermediate_size"]) == (128, 64, 1344)
    assert (row["workload"]["precision"], row["workload"]["gradient_checkpointing"]) == ("fp8", "full")
    assert (row["layout"]["expert_parallel"], row["layout"]["sharding"]) == (2, "zero3")


def test_an_older_file_lists_its_values_and_its_folder_names_the_machine(tmp_path: Path) -> None:
    folder = tmp_path / "gpt3_345m_dgx_a100_1N8G_tp2_pp2"
    folder.mkdir()
    (folder / "model_config.yaml").write_text(MEGATRON_CONFIG)
    old = {"lm loss": {"start_step": 0, "values": [10.8, 10.7]}, "iteration_timing_avg": 0.119}
    row = the_row(read(folder, old, "golden_values.json", given={"gpu_type": "A100-80GB-SXM"}))
    assert row["layout"]["gpu_count"] == 8
    assert row["step_time_s"] == 0.119
    assert "peak_vram_gib" not in row


def test_steps_of_a_growing_batch_have_no_one_time(case: Path) -> None:
    ramped = MEGATRON_CONFIG.replace("TEST_TYPE", '  --rampup-batch-size: "[8 8 100]"\nTEST_TYPE')
    (case / "model_config.yaml").write_text(ramped)
    row = the_row(read(case, golden_values(), given=EIGHT | {"gpu_type": "H100-SXM"}))
    assert "step_time_s" not in row
    assert row["peak_vram_gib"] == 3.0


def test_a_dgx_a100_may_hold_either_card(case: Path) -> None:
    reason = the_reason(read(case, golden_values(), "golden_values_lts_dgx_a100.json", given=EIGHT))
    assert "does not say gpu_type" in reason


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "must lie beside"),
        ("MODEL_ARGS: [", "cannot be read"),
        ("ENV_VARS: {}", "no MODEL_ARGS"),
        ("MODEL_ARGS: {--num-layers: 2}", "lacks one of num-layers"),
        (
            MEGATRON_CONFIG.replace("TEST_TYPE", "  --num-experts: 8\n  --moe-layer-freq: 3\nTEST_TYPE"),
            "moe-layer-freq 3",
        ),
    ],
)
def test_arguments_that_cannot_be_read_are_named(tmp_path: Path, config: str | None, said: str) -> None:
    if config is not None:
        (tmp_path / "model_config.yaml").write_text(config)
    assert said in the_reason(read(tmp_path, golden_values(), given=EIGHT | {"gpu_type": "H100-SXM"}))
