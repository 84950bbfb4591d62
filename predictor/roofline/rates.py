"""The matrix rate that a precision gets on a card, where the silicon lacks it included."""

from __future__ import annotations

import numpy as np

from predictor.fact_columns import GpuColumns
from predictor.gather import Floats, select
from predictor.words import Precision

RATE_CODES = {precision: float(code) for code, precision in enumerate(Precision)}
"""Numbers that stand for a precision in a column."""


def matrix_tflops(gpu: GpuColumns, precision: Floats, weights_only: bool) -> Floats:
    """Dense data-sheet TFLOPS of matrix products of this precision (a column of RATE_CODES) on each card.

    A card without the format widens it: TF32 without tensor cores for it runs as FP32, BF16 before
    Ampere as FP16, FP8 before Ada and FP4 before Blackwell as BF16 over weights unpacked on the fly
    (vLLM's Marlin kernels). INT4 and, with ``weights_only``, INT8 are storage formats anyway.
    """
    bf16 = np.where(gpu.bf16_tflops > 0, gpu.bf16_tflops, gpu.fp32_tflops)
    fp8 = np.where(gpu.fp8_tflops > 0, gpu.fp8_tflops, bf16)
    int8 = bf16 if weights_only else np.where(gpu.int8_tops > 0, gpu.int8_tops, bf16)
    by_precision = {
        Precision.FP32: gpu.fp32_tflops,
        Precision.TF32: np.where(gpu.tf32_tflops > 0, gpu.tf32_tflops, gpu.fp32_tflops),
        Precision.FP16: bf16,
        Precision.BF16: bf16,
        Precision.FP8: fp8,
        Precision.INT8: int8,
        Precision.INT4: bf16,
        Precision.FP4: np.where(gpu.fp4_tflops > 0, gpu.fp4_tflops, bf16),
    }
    return select([precision == RATE_CODES[name] for name in by_precision], list(by_precision.values()), bf16)
