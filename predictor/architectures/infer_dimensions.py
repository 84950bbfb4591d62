"""Fill in the dimensions that a source did not give, naming every one that was assumed.

Nothing here knows a model family: reading a particular ``config.json`` is the work of ``hf_config``.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from predictor.architectures.dimensions import Dimensions
from predictor.architectures.infer_attention import infer_attention
from predictor.architectures.raw_dimensions import MAX_PARAMETERS, Assumptions, RawDimensions

CONTRADICTION = 2.0
"""A stated count and the dimensions may differ by this factor (towers, shared weights), not by more."""
UNEXPLAINED = 0.02
"""A stated count may exceed the dimensions by this share before the rest is put down to extra_params."""

_SMALL_MODEL = 10**9
_SMALL_VOCABULARY, _LARGE_VOCABULARY = 50_257, 128_256  # GPT-2's and Llama 3's
_TIED_BELOW = 4 * 10**9  # most models under it share the embedding (Llama 3.2, Qwen2.5, Gemma)
_WIDTH_STEPS = ((3072, 1024), (1024, 512), (256, 256), (0, 64))  # so that heads divide over 8, 4 or 4 GPUs
_MIXTURE_BELOW = 0.8  # a smaller share of active parameters means experts; a tower leaves more
_USUAL_EXPERTS_PER_TOKEN = 2  # Mixtral
_HIDDEN_PER_LAYER = 110  # width over depth: 128 in Llama 7B, 102 in 70B, 85 in GPT-3 XL


def infer_dimensions(known: RawDimensions) -> tuple[Dimensions, Assumptions]:
    """All dimensions, from any of them that fix a size."""
    notes = Assumptions()
    total = known.optional("num_parameters")
    layers, hidden = _depth_and_width(known, notes, total)
    vocab = _vocabulary(known, notes, total, hidden)
    dimensions = Dimensions(
        num_hidden_layers=layers,
        hidden_size=hidden,
        vocab_size=vocab,
        tie_word_embeddings=bool(known.flag("tie_word_embeddings")),
        max_position_embeddings=known.optional("max_position_embeddings") or 0,
        position_embedding_rows=known.optional("position_embedding_rows") or 0,
        is_encoder_decoder=bool(known.flag("is_encoder_decoder")),
        mtp_layers=known.optional("mtp_layers") or 0,
        extra_params=known.optional("extra_params") or 0,
        **_mlp(known, notes, layers, hidden),
        **infer_attention(known, notes, layers, hidden),
    )
    if total is None:
        dimensions = _settle_by_habit(known, notes, dimensions)
    else:
        dimensions = _settle_by_total(known, notes, dimensions, total)
    if dimensions.counted_parameters > MAX_PARAMETERS:
        raise known.refuse("the dimensions make more parameters than any model has")
    return dimensions, notes


def _depth_and_width(known: RawDimensions, notes: Assumptions, total: int | None) -> tuple[int, int]:
    """Layers and hidden size; the layers of a transformer hold about 12 x hidden^2 parameters each."""
    layers, hidden = known.optional("num_hidden_layers"), known.optional("hidden_size")
    if layers is not None and hidden is not None:
        return layers, hidden
    if total is None:
        raise known.refuse("an architecture needs num_parameters, or hidden_size and num_hidden_layers")
    size = _active_size(known, total)
    if hidden is None:
        depth = layers or (size / (12 * _HIDDEN_PER_LAYER**2)) ** (1 / 3)
        width = (size / (12 * depth)) ** 0.5
        unit = next(unit for least, unit in _WIDTH_STEPS if width >= least)
        hidden = notes.take("hidden_size", unit * max(1, round(width / unit)), "usual for this size")
    if layers is None:
        usual = max(1, round(size / (12 * hidden**2)))
        usual = 4 * round(usual / 4) if usual > 8 else usual  # so that pipelines of 2 and 4 stages divide them
        layers = notes.take("num_hidden_layers", min(1000, usual), "usual for this size")
    return layers, hidden


def _active_size(known: RawDimensions, total: int) -> float:
    """Roughly what one token passes through: the routed experts hold nine tenths of a mixture."""
    active = known.optional("num_active_parameters")
    experts = known.optional("num_experts")
    if active is not None or not experts:
        return active or total
    per_token = known.optional("num_experts_per_tok") or _USUAL_EXPERTS_PER_TOKEN
    return total * (0.1 + 0.9 * min(1.0, per_token / experts))


def _vocabulary(known: RawDimensions, notes: Assumptions, total: int | None, hidden: int) -> int:
    vocab = known.optional("vocab_size")
    if vocab is not None:
        return vocab
    small = hidden < 2048 if total is None else total < _SMALL_MODEL
    usual = _SMALL_VOCABULARY if small else _LARGE_VOCABULARY
    if total is not None:
        usual = max(1, min(usual, total // (2 * hidden)))
    return notes.take("vocab_size", usual, "usual for this size")


def _mlp(known: RawDimensions, notes: Assumptions, layers: int, hidden: int) -> dict[str, Any]:
    """Widths not given are 0 here, and settled once the rest can be counted."""
    experts, per_token = _experts(known, notes)
    first_dense = known.optional("first_k_dense_layers") or 0
    moe_layers = known.optional("num_moe_layers")
    if moe_layers is None:
        moe_layers = max(0, layers - first_dense) if experts else 0
    dense_layers = known.optional("num_dense_mlp_layers")
    if dense_layers is None:
        dense_layers = max(0, layers - moe_layers)
    if max(moe_layers, dense_layers, first_dense) > layers or (moe_layers and not experts):
        raise known.refuse("the dense and expert layers do not add up to num_hidden_layers")
    width = known.optional("moe_intermediate_size") or 0
    if experts and not width and known.optional("intermediate_size"):
        width = notes.take("moe_intermediate_size", known.optional("intermediate_size") or 0, "as intermediate_size")
    shared = known.optional("num_shared_experts") or 0
    shared_width = known.optional("shared_expert_intermediate_size")
    return {
        "intermediate_size": known.optional("intermediate_size") or 0,
        "gated_mlp": known.flag("gated_mlp") is not False,
        "num_dense_mlp_layers": dense_layers,
        "num_moe_layers": moe_layers,
        "num_experts": experts,
        "num_experts_per_tok": per_token,
        "moe_intermediate_size": width if experts else 0,
        "moe_latent_size": known.optional("moe_latent_size") or hidden,
        "num_shared_experts": shared,
        "shared_expert_intermediate_size": shared * width if shared_width is None else shared_width,
        "first_k_dense_layers": first_dense,
    }


def _experts(known: RawDimensions, notes: Assumptions) -> tuple[int, int]:
    """Routed experts of a layer, and how many of them a token is sent to."""
    experts, per_token = known.optional("num_experts"), known.optional("num_experts_per_tok")
    total, active = known.optional("num_parameters"), known.optional("num_active_parameters")
    if experts is None and total and active and active < _MIXTURE_BELOW * total and "intermediate_size" not in known:
        experts = notes.take("num_experts", max(64, per_token or 0), "num_active_parameters is below num_parameters")
        if per_token is None:
            per_token = notes.take("num_experts_per_tok", 8, "usual of 64 experts")
    if not experts:
        return 0, 0
    if per_token is None:
        per_token = notes.take("num_experts_per_tok", min(_USUAL_EXPERTS_PER_TOKEN, experts), "usual")
    if per_token > experts:
        raise known.refuse(f"num_experts_per_tok is {per_token}, above num_experts {experts}")
    return experts, per_token


def _settle_by_habit(known: RawDimensions, notes: Assumptions, drawn: Dimensions) -> Dimensions:
    """Without a count: four times the width in a plain MLP, two thirds of that in each matrix of a gated one."""
    gated = drawn.gated_mlp
    if "gated_mlp" not in known and "intermediate_size" in known:
        plain = drawn.intermediate_size == 4 * drawn.hidden_size
        gated = notes.take_flag("gated_mlp", not plain, "by the ratio of intermediate_size to hidden_size")
    elif "gated_mlp" not in known:
        gated = notes.take_flag("gated_mlp", True, "usual")
    usual = 8 * drawn.hidden_size // 3 if gated else 4 * drawn.hidden_size
    intermediate, width = drawn.intermediate_size, drawn.moe_intermediate_size
    if drawn.num_dense_mlp_layers and not intermediate:
        intermediate = notes.take("intermediate_size", usual, "usual for this width")
    if drawn.num_moe_layers and not width:
        width = notes.take("moe_intermediate_size", usual, "usual for this width")
    drawn = replace(drawn, gated_mlp=gated, intermediate_size=intermediate, moe_intermediate_size=width)
    if "tie_word_embeddings" not in known:
        # Untied is the safe guess: it never asks for too little memory.
        notes.take_flag("tie_word_embeddings", False, "usual")
    return drawn


def _settle_by_total(known: RawDimensions, notes: Assumptions, drawn: Dimensions, total: int) -> Dimensions:
    """With a count: the widths and habits that come nearest to it; what is left is ``extra_params``."""
    if drawn.moe_intermediate_size or drawn.intermediate_size:
        drawn = _nearest_habits(known, notes, drawn, total)
        counted = drawn.counted_parameters
        if known.has_all_widths and not counted / CONTRADICTION <= total <= counted * CONTRADICTION:
            raise known.refuse(f"num_parameters is {total:.3g} but the dimensions make {counted:.3g}; correct either")
    else:
        tied = known.flag("tie_word_embeddings")
        if tied is None:
            tied = notes.take_flag("tie_word_embeddings", total < _TIED_BELOW, "usual for this size")
        drawn = _widths_from_total(notes, replace(drawn, tie_word_embeddings=tied), total)
    rest = total - drawn.counted_parameters
    if "extra_params" not in known and rest > UNEXPLAINED * total:
        notes.take("extra_params", rest, "num_parameters less what the dimensions make")
        drawn = replace(drawn, extra_params=rest)
    return drawn


def _nearest_habits(known: RawDimensions, notes: Assumptions, drawn: Dimensions, total: int) -> Dimensions:
    """Gated or plain, tied or not: where the source is silent, the count decides."""
    gated_options = (True, False) if "gated_mlp" not in known else (drawn.gated_mlp,)
    tied_options = (False, True) if "tie_word_embeddings" not in known else (drawn.tie_word_embeddings,)
    options = [
        replace(drawn, gated_mlp=gated, tie_word_embeddings=tied)
        for gated, tied in itertools.product(gated_options, tied_options)
    ]
    best = min(options, key=lambda option: abs(option.counted_parameters - total))
    if len(gated_options) > 1:
        notes.take_flag("gated_mlp", best.gated_mlp, "nearest to num_parameters")
    if len(tied_options) > 1:
        notes.take_flag("tie_word_embeddings", best.tie_word_embeddings, "nearest to num_parameters")
    return best


def _widths_from_total(notes: Assumptions, drawn: Dimensions, total: int) -> Dimensions:
    """The MLP width that makes up the count; every MLP layer gets the same."""
    rest = max(0, total - drawn.counted_parameters)
    stacks = 2 if drawn.is_encoder_decoder else 1
    mlp_layers = drawn.num_dense_mlp_layers + drawn.num_moe_layers * drawn.num_experts
    width = max(1, rest // max(1, stacks * mlp_layers * drawn.mlp_matrices * drawn.hidden_size))
    if drawn.num_dense_mlp_layers:
        drawn = replace(drawn, intermediate_size=notes.take("intermediate_size", width, "from num_parameters"))
    if drawn.num_moe_layers:
        drawn = replace(drawn, moe_intermediate_size=notes.take("moe_intermediate_size", width, "from num_parameters"))
    return drawn
