"""GPU types as values: what a card offers, not what its label says.

``usable_gib`` is what the driver hands out (a 48 GB card has 45.0 GiB) and every matrix rate is
dense; both decide whether a job fits and how long it takes. ``CPU`` is the host without an
accelerator, where custom jobs of the local backend run. A part of a card that is sold as such is a GPU type of its
own (``A10/3``), with its share of the whole card.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from predictor.errors import UnknownGpuType
from predictor.facts import FactRow, datasets_dir, read_facts

CPU = "CPU"

COLUMNS = (
    "name",
    "vendor",
    "architecture",
    "year",
    "compute_capability",
    "memory_gb_nominal",
    "usable_gib",
    "memory_bandwidth_gbs",
    "fp32_tflops",
    "tf32_tflops",
    "fp16_tflops",
    "bf16_tflops",
    "fp8_tflops",
    "fp4_tflops",
    "int8_tops",
    "native_fp8",
    "native_fp4",
    "nvlink_gbs",
    "link",
    "pcie_gen",
    "tdp_w",
    "achievable_fraction",
    "achievable_basis",
    "mig_max",
    "memory_basis",
    "source",
    "note",
)

_SHARE_WRITTEN_TO = 0.0006
_SHARED = (
    "memory_gb_nominal", "usable_gib", "memory_bandwidth_gbs", "fp32_tflops", "tf32_tflops", "fp16_tflops",
    "bf16_tflops", "fp8_tflops", "fp4_tflops", "int8_tops", "tdp_w",
)  # fmt: skip
SLICE_COLUMNS = ("name", "whole", "parts", "kind", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuType:
    """A model of card with its memory. Rates are dense TFLOPS; None where the card has no such unit."""

    name: str
    vendor: str
    architecture: str
    year: int
    compute_capability: str
    """NVIDIA's number (``9.0``) or AMD's target (``gfx942``)."""
    memory_gb_nominal: float
    """What the label says; never compare a job with this."""
    usable_gib: float | None
    """What the driver offers to processes, GiB; None where there is no device memory (CPU)."""
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
    nvlink_gbs: float
    """Both directions together, GB/s per GPU, NVLink or Infinity Fabric; 0 where there is only PCIe."""
    link: str
    pcie_gen: int
    tdp_w: float
    achievable_fraction: float
    """Best measured share of the dense matrix rate; see the basis of each in datasets/gpu_types.csv."""
    mig_max: int
    """Most partitions of one card; 0 where it cannot be partitioned."""
    slice_of: str | None = None
    """The card that this is a part of; None for whole cards."""
    parts: int = 1
    """Into how many equal parts that card is split."""

    @property
    def is_accelerator(self) -> bool:
        """False only for ``CPU``."""
        return self.name != CPU


class GpuCatalogue:
    """All GPU types by name; a bare name such as ``H100`` stands for several variants."""

    def __init__(self, gpu_types: Iterable[GpuType]) -> None:
        self._by_name = {gpu_type.name: gpu_type for gpu_type in gpu_types}
        self._by_folded_name = {name.casefold(): gpu_type for name, gpu_type in self._by_name.items()}

    def get(self, name: str) -> GpuType:
        """The one GPU type of this exact name (case aside)."""
        found = self._by_folded_name.get(name.casefold())
        if found is None:
            variants = self._variants_of(name)
            if variants:
                names = ", ".join(variant.name for variant in variants)
                raise UnknownGpuType(f"GPU type {name!r} names several variants: say one of {names}")
            raise self._unknown(name)
        return found

    def variants(self, name: str) -> tuple[GpuType, ...]:
        """The GPU types that a name may mean: one for an exact name, all variants for a bare one, never a part."""
        exact = self._by_folded_name.get(name.casefold())
        found = (exact,) if exact is not None else self._variants_of(name)
        if not found:
            raise self._unknown(name)
        return found

    def part_of(self, whole: str, share: float) -> GpuType | None:
        """The part that is so much of a card, to the three digits that price lists write; None for no such."""
        found = (one for one in self if one.slice_of == whole and abs(1 / one.parts - share) <= _SHARE_WRITTEN_TO)
        return next(found, None)

    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.casefold() in self._by_folded_name

    def __iter__(self) -> Iterator[GpuType]:
        return iter(self._by_name.values())

    def _variants_of(self, name: str) -> tuple[GpuType, ...]:
        prefix = name.casefold() + "-"
        return tuple(gpu_type for folded, gpu_type in self._by_folded_name.items() if folded.startswith(prefix))

    def _unknown(self, name: str) -> UnknownGpuType:
        near = difflib.get_close_matches(name.casefold(), self._by_folded_name, n=3, cutoff=0.6)
        hint = f"; near it: {', '.join(self._by_folded_name[folded].name for folded in near)}" if near else ""
        return UnknownGpuType(f"GPU type {name!r} is not in the catalogue{hint}")


def load_gpu_types(path: Path | None = None) -> GpuCatalogue:
    """The catalogue of a file, by default ``datasets/gpu_types.csv`` with the parts of ``gpu_slices.csv`` beside it; a
    file is read once."""
    return _load(path or datasets_dir() / "gpu_types.csv")


@cache
def _load(path: Path) -> GpuCatalogue:
    whole = [_gpu_type(row) for row in read_facts(path, COLUMNS, key=("name",))]
    slices = path.with_name("gpu_slices.csv")
    if not slices.is_file():
        return GpuCatalogue(whole)
    by_name = {one.name: one for one in whole}
    return GpuCatalogue([*whole, *(_slice(row, by_name) for row in read_facts(slices, SLICE_COLUMNS, key=("name",)))])


def _slice(row: FactRow, by_name: Mapping[str, GpuType]) -> GpuType:
    """A part of a card: its share of memory, of bandwidth and of every rate.

    A scheduler that gives idle neighbours' time away would be faster and none is slower; what the driver itself keeps
    of each part is published for no card, so usable memory is in proportion too.
    """
    parts = row.integer("parts", minimum=2, maximum=64)
    whole = by_name.get(row.text("whole"))
    if whole is None or whole.usable_gib is None:
        raise row.refuse(f"whole is {row.values['whole']!r}, not a card of the catalogue")
    if row.text("name") != f"{whole.name}/{parts}":
        raise row.refuse(f"name is {row.values['name']!r}, must be {whole.name}/{parts}")
    figures = {name: getattr(whole, name) for name in _SHARED}
    shares: dict[str, Any] = {name: None if figure is None else figure / parts for name, figure in figures.items()}
    return replace(
        whole, name=row.values["name"], slice_of=whole.name, parts=parts, nvlink_gbs=0.0, link="none", mig_max=0,
        **shares,
    )  # fmt: skip


def _gpu_type(row: FactRow) -> GpuType:
    name = row.text("name")
    usable_gib = row.optional_number("usable_gib", minimum=0.001)
    if usable_gib is None and name != CPU:
        raise row.refuse(f"usable_gib is empty, only {CPU} has no device memory")
    nominal_gb = row.number("memory_gb_nominal")
    if usable_gib is not None and usable_gib > nominal_gb:
        raise row.refuse(f"usable_gib {usable_gib:g} is above the label of {nominal_gb:g} GB")
    return GpuType(
        name=name,
        vendor=row.text("vendor"),
        architecture=row.text("architecture"),
        year=row.integer("year", minimum=2010, maximum=2100),
        compute_capability=row.values["compute_capability"],
        memory_gb_nominal=nominal_gb,
        usable_gib=usable_gib,
        memory_bandwidth_gbs=row.number("memory_bandwidth_gbs", minimum=0.001),
        fp32_tflops=row.optional_number("fp32_tflops", minimum=0.001),
        tf32_tflops=row.optional_number("tf32_tflops", minimum=0.001),
        fp16_tflops=row.optional_number("fp16_tflops", minimum=0.001),
        bf16_tflops=row.optional_number("bf16_tflops", minimum=0.001),
        fp8_tflops=row.optional_number("fp8_tflops", minimum=0.001),
        fp4_tflops=row.optional_number("fp4_tflops", minimum=0.001),
        int8_tops=row.optional_number("int8_tops", minimum=0.001),
        native_fp8=row.flag("native_fp8"),
        native_fp4=row.flag("native_fp4"),
        nvlink_gbs=row.number("nvlink_gbs"),
        link=row.text("link"),
        pcie_gen=row.integer("pcie_gen", maximum=9),
        tdp_w=row.number("tdp_w", minimum=1),
        achievable_fraction=row.number("achievable_fraction", minimum=0.01, maximum=1.0),
        mig_max=row.integer("mig_max", maximum=64),
    )
