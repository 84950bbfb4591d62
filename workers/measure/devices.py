"""Which GPU is here, in the words of the catalogue."""

from __future__ import annotations

import os

from predictor.errors import PythiaError, UnknownGpuType
from predictor.hardware import GpuCatalogue, GpuType
from workers.measure.harness import Device

BUSY_GIB = 1.5
"""An idle card shows up to about one: what the driver keeps for itself, and a desktop."""


class BusyGpu(PythiaError):
    """Somebody else's memory would be measured with ours."""

    code = "busy_gpu"


def find_device(catalogue: GpuCatalogue, *, cpu: bool) -> Device:
    """The first GPU that the driver shows, or the CPU where there is none (or where it was asked for)."""
    return (None if cpu else _first_gpu(catalogue)) or Device("cpu", "CPU", None)


def gpu_type_of(marketing_name: str, total_gib: float, catalogue: GpuCatalogue) -> str:
    """The catalogue's name of a card such as `NVIDIA H100 80GB HBM3`.

    Two cards with one name differ by memory: of the types whose name's first word the driver's name
    holds, the one nearest in usable memory is taken, and the words SXM, PCIe and NVL settle ties.
    Raises UnknownGpuType when none is within 5 % of the memory.
    """
    words = marketing_name.upper().replace("-", " ").replace("HBM3E", "").split()
    joined = "".join(words)
    near = [gpu for gpu in catalogue if gpu.usable_gib and abs(gpu.usable_gib / total_gib - 1) < 0.05]
    named = [gpu for gpu in near if gpu.name.split("-")[0].upper() in (joined if " " in marketing_name else words)]
    if not named:
        raise UnknownGpuType(
            f"the driver calls this card {marketing_name!r} with {total_gib:.1f} GiB, and no known GPU type fits that"
        )

    def score(gpu: GpuType) -> tuple[int, int, float, str]:
        stem, _, variant = gpu.name.partition("-")
        form = variant.split("-")[-1].upper()
        # SXM cards do not say so in their name; PCIe and NVL cards do
        agrees = form in joined or (form == "SXM" and "PCIE" not in joined and "NVL" not in joined)
        return (-len(stem), 0 if agrees else 1, abs((gpu.usable_gib or 0) - total_gib), gpu.name)

    return min(named, key=score).name


def first_visible(listed: str | None) -> int | str | None:
    """The card that CUDA_VISIBLE_DEVICES puts first: its number on the bus, or its UUID; None where it hides all."""
    if listed is None:
        return 0
    first = listed.split(",")[0].strip()
    return (int(first) if first.isdecimal() else first) if first not in ("", "-1") else None


def check_idle(used_gib: float, gpu_type: str) -> None:
    """Refuse a card on which something else runs: the driver's reading is of all processes together."""
    if used_gib > BUSY_GIB:
        raise BusyGpu(
            f"{used_gib:.1f} GiB of this {gpu_type} are in use already, and would be counted in every measurement; "
            "stop what uses it, or name a free card with CUDA_VISIBLE_DEVICES"
        )


def _first_gpu(catalogue: GpuCatalogue) -> Device | None:
    import pynvml  # noqa: PLC0415 - a machine without the driver's library must still run the CPU smoke

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        wanted = first_visible(os.environ.get("CUDA_VISIBLE_DEVICES"))
        if wanted is None or pynvml.nvmlDeviceGetCount() == 0:
            return None
        by = pynvml.nvmlDeviceGetHandleByIndex if isinstance(wanted, int) else pynvml.nvmlDeviceGetHandleByUUID
        handle = by(wanted)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        total_gib = memory.total / 1024**3
        gpu_type = gpu_type_of(str(pynvml.nvmlDeviceGetName(handle)), total_gib, catalogue)
        check_idle(memory.used / 1024**3, gpu_type)
        return Device("cuda", gpu_type, total_gib)
    except pynvml.NVMLError as error:
        raise UnknownGpuType(f"the driver does not show the card that was asked for: {error}") from None
    finally:
        pynvml.nvmlShutdown()
