"""Tell from a command's last lines, its end and the kernel's counters whether memory ran out, and which.

The lines are those that the software of this field prints: PyTorch (also under vLLM, SGLang, Transformers),
CUDA itself, NCCL, JAX and XLA, TensorFlow, CuPy, TensorRT-LLM, bitsandbytes, cuBLAS, Triton, llama.cpp, and for the
host Python, C++, PyTorch's CPU allocator and its data loaders, TensorFlow and the shell.
"""

from __future__ import annotations

import re
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from workers.supervision.stopped import OutOfMemory

Said = TypeVar("Said")

_GPU_LINES = re.compile(
    rb"CUDA out of memory"  # PyTorch: "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate …"
    rb"|HIP out of memory"  # the same on ROCm
    rb"|torch\.(?:cuda\.)?OutOfMemoryError"
    rb"|CUDA [eE]rror: out of memory"  # PyTorch outside its allocator, llama.cpp, bitsandbytes' own kernels, Darknet
    rb"|Triton Error \[(?:CUDA|HIP)\]: out of memory"  # Triton's launcher, also under torch.compile
    rb"|Cuda failure (?:\d+ )?'out of memory'"  # NCCL, also under PyTorch's "Last error:"
    rb"|cupy[\w.]*\.OutOfMemoryError|Out of memory allocating [\d,]+ bytes \(allocated so far"  # CuPy
    rb"|OOM when allocating tensor[^\n]* on [^\n]*device:GPU"  # TensorFlow, which says on which device since 1.5
    rb"|OOM when allocating tensor(?: with shape\[[\d,]*\])?\r?\n"
    rb"|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|CUDA runtime error[^\n]*out of memory"  # TensorRT-LLM
    rb"|[Oo]ut of memory at line \d+ in file"  # bitsandbytes, whose file is .c, .cpp or .cu by version
    rb"|(?:RESOURCE_EXHAUSTED|Resource exhausted): (?:Out of memory|Failed to allocate)"  # JAX, XLA, TensorFlow
    rb"|Requested amount of GPU memory \(\d+ bytes\) could not be allocated"  # TensorRT
    rb"|Cuda Runtime \(out of memory\)"  # TensorRT, as its plugins and Triton say it
    rb"|OutOfMemory \(GPU|GPU out of memory"
    rb"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
    rb"|No available memory for the cache blocks"  # vLLM: nothing left for the KV cache after loading the weights
    rb"|larger than the maximum number of tokens that can be stored in KV cache"  # vLLM: not room for one sequence
    rb"|KV cache is needed, which is larger than the available KV cache memory"  # vLLM since 0.6
    rb"|Not enough memory\. Please try to increase --mem-fraction-static"  # SGLang
    rb"|failed to allocate CUDA\d+ buffer"  # llama.cpp
)
_HOST_LINES = re.compile(
    rb"^MemoryError\b|\bMemoryError: |numpy\.[\w.]*_ArrayMemoryError"
    rb"|std::bad_alloc"
    rb"|DefaultCPUAllocator: (?:can't|not enough)"
    rb"|DataLoader worker \(pid \d+\) is killed by signal: Killed"  # PyTorch
    rb"|OOM when allocating tensor[^\n]* on [^\n]*device:CPU"  # TensorFlow
    rb"|Cannot allocate memory|OutOfMemoryError: Java heap space"
    rb"|slurmstepd[\w.-]*: error: [^\n]*(?:xceeded (?:job )?memory limit|oom[-_]kill event)",  # on another node
    re.MULTILINE,
)
_REACH = 64 * 1024
"""Bytes from a stream's end in which a line explains it: what was printed long before was survived."""
_CRASHES = frozenset(128 + number for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS))
"""Exit codes of a native library that gave up, as C++ code does when an allocation fails."""
_LATELY_S, _MARK_S = 60.0, 10.0
"""A launcher ends a moment after one of its processes was killed, and other jobs of this cgroup may lose theirs while
this one runs: only what the kernel killed lately explains an end."""
_OWN_COUNTERS = ("memory.events", "memory.oom_control")
_OVERLAP = 512
"""Bytes looked at twice, so that a line split between two reads is not missed."""


class LineWatch(Generic[Said]):
    """Looks for known lines in a stream as it flows by, the parts that are cut from the log included."""

    def __init__(self, lines: Mapping[Said, re.Pattern[bytes]]) -> None:
        """Of several that are found the first by the order of `lines` counts."""
        self._lines = lines
        self._seen = 0
        self._tail = b""
        self._last: dict[Said, int] = {}

    def feed(self, data: bytes) -> None:
        """Look at the next bytes of the stream."""
        window = self._tail + data
        start = self._seen - len(self._tail)
        for which, lines in self._lines.items():
            for match in lines.finditer(window):
                self._last[which] = start + match.end()
        self._seen += len(data)
        self._tail = window[-_OVERLAP:]

    def verdict(self) -> Said | None:
        """What the stream's end says."""
        for which in self._lines:
            if which in self._last and self._seen - self._last[which] <= _REACH:
                return which
        return None


class OutputWatch(LineWatch[OutOfMemory]):
    """Looks which memory ran out. A GPU line wins: its traceback may name host errors too."""

    def __init__(self) -> None:
        super().__init__({OutOfMemory.GPU: _GPU_LINES, OutOfMemory.HOST: _HOST_LINES})


def kernel_kills() -> dict[str, int]:
    """How many processes the kernel has killed for want of memory, by the counters this process may read.

    cgroup v2 and v1 count those of this container, /proc/vmstat those of the whole machine.
    """
    counters = {}
    for path in (*_cgroup_files(), Path("/proc/vmstat")):
        try:
            content = path.read_text()
        except OSError:
            continue
        if found := re.search(r"^oom_kill (\d+)$", content, re.MULTILINE):
            counters[str(path)] = int(found[1])
    return counters


class KernelKills:
    """Remembers those counters as they were lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks = deque([(clock(), kernel_kills())])

    def look(self) -> None:
        """Take them down once more; where they were taken down a moment ago, leave it."""
        now = self._clock()
        if now - self._marks[-1][0] < _MARK_S:
            return
        self._marks.append((now, kernel_kills()))
        while now - self._marks[1][0] >= _LATELY_S:
            self._marks.popleft()

    @property
    def lately(self) -> dict[str, int]:
        """As they were about a minute before the last look, or at the beginning."""
        return self._marks[0][1]


def _cgroup_files() -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number == "0":
            files.append(Path("/sys/fs/cgroup") / group.lstrip("/") / _OWN_COUNTERS[0])
        elif "memory" in controllers.split(","):
            files.append(Path("/sys/fs/cgroup/memory") / group.lstrip("/") / _OWN_COUNTERS[1])
    return files


def judge(
    exit_code: int,
    lines: list[OutOfMemory | None],
    kills_before: dict[str, int],
    kills_after: dict[str, int],
    *,
    card_was_full: bool = False,
) -> OutOfMemory | None:
    """Which memory ran out, for a command that ended by itself; None for any other end.

    A success is a success whatever it printed. A kill is laid to the kernel only if a counter rose meanwhile. Where the
    command itself was not killed, one of its processes may have been: that of its own cgroup says so, but what it said
    itself goes before that, and the whole machine's says nothing. A card that was full when it was last looked at
    explains an end by a signal, before which nothing could be said; where something was said, that explains it:
    frameworks keep what they no longer need, so a full card alone is no reason.
    """
    if exit_code == 0:
        return None
    risen = [path for path, count in kills_before.items() if kills_after.get(path, count) > count]
    if risen and exit_code == 128 + signal.SIGKILL:
        return OutOfMemory.HOST
    for which in (OutOfMemory.GPU, OutOfMemory.HOST):
        if which in lines:
            return which
    if any(Path(path).name in _OWN_COUNTERS for path in risen):
        return OutOfMemory.HOST
    return OutOfMemory.GPU if card_was_full and exit_code in _CRASHES else None
