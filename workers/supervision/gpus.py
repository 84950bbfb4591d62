"""Hand GPUs of this host to one attempt at a time, and read what a process tree holds on them (NVML).

A GPU is taken by locking a file of its name. The kernel drops the lock when the holder ends, however it
ends, so no GPU stays taken by a supervisor that is gone. Attempts that share a card share the lock: its file
then holds what they have in common, the name of their machine.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
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

    def free_gib(self, uuid: str) -> float | None:
        """Memory that nobody uses on a GPU; None where the driver does not answer (any more)."""
        try:
            return float(self._nvml.nvmlDeviceGetMemoryInfo(self._handles[uuid]).free) / GIB
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


@dataclass(frozen=True, slots=True)
class GivenGpus:
    """GPUs that a batch system has handed to this process."""

    visible: str
    """Its CUDA_VISIBLE_DEVICES."""
    uuids: tuple[str, ...]
    """Those of them that the driver knows: none without one, and no part of a card."""

    @property
    def environment(self) -> dict[str, str]:
        """What makes CUDA see these and no others; batch systems number cards in the order of the bus."""
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": self.visible}


def given_gpus(reader: GpuReader | None, count: int, visible: str | None) -> GivenGpus:
    """The GPUs that a batch system's CUDA_VISIBLE_DEVICES names; NoGpus where those are not as many as were placed."""
    names = [name for each in (visible or "").split(",") if (name := each.strip())]
    if len(names) != count:
        raise NoGpus(f"{count} GPU(s) were placed on this node, but the batch system has handed out {len(names)}")
    known = {name: gpu.uuid for gpu in (reader.gpus() if reader else ()) for name in (str(gpu.index), gpu.uuid)}
    return GivenGpus(",".join(names), tuple(known[name] for name in names if name in known))


def take_gpus(
    reader: GpuReader | None,
    count: int,
    usable_gib: float | None,
    devices_dir: Path,
    *,
    shared_by: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Handout:
    """Take `count` GPUs of the type that offers `usable_gib`, waiting a little for those being let go.

    With `shared_by`, one that is held by others under the same name comes before one that is free.
    """
    if reader is None:
        raise NoGpus(f"{count} GPU(s) were placed on this host, but it has no NVIDIA driver")
    fitting = [gpu for gpu in reader.gpus() if usable_gib is None or _is_of_type(gpu, usable_gib)]
    if len(fitting) < count:
        raise NoGpus(f"{count} GPU(s) were placed on this host, but it has {len(fitting)} of that type")
    devices_dir.mkdir(parents=True, exist_ok=True)
    for look in range(_LOOKS):
        if look:
            sleep(_BETWEEN_LOOKS_S)
        with ExitStack() as locks, _one_at_a_time(devices_dir):
            taken: list[HostGpu] = []
            if shared_by is not None:
                taken = [gpu for gpu in fitting if _join(devices_dir / gpu.uuid, shared_by, locks)][:count]
            for gpu in fitting:
                if len(taken) < count and gpu not in taken and _lock(devices_dir / gpu.uuid, locks, shared_by):
                    taken.append(gpu)
            if len(taken) == count:
                return Handout(tuple(taken), locks.pop_all())
    raise NoGpus(f"{count} GPU(s) were placed on this host, but {len(taken)} of that type are free")


def _is_of_type(gpu: HostGpu, usable_gib: float) -> bool:
    return abs(gpu.total_gib - usable_gib) <= _SAME_TYPE * usable_gib


@contextmanager
def _one_at_a_time(devices_dir: Path) -> Iterator[None]:
    """A lock that is shared is taken in two steps, and nobody may step in between."""
    with (devices_dir / "handout").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _join(path: Path, shared_by: str, locks: ExitStack) -> bool:
    """Lock a GPU together with others of the same name; False where it is not theirs."""
    if not path.exists() or path.read_text() != shared_by:
        return False
    return _locked(path.open("r"), fcntl.LOCK_SH, locks)


def _lock(path: Path, locks: ExitStack, shared_by: str | None) -> bool:
    """Lock a GPU that nobody holds, for others of the same name as well where there is one."""
    file = path.open("a")
    if not _locked(file, fcntl.LOCK_EX, locks):
        return False
    file.truncate(0)
    if shared_by is not None:
        file.write(shared_by)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
    return True


def _locked(file: TextIO, how: int, locks: ExitStack) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
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
