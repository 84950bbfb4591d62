"""Read from a Hugging Face config which layers attend fully, slide, recur, or hold experts."""

from __future__ import annotations

from collections.abc import Mapping

from predictor.architectures.hf_families import sliding_step

Config = Mapping[str, object]

_FULL = frozenset({"full_attention", "attention", "global", "hybrid"})
_SLIDING = frozenset({"sliding_attention", "chunked_attention", "local_attention", "local"})
_LIMIT = 10**9


def whole(value: object) -> int | None:
    """A positive whole number that a size may be, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LIMIT or value != int(value):
        return None
    return int(value)


def layer_facts(kind: str, config: Config, facts: Config) -> dict[str, object]:
    """Numbers of layers by kind, the window, the size of a linear mixer."""
    found: dict[str, object] = {}
    layers = whole(facts.get("num_hidden_layers"))
    if layers is None or layers > 10_000:
        return found
    if "full_attention_layers" not in facts:
        found |= _attention_kinds(kind, config, facts, layers)
    if facts.get("num_experts") and "num_moe_layers" not in facts and "num_moe_layers" not in found:
        count = _moe_layers(kind, config, layers)
        if count is not None:
            found["num_moe_layers"] = count
    linear_params = _linear_params(config, whole(facts.get("hidden_size")) or 0)
    if found.get("linear_attention_layers") and linear_params and "linear_layer_params" not in facts:
        found["linear_layer_params"] = linear_params
    return found


def _attention_kinds(kind: str, config: Config, facts: Config, layers: int) -> dict[str, object]:
    pattern, listed = config.get("hybrid_override_pattern"), _listed_kinds(config, layers)
    if isinstance(pattern, str) and len(pattern) == layers:
        return _single_mixers(pattern)
    if listed is not None:
        full = sum(name in _FULL for name in listed)
        return _kinds(layers, full, sum(name in _SLIDING for name in listed), _window(config, facts))
    interval = whole(config.get("full_attention_interval"))
    if interval is not None:  # Qwen3-Next: every fourth layer attends, the others recur
        return _kinds(layers, layers // interval, 0, None)
    full_layers = _unlisted_full_layers(kind, config, layers)
    if full_layers is None:
        return {}
    return _kinds(layers, full_layers, layers - full_layers, _window(config, facts))


def _unlisted_full_layers(kind: str, config: Config, layers: int) -> int | None:
    """Layers that attend fully by the rule of the family; None where the window alone decides."""
    if kind == "llama4_text":
        return layers // 4
    if kind.startswith(("qwen2", "qwen3")) or "use_sliding_window" in config:
        sliding_from = whole(config.get("max_window_layers")) or 0
        return min(layers, sliding_from) if config.get("use_sliding_window") is True else layers
    step = whole(config.get("sliding_window_pattern")) or sliding_step(kind)
    return layers // step if step else None


def _listed_kinds(config: Config, layers: int) -> list[object] | None:
    """One name per layer, under any of the keys that families use for it."""
    for key in ("layer_types", "layers_block_type", "attention_layers"):
        listed = config.get(key)
        if isinstance(listed, list) and len(listed) == layers and all(isinstance(name, str) for name in listed):
            return listed
    return None


def _kinds(layers: int, full: int, sliding: int, window: int | None) -> dict[str, object]:
    if sliding and window is None:
        full, sliding = full + sliding, 0  # a window nobody states is none
    return {
        "attention_layers": full + sliding,
        "full_attention_layers": full,
        "linear_attention_layers": layers - full - sliding,
        "sliding_window": window if sliding else 0,
    }


def _single_mixers(pattern: str) -> dict[str, object]:
    """Nemotron-H: ``M`` a state-space mixer, ``*`` attention, ``-`` an MLP, ``E`` experts."""
    return {
        "single_mixer_layers": True,
        "attention_layers": pattern.count("*"),
        "full_attention_layers": pattern.count("*"),
        "linear_attention_layers": pattern.count("M"),
        "num_dense_mlp_layers": pattern.count("-"),
        "num_moe_layers": pattern.count("E"),
    }


def _window(config: Config, facts: Config) -> int | None:
    candidates = (facts.get("sliding_window"), config.get("attention_chunk_size"), config.get("window_size"))
    return next((size for value in candidates if (size := whole(value)) is not None), None)


def _moe_layers(kind: str, config: Config, layers: int) -> int | None:
    """Layers with experts where they are not simply all after the first dense ones."""
    dense = config.get("mlp_only_layers")
    step = whole(config.get("decoder_sparse_step"))
    if step is not None:
        skipped = dense if isinstance(dense, list) else []
        return sum((layer + 1) % step == 0 and layer not in skipped for layer in range(layers))
    interleave = whole(config.get("interleave_moe_layer_step"))
    if interleave is not None:
        return layers // interleave
    frequency, first = config.get("moe_layer_freq"), whole(config.get("first_k_dense_replace")) or 0
    if isinstance(frequency, list) and len(frequency) == layers:
        return sum(bool(value) for value in frequency)
    every = whole(frequency)
    if every is not None:
        return sum(layer >= first and layer % every == 0 for layer in range(layers))
    start, interval = whole(config.get("moe_layer_start_index")), whole(config.get("moe_layer_interval"))
    if start is not None:  # ERNIE
        return sum(layer >= start and (layer + 1) % (interval or 1) == 0 for layer in range(layers))
    listed = config.get("moe_layers_enum")
    return len(listed.split(",")) if isinstance(listed, str) and listed else None


def _linear_params(config: Config, hidden: int) -> int:
    """One mixer: Mamba-2 (arXiv:2405.21060, section 8) or Gated DeltaNet (arXiv:2412.06464)."""

    def size(*names: str) -> int:
        return next((found for name in names if (found := whole(config.get(name))) is not None), 0)

    value_heads, value_dim = size("linear_num_value_heads"), size("linear_value_head_dim")
    if value_heads and value_dim:
        keys = size("linear_num_key_heads") * size("linear_key_head_dim")
        values = value_heads * value_dim
        convolution = (2 * keys + values) * size("linear_conv_kernel_dim")
        projections = hidden * (2 * keys + 2 * values + 2 * value_heads) + values * hidden
        return projections + convolution + 2 * value_heads + value_dim
    heads = size("mamba_num_heads", "mamba_n_heads")
    inner = heads * size("mamba_head_dim", "mamba_d_head")
    state = size("n_groups", "mamba_n_groups") * size("ssm_state_size", "mamba_d_state")
    if not inner:
        return 0
    convolution = (inner + 2 * state) * (size("conv_kernel", "mamba_d_conv") + 1)
    return hidden * (2 * inner + 2 * state + heads) + inner * hidden + convolution + inner + 3 * heads
