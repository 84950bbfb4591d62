"""What a Hugging Face ``model_type`` says without writing it down."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Flag, auto


class Habit(Flag):
    """A trait of a family that its configs leave out, because its class takes it for granted."""

    NONE = 0
    PLAIN_MLP = auto()
    """Two matrices, no gate."""
    FOUR_TIMES = auto()
    """The MLP is four times as wide as the model unless stated."""
    TIED = auto()
    """The output projection is the embedding unless stated; Transformers does not write a default."""
    LEARNED_POSITIONS = auto()
    EXPERTS_AS_MLP = auto()
    """``intermediate_size`` is the width of an expert."""
    ENCODER_DECODER = auto()
    GATED_ATTENTION = auto()


_GPT = Habit.PLAIN_MLP | Habit.FOUR_TIMES
_BERT = Habit.PLAIN_MLP | Habit.TIED | Habit.LEARNED_POSITIONS
_BART = _BERT | Habit.ENCODER_DECODER

_HABITS: Mapping[str, Habit] = {
    "bart": _BART,
    "bert": _BERT,
    "bloom": _GPT | Habit.TIED,
    "codegen": _GPT,
    "cohere": Habit.TIED,
    "cohere2": Habit.TIED,
    "dbrx": Habit.EXPERTS_AS_MLP,
    "distilbert": _BERT,
    "electra": _BERT,
    "falcon": _GPT | Habit.TIED,
    "gemma": Habit.TIED,
    "gemma2": Habit.TIED,
    "gemma3_text": Habit.TIED,
    "gemma3n_text": Habit.TIED,
    "gemma4_text": Habit.TIED,
    "gpt2": _GPT | Habit.TIED | Habit.LEARNED_POSITIONS,
    "gpt_bigcode": _GPT | Habit.TIED | Habit.LEARNED_POSITIONS,
    "gpt_neo": _GPT | Habit.TIED | Habit.LEARNED_POSITIONS,
    "gpt_neox": Habit.PLAIN_MLP,
    "gpt_oss": Habit.EXPERTS_AS_MLP,
    "gptj": _GPT,
    "granitemoe": Habit.EXPERTS_AS_MLP,
    "granitemoehybrid": Habit.EXPERTS_AS_MLP,
    "granitemoeshared": Habit.EXPERTS_AS_MLP,
    "grok-1": Habit.EXPERTS_AS_MLP,
    "jamba": Habit.EXPERTS_AS_MLP,
    "llama4_text": Habit.EXPERTS_AS_MLP,
    "mbart": _BART,
    "minimax": Habit.EXPERTS_AS_MLP,
    "minimax_m2": Habit.EXPERTS_AS_MLP,
    "mixtral": Habit.EXPERTS_AS_MLP,
    "mpt": _GPT | Habit.TIED,
    "mt5": Habit.ENCODER_DECODER,
    "nemotron": Habit.PLAIN_MLP,
    "nemotron_h": Habit.PLAIN_MLP,
    "olmoe": Habit.EXPERTS_AS_MLP,
    "opt": _BERT,
    "pegasus": _BART,
    "persimmon": Habit.PLAIN_MLP,
    "phi": Habit.PLAIN_MLP,
    "phimoe": Habit.EXPERTS_AS_MLP,
    "qwen3_5_moe_text": Habit.GATED_ATTENTION,
    "qwen3_5_text": Habit.GATED_ATTENTION,
    "qwen3_next": Habit.GATED_ATTENTION,
    "roberta": _BERT,
    "starcoder2": Habit.PLAIN_MLP | Habit.TIED,
    "t5": Habit.ENCODER_DECODER | Habit.TIED,
    "umt5": Habit.ENCODER_DECODER,
    "vit": Habit.PLAIN_MLP,
    "xlm-roberta": _BERT,
}

_CLASS_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "gemma": {"head_dim": 256},
    "gemma2": {"head_dim": 256},
    "gemma3_text": {"head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262_208},
}

_SLIDING_STEPS: Mapping[str, int] = {"gemma2": 2, "gpt_oss": 2, "gemma3_text": 6, "cohere2": 4}


def habits(model_type: str) -> Habit:
    return _HABITS.get(model_type, Habit.NONE)


def class_defaults(model_type: str) -> Mapping[str, object]:
    """Sizes that published configs of the family leave to their class."""
    return _CLASS_DEFAULTS.get(model_type, {})


def sliding_step(model_type: str) -> int | None:
    """One layer in so many attends fully, in families whose older configs do not list the layers."""
    return _SLIDING_STEPS.get(model_type)
