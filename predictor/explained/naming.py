"""Features as people say them: sizes instead of their logarithms, yes or no instead of scaled flags."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from predictor.explained.explanation import Said
from predictor.workloads.numbers import ATTENTION_CODES, CHECKPOINTING_CODES

LOGARITHM = "log "
"""How the names of features begin that are logarithms."""


def _coded(codes: Mapping[Any, float]) -> Callable[[float], Said]:
    words = {code: str(word) for word, code in codes.items()}

    def read(value: float) -> Said:
        return words[min(words, key=lambda code: abs(code - value))]

    return read


def _flag(value: float) -> Said:
    return value > 0.0


_READ: Mapping[str, Callable[[float], Said]] = {
    "checkpointing": _coded(CHECKPOINTING_CODES),
    "attention": _coded(ATTENTION_CODES),
    "year": lambda value: round(2020.0 + 4.0 * value, 1),
    "matrix share": lambda value: round(value / 4.0, 3),
    "generation": lambda value: round(2022.0 + value, 1) if value else "unsaid",
} | dict.fromkeys(
    (
        "driver", "reserved", "allocated", "stated", "full", "quantized", "prepared for k-bit", "megatron",
        "eight bit", "fused loss", "lean loss", "fused blocks", "lengths vary", "amd", "generation known",
        "latency bound", "static batches", "paged", "keeps prompt logits",
    ),
    _flag,
)  # fmt: skip


def label(feature: str) -> str:
    """The name without what was done to its values."""
    return feature.removeprefix(LOGARITHM)


def said(feature: str, value: float) -> Said:
    """The value of a feature as a person says it; three digits, since a reference was rounded to about that."""
    if read := _READ.get(feature):
        return read(value)
    return float(f"{math.exp(value) if feature.startswith(LOGARITHM) else value:.3g}")
