"""Hand GPUs of this host to one attempt at a time, and read what a process tree holds on them (NVML).

A GPU is taken by locking a file of its name. The kernel drops the lock when the holder ends, however it
ends, so no GPU stays taken by a supervisor that is gone.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

GIB = 2**30
_LOOKS, _BETWEEN_LOOKS_S = 51, 0.2
"""Ten seconds of patience with a last holder that is still letting go."""
_SAME_TYPE = 0.05
"""A card whose memory is within this share of what its type offers is of that type: drivers differ by a few
per cent, and a host that mixes types of equal memory is not known to us."""


class NoGpus(Exception):
    """The host cannot hand out what was ordered; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class HostGpu:
    """One NVIDIA GPU of this host."""

    index: int
    """Its place in the order of the PCI bus, which is the driver's."""
    uuid: str
    name: str
    """As the driver calls it, such as "NVIDIA H100 80GB HBM3"."""
    total_gib: float


class Nvml:
    """A session with the NVIDIA driver."""

    def __init__(self, library: Any) -> None:
        self._nvml = library
        self._handles: dict[str, Any] = {}

    def gpus(self) -> list[HostGpu]:
        """The GPUs of this host, in the driver's order."""
        found = []
        for index in range(self._nvml.nvmlDeviceGetCount()):
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
            self._handles[uuid] = handle
            total = self._nvml.nvmlDeviceGetMemoryInfo(handle).total / GIB
            found.append(HostGpu(index, uuid, _text(self._nvml.nvmlDeviceGetName(handle)), total))
        return found

    def used_gib(self, uuid: str) -> float | None:
        """Memory in use on a GPU, whoever uses it; None where the driver does not answer (any more)."""
        try:
            return float(self._nvml.nvmlDeviceGetMemoryInfo(self._handles[uuid]).used) / GIB
        except self._nvml.NVMLError:
            return None

    def held_gib(self, uuid: str, pids: Iterable[int]) -> float | None:
        """Memory that some processes hold on a GPU; None where the driver does not know them (containers, WSL)."""
        wanted = set(pids)
        try:
            running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handles[uuid])
        except self._nvml.NVMLError:
            return None
        held = [process.usedGpuMemory for process in running if process.pid in wanted]
        return sum(held) / GIB if held and None not in held else None


class GpuReader(Protocol):
    """What of `Nvml` is used to hand out GPUs."""

    def gpus(self) -> list[HostGpu]: ...


@dataclass(frozen=True, slots=True)
class Handout:
    """GPUs that this process holds until it ends or closes."""

    gpus: tuple[HostGpu, ...]
    locks: ExitStack

    @property
    def uuids(self) -> tuple[str, ...]:
        """What the driver knows them by."""
        return tuple(gpu.uuid for gpu in self.gpus)

    @property
    def environment(self) -> dict[str, str]:
        """What makes CUDA see these and no others. Numbers, since some engines cannot read UUIDs; they mean the same
        GPUs to CUDA as to the driver only in the order of the bus."""
        numbers = ",".join(str(gpu.index) for gpu in self.gpus)
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": numbers}

    def close(self) -> None:
        """Let the next attempt have them."""
        self.locks.close()


def take_gpus(
    reader: GpuReader | None,
    count: int,
    usable_gib: float | None,
    devices_dir: Path,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Handout:
    """Take `count` GPUs of the type that offers `usable_gib`, waiting a little for those being let go."""
    if reader is None:
        raise NoGpus(f"{count} GPU(s) were placed on this host, but it has no NVIDIA driver")
    fitting = [gpu for gpu in reader.gpus() if usable_gib is None or _is_of_type(gpu, usable_gib)]
    if len(fitting) < count:
        raise NoGpus(f"{count} GPU(s) were placed on this host, but it has {len(fitting)} of that type")
    devices_dir.mkdir(parents=True, exist_ok=True)
    for look in range(_LOOKS):
        if look:
            sleep(_BETWEEN_LOOKS_S)
        with ExitStack() as locks:
            taken: list[HostGpu] = []
            for gpu in fitting:
                if len(taken) < count and _lock(devices_dir / gpu.uuid, locks):
                    taken.append(gpu)
            if len(taken) == count:
                return Handout(tuple(taken), locks.pop_all())
    raise NoGpus(f"{count} GPU(s) were placed on this host, but {len(taken)} of that type are free")


def _is_of_type(gpu: HostGpu, usable_gib: float) -> bool:
    return abs(gpu.total_gib - usable_gib) <= _SAME_TYPE * usable_gib


def _lock(path: Path, locks: ExitStack) -> bool:
    file: TextIO = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    locks.enter_context(file)
    return True


def open_nvml() -> Nvml | None:
    """A session with the driver, None on a host without one."""
    import pynvml  # noqa: PLC0415 - most supervisors hand out no GPU

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return Nvml(pynvml)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
