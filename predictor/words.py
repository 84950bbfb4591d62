"""The closed vocabularies of a workload: precisions, methods, checkpointing, attention, what a memory reading means."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Number formats of weights, caches and matrix arithmetic."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"
    FP4 = "fp4"

    @property
    def nominal_bytes(self) -> float:
        """Bytes of one element, scales of quantised groups not counted."""
        return _NOMINAL_BYTES[self]


_NOMINAL_BYTES = {
    Precision.FP32: 4.0,
    Precision.TF32: 4.0,
    Precision.FP16: 2.0,
    Precision.BF16: 2.0,
    Precision.FP8: 1.0,
    Precision.INT8: 1.0,
    Precision.INT4: 0.5,
    Precision.FP4: 0.5,
}


class Method(StrEnum):
    """Which parameters a training run updates."""

    FULL = "full"
    LORA = "lora"
    QLORA = "qlora"


class Checkpointing(StrEnum):
    """How much of the forward pass is computed again in the backward pass instead of kept."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


class Attention(StrEnum):
    """The attention kernel; only `eager` materialises the score matrix."""

    FLASH = "flash"
    SDPA = "sdpa"
    EAGER = "eager"


class Quantization(StrEnum):
    """Format of a frozen, quantised base model."""

    NF4 = "nf4"
    GPTQ_INT4 = "gptq-int4"
    GPTQ_INT8 = "gptq-int8"
    AWQ_INT4 = "awq-int4"


class Sharding(StrEnum):
    """What data-parallel ranks split instead of repeating it.

    Optimizer states (ZeRO 1), gradients too (ZeRO 2), weights too (ZeRO 3, which FSDP is).
    """

    NONE = "none"
    ZERO1 = "zero1"
    ZERO2 = "zero2"
    ZERO3 = "zero3"


class VramMetric(StrEnum):
    """Whose reading of the peak is meant: they differ on the same run."""

    DRIVER = "driver"
    RESERVED = "reserved"
    ALLOCATED = "allocated"
    STATED = "stated"


class Basis(StrEnum):
    """What a forecast rests on."""

    LEARNED = "learned"
    ARITHMETIC = "arithmetic"
    HISTORY = "history"
    STATED = "stated"
