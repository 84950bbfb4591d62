"""GPU types, as sent."""

from __future__ import annotations

from pydantic import Field

from scheduler.api.schemas.common import Out


class GpuTypeOut(Out):
    """A model of card with its memory. Rates are dense TFLOPS; null where the card has no such unit."""

    name: str = Field(examples=["H100-SXM"])
    vendor: str
    architecture: str
    year: int
    memory_gb_nominal: float = Field(description="What the label says")
    usable_gib: float | None = Field(description="What the driver offers; null for the CPU")
    memory_bandwidth_gbs: float
    fp32_tflops: float | None
    tf32_tflops: float | None
    fp16_tflops: float | None
    bf16_tflops: float | None
    fp8_tflops: float | None
    fp4_tflops: float | None
    int8_tops: float | None
    native_fp8: bool
    native_fp4: bool
    nvlink_gbs: float = Field(description="Both directions together, per GPU; 0 where there is only PCIe")
