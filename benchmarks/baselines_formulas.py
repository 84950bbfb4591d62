"""What two widely used tools publish for memory, as the formulas they are: no batch, no sequence length, no LoRA.

Both tools import PyTorch and read the model itself to say this little, so the formulas stand here instead.
"""

from __future__ import annotations

BYTES = {"fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5, "fp4": 0.5}

GIB = 2.0**30


def accelerate_training_gib(parameters: float, precision: str) -> float:
    """The largest of model, gradients, optimizer and step under Adam, batch size 1.

    Hugging Face Accelerate, `accelerate estimate-memory`: `estimate_training_usage` in commands/estimate.py. In single
    precision the step holds four copies; in mixed precision two FP32 copies are the most that it counts at once.
    """
    copies = 4.0 if BYTES[precision] == 4.0 else 2.0
    return copies * 4.0 * parameters / GIB


def accelerate_inference_gib(parameters: float, precision: str) -> float:
    """The model in its precision, nothing else (`Total Size` of the same command)."""
    return BYTES[precision] * parameters / GIB


def deepspeed_zero2_gib(parameters: float, gpus: int) -> float:
    """Model states on one GPU without offload: 4 P + 16 P / N bytes.

    DeepSpeed, `estimate_zero2_model_states_mem_needs` in runtime/zero/stage_1_and_2.py; its documentation, "Memory
    Requirements", gives the same.
    """
    return (4.0 * parameters + 16.0 * parameters / gpus) / GIB


def deepspeed_zero3_gib(parameters: float, largest_layer: float, gpus: int) -> float:
    """Model states on one GPU without offload: 4 L + 18 P / N bytes, L the parameters of the largest single module.

    DeepSpeed, `estimate_zero3_model_states_mem_needs` in runtime/zero/stage3.py.
    """
    return (4.0 * largest_layer + 18.0 * parameters / gpus) / GIB
