"""Tell from a command's last lines, its end and the kernel's counters whether memory ran out, and which.

The lines are those that the software of this field prints: PyTorch (also under vLLM, SGLang, Transformers),
CUDA itself, JAX and XLA, TensorRT-LLM, bitsandbytes, cuBLAS, Triton, llama.cpp, and for the host Python,
C++, PyTorch's CPU allocator and the shell.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from workers.supervision.stopped import OutOfMemory

_GPU_LINES = re.compile(
    rb"CUDA out of memory"  # PyTorch: "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate …"
    rb"|HIP out of memory"  # the same on ROCm
    rb"|torch\.(?:cuda\.)?OutOfMemoryError"
    rb"|CUDA error: out of memory"  # PyTorch outside its allocator, llama.cpp, bitsandbytes' own kernels
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
    rb"|Cannot allocate memory|OutOfMemoryError: Java heap space"
    rb"|slurmstepd[\w.-]*: error: [^\n]*(?:xceeded (?:job )?memory limit|oom[-_]kill event)",  # on another node
    re.MULTILINE,
)
_REACH = 64 * 1024
"""Bytes from a stream's end in which a line explains it: what was printed long before was survived."""
_CRASHES = frozenset(128 + number for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS))
"""Exit codes of a native library that gave up, as C++ code does when an allocation fails."""
_OVERLAP = 512
"""Bytes looked at twice, so that a line split between two reads is not missed."""


class OutputWatch:
    """Looks for known lines in a stream as it flows by, the parts that are cut from the log included."""

    def __init__(self) -> None:
        self._seen = 0
        self._tail = b""
        self._last: dict[OutOfMemory, int] = {}

    def feed(self, data: bytes) -> None:
        """Look at the next bytes of the stream."""
        window = self._tail + data
        start = self._seen - len(self._tail)
        for which, lines in ((OutOfMemory.GPU, _GPU_LINES), (OutOfMemory.HOST, _HOST_LINES)):
            for match in lines.finditer(window):
                self._last[which] = start + match.end()
        self._seen += len(data)
        self._tail = window[-_OVERLAP:]

    def verdict(self) -> OutOfMemory | None:
        """Which memory the stream's end says ran out. A GPU line wins: its traceback may name host errors too."""
        for which in (OutOfMemory.GPU, OutOfMemory.HOST):
            if which in self._last and self._seen - self._last[which] <= _REACH:
                return which
        return None


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


def _cgroup_files() -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number == "0":
            files.append(Path("/sys/fs/cgroup") / group.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(Path("/sys/fs/cgroup/memory") / group.lstrip("/") / "memory.oom_control")
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

    A success is a success whatever it printed. A kill is laid to the kernel only if its counter rose meanwhile. A card
    that was full when it was last looked at explains an end by a signal, before which nothing could be said; where
    something was said, that explains it: frameworks keep what they no longer need, so a full card alone is no reason.
    """
    if exit_code == 0:
        return None
    killed = exit_code == 128 + signal.SIGKILL
    if killed and any(kills_after[path] > count for path, count in kills_before.items() if path in kills_after):
        return OutOfMemory.HOST
    for which in (OutOfMemory.GPU, OutOfMemory.HOST):
        if which in lines:
            return which
    return OutOfMemory.GPU if card_was_full and exit_code in _CRASHES else None
