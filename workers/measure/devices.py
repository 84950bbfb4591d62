"""Which GPU is here, in the words of the catalogue."""

from __future__ import annotations

from predictor.errors import UnknownGpuType
from predictor.hardware import GpuCatalogue, GpuType
from workers.measure.harness import Device


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


def _first_gpu(catalogue: GpuCatalogue) -> Device | None:
    import pynvml  # noqa: PLC0415 - a machine without the driver's library must still run the CPU smoke

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        if pynvml.nvmlDeviceGetCount() == 0:
            return None
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        total_gib = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 1024**3
        return Device("cuda", gpu_type_of(str(pynvml.nvmlDeviceGetName(handle)), total_gib, catalogue), total_gib)
    finally:
        pynvml.nvmlShutdown()
