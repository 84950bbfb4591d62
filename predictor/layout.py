"""How many GPUs a job runs on and how its work is split over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from predictor.errors import InvalidLayout
from predictor.words import Sharding

MAX_GPUS = 100_000
"""More GPUs than any one machine has had; a larger count is a slip of the keyboard."""

SIZES = ("tensor_parallel", "pipeline_parallel", "data_parallel", "context_parallel", "expert_parallel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A GPU count and its factors: tp x pp x cp x dp = gpu_count; experts are spread inside that product."""

    gpu_count: int = 1
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    context_parallel: int = 1
    expert_parallel: int = 1
    data_parallel_attention: bool = False
    """Attention is repeated on every expert-parallel rank, each with its own sequences (as DeepSeek is served)."""
    sharding: Sharding = Sharding.NONE

    def __post_init__(self) -> None:
        for name in ("gpu_count", *SIZES):
            value = getattr(self, name)
            if not 1 <= value <= MAX_GPUS:
                raise InvalidLayout(f"layout.{name} is {value}; give a whole number from 1 to {MAX_GPUS}")
        product = self.tensor_parallel * self.pipeline_parallel * self.context_parallel * self.data_parallel
        if product != self.gpu_count:
            raise InvalidLayout(
                f"layout: tensor {self.tensor_parallel} x pipeline {self.pipeline_parallel} x context "
                f"{self.context_parallel} x data {self.data_parallel} is {product}, not gpu_count {self.gpu_count}"
            )
        if self.gpu_count % self.expert_parallel:
            raise InvalidLayout(
                f"layout.expert_parallel {self.expert_parallel} does not divide gpu_count {self.gpu_count}"
            )

    def to_json(self) -> dict[str, object]:
        """The layout with every field, as the contract writes it."""
        return {
            "gpu_count": self.gpu_count,
            **{name: getattr(self, name) for name in SIZES},
            "data_parallel_attention": self.data_parallel_attention,
            "sharding": str(self.sharding),
        }

    def label(self) -> str:
        """A short name for a table cell, such as `tp4 dp2 zero3`; a single GPU is `-`."""
        short = {"tensor_parallel": "tp", "pipeline_parallel": "pp", "context_parallel": "cp",
                 "data_parallel": "dp", "expert_parallel": "ep"}  # fmt: skip
        parts = [f"{short[name]}{getattr(self, name)}" for name in short if getattr(self, name) > 1]
        if self.sharding is not Sharding.NONE:
            parts.append(str(self.sharding))
        return " ".join(parts) or "-"


def parse_layout(raw: Mapping[str, object]) -> Layout | int:
    """Read a layout; a mapping with `gpu_count` alone gives that count, for the caller to choose the best split.

    Missing sizes are 1, except the one that a given `gpu_count` leaves open: data parallelism takes the rest.
    Raises InvalidLayout for unknown words, sizes that are not whole positive numbers, or a wrong product.
    """
    known = {"gpu_count", *SIZES, "data_parallel_attention", "sharding"}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise InvalidLayout(f"layout has no field {unknown[0]!r}; its fields are {', '.join(sorted(known))}")
    given = {name: _whole(name, raw[name]) for name in ("gpu_count", *SIZES) if raw.get(name) is not None}
    try:
        sharding = Sharding(str(raw.get("sharding") or "none"))
    except ValueError:
        words = ", ".join(Sharding)
        raise InvalidLayout(f"layout.sharding is {raw['sharding']!r}; it is one of {words}") from None
    attention = raw.get("data_parallel_attention") or False
    if not isinstance(attention, bool):
        raise InvalidLayout(f"layout.data_parallel_attention is {attention!r}; it is true or false")
    if set(given) == {"gpu_count"} and raw.get("sharding") is None and not attention:
        return Layout() if given["gpu_count"] == 1 else _checked_count(given["gpu_count"])
    splits = ("tensor_parallel", "pipeline_parallel", "data_parallel", "context_parallel")
    product = prod(given.get(name, 1) for name in splits)
    if "gpu_count" not in given:
        given["gpu_count"] = product
    elif "data_parallel" not in given and product and given["gpu_count"] % product == 0:
        given["data_parallel"] = given["gpu_count"] // product
    return Layout(**given, sharding=sharding, data_parallel_attention=attention)


def _checked_count(count: int) -> int:
    if not 1 <= count <= MAX_GPUS:
        raise InvalidLayout(f"layout.gpu_count is {count}; give a whole number from 1 to {MAX_GPUS}")
    return count


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise InvalidLayout(f"layout.{name} is {value!r}; give a whole number from 1 to {MAX_GPUS}")
    return int(value)
