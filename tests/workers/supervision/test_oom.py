"""Telling a run out of memory from any other end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.supervision import oom
from workers.supervision.oom import OutputWatch, judge
from workers.supervision.stopped import OutOfMemory

GPU_WORDS = [
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 39.39 GiB total capacity)",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB",
    "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 1.50 GiB.",
    "RuntimeError: CUDA error: out of memory",
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
    "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4096 bytes.",
    "[TensorRT-LLM][ERROR] CUDA runtime error in ::cudaMalloc(ptr, n): out of memory (memoryManager.cpp:111)",
    "RuntimeError: Resource exhausted: Out of memory while trying to allocate 5520758552 bytes.",
    "XlaRuntimeError: RESOURCE_EXHAUSTED: Failed to allocate request for 2.99GiB (3206250496B) on device ordinal 0",
    "[TensorRT-LLM][ERROR] CUDA runtime error in error: out of memory (/src/tensorrt_llm/runtime/ipcUtils.cpp:48)",
    "[TensorRT-LLM][ERROR] CUDA runtime error in ::cudaMallocAsync(ptr, n, stream): out of memory (tllmBuffers.h:112)",
    "[TRT] [E] 1: [genericReformat.cuh::copyVectorizedRunKernel::1587] Error Code 1: Cuda Runtime (out of memory)",
    "[TRT-LLM] [RANK 2] [E] Error executing load_single_module: CUDA out of memory. Tried to allocate 40.00 MiB.",
    "ValueError: To serve one request 4.11 GiB KV cache is needed, which is larger than the available KV cache memory",
    "Error out of memory at line 380 in file /src/csrc/pythonInterface.cu",
    "Error out of memory at line 351 in file /home/developer/bitsandbytes/csrc/pythonInterface.c",
    "CUDA error: out of memory at line 88 in file /src/csrc/ops.cpp",
    "Error: cudaErrorMemoryAllocation",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 8589934592",
    "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
    "RuntimeError: Triton Error [CUDA]: out of memory",
    "[rank3]: Cuda failure 2 'out of memory'",
    "node1:3018451:3018451 [0] enqueue.cc:1085 NCCL WARN Cuda failure 'out of memory'",
    "CUDA Error: out of memory",
    "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,000,000,000 bytes (allocated so far: 512 bytes).",
    "cupy.cuda.memory.OutOfMemoryError: out of memory to allocate 1073741824 bytes (total 12373894656 bytes)",
    "OOM when allocating tensor with shape[500,17,4032] and type float on /job:localhost/device:GPU:0 by GPU_0_bfc",
    "ResourceExhaustedError (see above for traceback): OOM when allocating tensor with shape[256,112,112,64]",
]
HOST_WORDS = [
    "MemoryError",
    "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 745. GiB for an array",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
    "fork: Cannot allocate memory",
    "RuntimeError: DataLoader worker (pid 4024) is killed by signal: Killed. ",
    "OOM when allocating tensor with shape[65536,65536] and type float on /job:localhost/device:CPU:0 by allocator cpu",
    "1: slurmstepd: error: StepId=7.0 exceeded memory limit (452956160 > 104857600), being killed",
    "1: slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
]
INNOCENT_WORDS = [
    "loss 0.31, out of 400 samples",
    "set PYTORCH_CUDA_ALLOC_CONF to avoid fragmentation",
    "assert isinstance(error, CustomMemoryErrors)",
    "memory allocated: 12 GiB",
    "WARNING: lower --batch-size if you see OOM; the last run went out of memory",
    "retrying after OutOfMemoryError, 2 left",
    "[rank1]: Cuda failure 1 'invalid argument'",
    "RuntimeError: Triton Error [CUDA]: device kernel image is invalid",
    "RuntimeError: DataLoader worker (pid 23616) is killed by signal: Terminated. ",
    "slurmstepd: error: *** STEP 7.0 ON n3 CANCELLED AT 2026-11-29T22:06:52 ***",
    # XLA's allocator about a try that it can do without
    "W bfc_allocator.cc:310] Allocator (GPU_0_bfc) ran out of memory trying to allocate 3.37GiB with freed_by_count=0.",
    # vLLM about a card that somebody else is using
    "ValueError: Free memory on device (67.24/79.25 GiB) on startup is less than desired GPU memory utilization (0.9)",
]


def heard(text: str) -> OutOfMemory | None:
    watch = OutputWatch()
    watch.feed(text.encode())
    return watch.verdict()


@pytest.mark.parametrize("words", GPU_WORDS)
def test_what_the_software_of_this_field_says_when_a_card_is_full(words: str) -> None:
    assert heard(f"Traceback (most recent call last):\n  File x\n{words}\n") is OutOfMemory.GPU


@pytest.mark.parametrize("words", HOST_WORDS)
def test_what_is_said_when_the_host_is_full(words: str) -> None:
    assert heard(f"Traceback (most recent call last):\n  File x\n{words}\n") is OutOfMemory.HOST


@pytest.mark.parametrize("words", INNOCENT_WORDS)
def test_other_talk_of_memory_means_nothing(words: str) -> None:
    assert heard(words) is None


def test_a_full_card_explains_the_host_errors_of_its_traceback() -> None:
    assert heard("CUDA out of memory\n…\nMemoryError\n") is OutOfMemory.GPU


@given(words=st.sampled_from(GPU_WORDS), cuts=st.lists(st.integers(1, 150), max_size=8), before=st.integers(0, 3000))
def test_a_line_is_heard_however_the_stream_was_cut(words: str, cuts: list[int], before: int) -> None:
    text = b"x" * before + b"\n" + words.encode() + b"\n"
    watch = OutputWatch()
    for cut in cuts:
        watch.feed(text[:cut])
        text = text[cut:]
    watch.feed(text)
    assert watch.verdict() is OutOfMemory.GPU


def test_what_was_said_long_before_the_end_was_survived() -> None:
    watch = OutputWatch()
    watch.feed(b"CUDA out of memory, trying a smaller batch\n")
    for _ in range(100):
        watch.feed(b"step " * 200)
    assert watch.verdict() is None


@pytest.mark.parametrize(
    ("exit_code", "line", "kills", "expected"),
    [
        (0, OutOfMemory.GPU, 0, None),  # caught, and gone on with a smaller batch
        (1, OutOfMemory.GPU, 0, OutOfMemory.GPU),
        (1, OutOfMemory.HOST, 0, OutOfMemory.HOST),
        (137, None, 1, OutOfMemory.HOST),
        (137, None, 0, None),  # somebody's SIGKILL, but not the kernel's for want of memory
        (1, None, 1, None),  # the kernel killed something else
        (137, OutOfMemory.GPU, 0, OutOfMemory.GPU),
    ],
)
def test_the_end_of_a_command_is_judged_by_code_words_and_the_kernel(
    exit_code: int, line: OutOfMemory | None, kills: int, expected: OutOfMemory | None
) -> None:
    assert judge(exit_code, [None, line], {"vmstat": 5, "gone": 1}, {"vmstat": 5 + kills}) is expected


@pytest.mark.parametrize("counter", ["/sys/fs/cgroup/job/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"])
@pytest.mark.parametrize(
    ("exit_code", "line", "expected"),
    [
        (1, None, OutOfMemory.HOST),  # torchrun, of which one process was killed
        (0, None, None),
        (1, OutOfMemory.GPU, OutOfMemory.GPU),
        (137, OutOfMemory.GPU, OutOfMemory.HOST),
    ],
)
def test_a_kill_in_its_own_cgroup_explains_any_bad_end(
    counter: str, exit_code: int, line: OutOfMemory | None, expected: OutOfMemory | None
) -> None:
    assert judge(exit_code, [line], {counter: 0, "/proc/vmstat": 7}, {counter: 1, "/proc/vmstat": 8}) is expected
    assert judge(1, [None], {counter: 1}, {counter: 1}) is None


def test_what_the_kernel_killed_long_before_the_end_explains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now, kills = 0.0, 0
    monkeypatch.setattr(oom, "kernel_kills", lambda: {"memory.events": kills})
    lately = oom.KernelKills(lambda: now)
    for second in range(0, 100, 5):
        now, kills = float(second), int(second >= 50)
        lately.look()
        assert lately.lately == {"memory.events": 0}
    for second in range(100, 200, 5):
        now = float(second)
        lately.look()
    assert lately.lately == {"memory.events": 1}


@pytest.mark.parametrize(
    ("exit_code", "line", "expected"),
    [
        (134, None, OutOfMemory.GPU),  # aborted by a library that could not allocate, and could not say so
        (139, None, OutOfMemory.GPU),
        (1, None, None),  # frameworks keep what they no longer need: a full card alone is no reason
        (137, None, None),
        (0, None, None),
        (134, OutOfMemory.HOST, OutOfMemory.HOST),
    ],
)
def test_a_full_card_explains_a_crash_without_a_word(
    exit_code: int, line: OutOfMemory | None, expected: OutOfMemory | None
) -> None:
    assert judge(exit_code, [line], {}, {}, card_was_full=True) is expected
    if line is None:
        assert judge(exit_code, [line], {}, {}) is None
