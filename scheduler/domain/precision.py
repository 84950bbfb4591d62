"""Which number formats a card can compute in."""

from __future__ import annotations

from predictor.hardware import GpuType
from predictor.words import Precision
from predictor.workload import CustomWorkload, InferenceWorkload, Workload


def unsupported(workload: Workload, gpu: GpuType) -> Precision | None:
    """The format that a workload computes in and the card has no unit for; None where there is no such obstacle.

    Weights in int8, int4, fp8 or fp4 are unpacked to the activations' format where the card lacks their own
    (weight-only kernels), so for inference only the activations' format matters; training computes in its precision.
    """
    if isinstance(workload, CustomWorkload):
        return None
    wanted = workload.activation_precision if isinstance(workload, InferenceWorkload) else workload.precision
    has = {
        Precision.FP16: gpu.fp16_tflops is not None,
        Precision.BF16: gpu.bf16_tflops is not None,
        # without tensor-float units a card runs the same program in plain FP32, only slower
        Precision.TF32: True,
        Precision.FP8: gpu.native_fp8,
        Precision.FP4: gpu.native_fp4,
    }
    return None if has.get(wanted, True) else wanted
