"""Memory of inference, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from predictor.columns import inference_columns
from predictor.footprint.inference import SAFE_SHARE, SURE_GIB, SURE_RATIO, inference_footprint
from predictor.footprint.parts import GIB, Footprint
from predictor.forecast import Question
from predictor.layout import Layout
from predictor.words import VramMetric
from tests.predictor.questions import DEEPSEEK_V3, LLAMA_3_8B, LLAMA_3_70B, serve

KIB = 1024.0


def footprint(*questions: Question) -> Footprint:
    return inference_footprint(inference_columns(questions))


def cache_bytes(question: Question) -> float:
    return float(footprint(question).kv_cache[0] * GIB)


def test_fp8_weights_of_a_70b_leave_embedding_and_head_in_16_bits() -> None:
    """70.55 B parameters, 2 x 128,256 x 8,192 of them outside the layers: 68.45 GB + 4.2 GB = 67.7 GiB."""
    f = footprint(serve(LLAMA_3_70B, precision="fp8", max_batch_size=1))

    outside = 2 * 128_256 * 8192
    assert f.weights[0] == pytest.approx((70_553_706_496 - outside + 2 * outside) / GIB, rel=1e-3)


def test_a_token_of_llama_3_8b_leaves_128_kib() -> None:
    """32 layers x 8 KV heads x 128 x (key and value) x 2 bytes (GQA); 1,024 tokens are 64 whole pages."""
    assert cache_bytes(serve(LLAMA_3_8B, input_length=1000, output_length=24, max_batch_size=1)) == pytest.approx(
        1024 * 128 * KIB
    )


def test_a_token_of_deepseek_v3_leaves_70_kb_on_every_rank() -> None:
    """61 layers x (512 + 64) x 2 bytes (MLA); a latent cannot be split over heads."""
    spec: dict[str, Any] = {
        "input_length": 1000,
        "output_length": 24,
        "max_batch_size": 1,
        "kv_cache_precision": "bf16",
    }
    alone = cache_bytes(serve(DEEPSEEK_V3, gpu="H200-SXM", **spec))
    split = cache_bytes(serve(DEEPSEEK_V3, gpu="H200-SXM", layout=Layout(gpu_count=8, tensor_parallel=8), **spec))

    assert alone == pytest.approx(1024 * 61 * 576 * 2)
    assert split == alone


def test_attention_repeated_on_every_rank_splits_the_sequences_instead() -> None:
    spec: dict[str, Any] = {"input_length": 1000, "output_length": 24, "max_batch_size": 64, "precision": "fp8"}
    split = Layout(gpu_count=8, tensor_parallel=8, expert_parallel=8)
    repeated = replace(split, data_parallel_attention=True)
    f = footprint(*(serve(DEEPSEEK_V3, gpu="H200-SXM", layout=layout, **spec) for layout in (split, repeated)))

    assert f.kv_cache[1] == pytest.approx(f.kv_cache[0] / 8)
    assert f.weights[1] > f.weights[0]


def test_tensor_parallelism_beyond_the_kv_heads_repeats_the_cache() -> None:
    """Llama-3 8B has 8 KV heads: 16 ranks hold as much each as 8 do."""
    spec: dict[str, Any] = {"input_length": 4096, "output_length": 0, "max_batch_size": 8}
    one, eight, sixteen = (
        cache_bytes(serve(LLAMA_3_8B, layout=Layout(gpu_count=n, tensor_parallel=n), **spec)) for n in (1, 8, 16)
    )

    assert eight == pytest.approx(one / 8)
    assert sixteen == eight


def test_sliding_layers_keep_their_window_and_no_more() -> None:
    """Gemma-3 27B: 10 of 62 layers see everything, 52 the last 1,024 tokens; 16 KV heads x 128 x 2 x 2 bytes."""
    question = serve("google/gemma-3-27b-it", input_length=32_768, output_length=0, max_batch_size=1)

    per_layer = 16 * 128 * 2 * 2
    assert cache_bytes(question) == pytest.approx((10 * 32_768 + 52 * 1024) * per_layer)


def test_linear_layers_keep_a_state_that_does_not_grow() -> None:
    """Qwen3-Next: 12 of 48 layers cache 2 KV heads x 256 x 2 x 2 bytes a token; the rest keep states."""
    name = "Qwen/Qwen3-Next-80B-A3B-Instruct"
    short, long = (
        cache_bytes(serve(name, gpu="H200-SXM", input_length=n, output_length=0, max_batch_size=1))
        for n in (16_384, 32_768)
    )

    assert long - short == pytest.approx(16_384 * 12 * 2 * 256 * 2 * 2)


def test_a_cached_prefix_is_kept_once() -> None:
    spec: dict[str, Any] = {"input_length": 3200, "output_length": 0, "max_batch_size": 100}
    whole, shared = (cache_bytes(serve(LLAMA_3_8B, cached_prefix_length=prefix, **spec)) for prefix in (0, 1600))

    assert whole == pytest.approx(100 * 3200 * 128 * KIB)
    assert shared == pytest.approx((100 * 1600 + 1600) * 128 * KIB)


def test_an_fp8_cache_is_half_of_a_16_bit_one() -> None:
    spec: dict[str, Any] = {"input_length": 4096, "output_length": 0, "max_batch_size": 8}
    half = cache_bytes(serve(kv_cache_precision="fp8", **spec))

    assert half == pytest.approx(cache_bytes(serve(kv_cache_precision="bf16", **spec)) / 2)


def test_an_open_batch_is_the_largest_that_fits_safely() -> None:
    spec: dict[str, Any] = {"input_length": 6000, "output_length": 2000, "gpu": "A100-80GB-SXM"}
    question = serve(LLAMA_3_8B, **spec)
    f = footprint(question)
    more = footprint(serve(LLAMA_3_8B, max_batch_size=int(f.batch[0]) + 2, **spec))
    usable = question.gpu.usable_gib
    assert usable is not None

    assert 40 < f.batch[0] < 70  # 62 GiB beside the weights, 1 GiB a sequence
    assert f.need_gib[0] <= SAFE_SHARE * usable < more.need_gib[0]


def test_an_open_batch_stops_at_the_engines_own_limit_and_at_the_requests() -> None:
    small: dict[str, Any] = {"input_length": 16, "output_length": 16}
    layout = Layout(gpu_count=2, data_parallel=2)
    f = footprint(
        serve(num_requests=100_000, layout=layout, engine="vllm", **small),
        serve(num_requests=10, layout=layout, engine="vllm", **small),
    )

    assert f.batch.tolist() == [2 * 256, 10]


def test_a_model_that_does_not_fit_is_asked_for_one_sequence_a_replica() -> None:
    f = footprint(serve(LLAMA_3_70B, precision="bf16"))

    assert f.batch[0] == 1
    assert f.need_gib[0] > 80


def test_old_transformers_keeps_the_logits_of_the_whole_prompt() -> None:
    """Qwen2-0.5B at 30,720 tokens: 151,936 x 30,720 x 6 bytes are 26.1 GiB; measured 27.6 GiB in all."""
    spec: dict[str, Any] = {
        "input_length": 30_720,
        "output_length": 2048,
        "max_batch_size": 1,
        "engine": "transformers",
    }
    old, new = (
        footprint(serve("Qwen/Qwen2-0.5B", gpu="A100-80GB-SXM", software={"version": version}, **spec))
        for version in ("Transformers 4.38.2", "transformers 4.57.1")
    )

    assert old.activations[0] == pytest.approx(26.1, rel=0.01)
    assert new.activations[0] < 2.5


def test_experts_are_spread_where_the_layout_says_so() -> None:
    """Mixtral 8x7B: 45.1 B of 46.7 B parameters are routed experts; 8 ranks hold one each."""
    name = "mistralai/Mixtral-8x7B-v0.1"
    whole = Layout(gpu_count=8, data_parallel=8)
    spread = replace(whole, expert_parallel=8)
    f = footprint(*(serve(name, layout=layout, max_batch_size=8) for layout in (whole, spread)))

    experts = 32 * 8 * 3 * 4096 * 14_336 * 2 / GIB
    assert f.weights[0] - f.weights[1] == pytest.approx(experts * 7 / 8, rel=1e-6)


def test_a_pipeline_divides_layers_and_cache() -> None:
    spec: dict[str, Any] = {"input_length": 4096, "output_length": 0, "max_batch_size": 8}
    one, four = footprint(
        serve(LLAMA_3_70B, **spec), serve(LLAMA_3_70B, layout=Layout(gpu_count=4, pipeline_parallel=4), **spec)
    ).kv_cache

    assert four == pytest.approx(one / 4)


def test_where_the_batch_is_open_one_sequence_is_all_that_must_fit() -> None:
    """An engine with paged memory admits what there is room for; a contiguous batch must fit as a whole."""
    lengths: dict[str, Any] = {"input_length": 3000, "output_length": 400}
    open_batch = footprint(serve(LLAMA_3_8B, **lengths))
    asked = footprint(serve(LLAMA_3_8B, max_batch_size=1, **lengths))
    contiguous = footprint(serve(LLAMA_3_8B, engine="transformers", **lengths))

    assert [bool(f.elastic[0]) for f in (open_batch, asked, contiguous)] == [True, False, False]
    assert open_batch.need_gib[0] == pytest.approx(asked.need_gib[0])
    assert open_batch.peak_gib[0] > 2 * open_batch.need_gib[0]


def test_an_open_contiguous_batch_leaves_what_arithmetic_may_miss() -> None:
    """Of 78.8 GiB, 55.8: times 1.384 and 1.5 GiB are the card."""
    spec: dict[str, Any] = {
        "input_length": 3000,
        "output_length": 400,
        "engine": "transformers",
        "metric": VramMetric.DRIVER,
    }
    question = serve(LLAMA_3_8B, gpu="A100-80GB-SXM", **spec)
    f = footprint(question)
    chosen, more = (
        footprint(serve(LLAMA_3_8B, gpu="A100-80GB-SXM", max_batch_size=int(f.batch[0]) + one, **spec))
        for one in (0, 1)
    )
    usable = question.gpu.usable_gib
    assert usable is not None

    assert f.need_gib[0] == pytest.approx(chosen.need_gib[0])
    assert chosen.peak_gib[0] <= f.peak_gib[0] < more.peak_gib[0]
    assert SURE_RATIO * (f.peak_gib[0] + SURE_GIB) == pytest.approx(usable + SURE_GIB)


def test_a_contiguous_batch_of_fewer_requests_than_fit_needs_what_they_do() -> None:
    spec: dict[str, Any] = {"input_length": 3000, "output_length": 400, "engine": "transformers", "num_requests": 4}
    left_open, asked = footprint(serve(LLAMA_3_8B, **spec)), footprint(serve(LLAMA_3_8B, max_batch_size=4, **spec))

    assert left_open.batch[0] == 4
    assert left_open.peak_gib[0] == asked.peak_gib[0]
