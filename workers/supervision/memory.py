"""Sample what a process tree holds: resident memory always, GPU memory where GPUs were handed out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from workers.supervision.gpus import GIB
from workers.supervision.processes import descendants

_FULL_GIB = 0.5
"""Less is free of a card that is full: an allocator asks for blocks of some hundred MiB at a time."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class VramReader(Protocol):
    """What of the driver is used to watch GPUs that one attempt has to itself."""

    def used_gib(self, uuid: str) -> float | None: ...

    def free_gib(self, uuid: str) -> float | None: ...

    def held_gib(self, uuid: str, pids: Sequence[int]) -> float | None: ...


class MemoryProbe:
    """Keeps the peaks seen so far of everything this process is an ancestor of, GiB."""

    def __init__(
        self,
        vram: VramReader | None,
        gpu_uuids: Sequence[str],
        *,
        shared: bool = False,
        most_gib: float | None = None,
    ) -> None:
        """`shared`: others may be on the GPUs as well, so only what the driver lays to our processes is ours.
        `most_gib`: of this host's memory."""
        self.peak_rss_gib: float | None = None
        self.peak_vram_gib: float | None = None
        self.card_is_full = False
        """Whether hardly anything was free on one of the GPUs at the last look."""
        self.has_too_much = False
        """Whether they held more of this host's memory than they may at the last look."""
        self._vram, self._shared, self._most_gib = vram, shared, most_gib
        self._before = {uuid: vram.used_gib(uuid) or 0.0 for uuid in gpu_uuids} if vram else {}

    def sample(self) -> None:
        """Look once. Resident memory is summed over processes, so pages they share count for each: an upper bound."""
        pids = descendants(os.getpid())
        resident = sum(map(_resident_gib, pids))
        if resident:
            self.note_rss(resident)
        if self._most_gib is not None:
            # what is held is part of what is resident, and takes far longer to look at
            self.has_too_much = resident > self._most_gib and sum(map(_held_gib, pids)) > self._most_gib
        if self._vram is None:
            return
        left = [free for uuid in self._before if (free := self._vram.free_gib(uuid)) is not None]
        self.card_is_full = bool(left) and min(left) < _FULL_GIB
        for uuid, before in self._before.items():
            held = self._vram.held_gib(uuid, pids)
            if held is None and not self._shared and (used := self._vram.used_gib(uuid)) is not None:
                # the driver does not tell processes apart here; the card is ours alone, so what came is ours
                held = max(0.0, used - before)
            if held is not None:
                self.peak_vram_gib = _larger(self.peak_vram_gib, held)

    def note_rss(self, gib: float) -> None:
        """Take in what was seen."""
        self.peak_rss_gib = _larger(self.peak_rss_gib, gib)


def _larger(known: float | None, seen: float) -> float:
    return seen if known is None else max(known, seen)


def _resident_gib(pid: int) -> float:
    if sys.platform != "linux":
        return _resident_gib_by_psutil(pid)
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * _PAGE_BYTES / GIB


def _held_gib(pid: int) -> float:
    """Of its resident memory what no other process counts as well, and the kernel cannot read again from a file."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return _resident_gib(pid)
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines[1:])}
    if "Pss_Anon" not in kib:  # Linux before 5.4
        return kib.get("Pss", 0) / 2**20
    return (kib["Pss_Anon"] + kib.get("Pss_Shmem", 0)) / 2**20


def _resident_gib_by_psutil(pid: int) -> float:
    import psutil  # noqa: PLC0415 - 30 ms that a supervisor on Linux can do without

    try:
        return float(psutil.Process(pid).memory_info().rss) / GIB
    except psutil.Error:
        return 0.0
