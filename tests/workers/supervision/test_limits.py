"""What a local job may use of its host, met by real commands, and what is said of one that wanted more."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.domain.states import Outcome
from scheduler.settings import Settings
from tests.workers.works import ended, make_work, printed, python
from workers.backends.base import Report
from workers.backends.supervised import Supervised
from workers.outcomes import result_of
from workers.supervision.limits import LINES, Limits
from workers.supervision.oom import LineWatch
from workers.supervision.stopped import OutOfMemory
from workers.wiring import make_backends

SEEN = """
import json, resource
names = ("CORE", "NPROC", "NOFILE", "FSIZE")
print(json.dumps([resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in names]))
"""


def run(local: Supervised, limits: Limits | None, code: str) -> tuple[Report, str]:
    backend = replace(local, limits=limits)
    handle = backend.start(make_work(python(code)))
    return ended(backend, handle), printed(backend, handle)


def reason(report: Report, *, on_gpu: bool = True) -> tuple[Outcome, str | None]:
    result = result_of(report, cancel_requested=False, has_device_memory=on_gpu)
    return result.outcome, result.reason


def test_a_command_has_the_limits_of_its_installation(local: Supervised) -> None:
    limits = Limits(processes=4000, open_files=200, file_bytes=10**9)
    assert json.loads(run(local, limits, SEEN)[1]) == [[0, 0], [4000, 4000], [200, 200], [10**9, 10**9]]


def test_an_installations_settings_say_what_its_jobs_may_use(tmp_path: Path) -> None:
    usual = make_backends(Settings(data_dir=tmp_path))["local"]
    strict = make_backends(Settings(data_dir=tmp_path, local_file_bytes=4096, local_memory_gib=2))["local"]
    assert isinstance(usual, Supervised)
    assert isinstance(strict, Supervised)
    assert usual.limits == Limits(processes=65_536, open_files=262_144)
    assert strict.limits == Limits(processes=65_536, open_files=262_144, file_bytes=4096, memory_gib=2)


def test_a_command_may_never_have_more_than_its_worker(local: Supervised) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    seen = json.loads(run(local, Limits(open_files=2**40), SEEN)[1])
    assert seen[2] == ([2**40, 2**40] if hard == resource.RLIM_INFINITY else [hard, hard])


def test_without_limits_a_command_has_those_of_its_worker_and_leaves_no_core(local: Supervised) -> None:
    seen = json.loads(run(local, Limits(), SEEN)[1])
    inherited = [resource.getrlimit(which) for which in (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE)]
    assert seen[0] == [0, 0]
    assert seen[1:3] == [list(one) for one in inherited]


def test_too_many_open_files_are_a_failure_that_says_so(local: Supervised) -> None:
    report, _ = run(local, Limits(open_files=64), "kept = [open('/dev/null') for _ in range(100)]")
    said = "it wanted more files open at once than the 64 that a process may have here (PYTHIA_LOCAL_OPEN_FILES)"
    assert reason(report) == (Outcome.FAILED, f"exit code 1: {said}")


def test_too_many_processes_are_a_failure_that_says_so(local: Supervised) -> None:
    # root is not limited, and any other user has a process already: this one's worker
    code = """
import os, threading, time
os.getuid() or os.setuid(54321)
for _ in range(9): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
    report, _ = run(local, Limits(processes=3), code)
    said = "it wanted more processes and threads than the 3 that its user may have here (PYTHIA_LOCAL_PROCESSES)"
    assert reason(report) == (Outcome.FAILED, f"exit code 1: {said}")


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("open('big', 'wb').write(bytes(10_000))", "exit code 1"),
        ("import os; os.execvp('dd', ['dd', 'if=/dev/zero', 'of=big', 'bs=10000', 'count=1'])", "ended by SIGXFSZ"),
    ],
)
def test_a_file_that_grows_too_large_is_a_failure_that_says_so(local: Supervised, code: str, how: str) -> None:
    if how == "ended by SIGXFSZ":  # Python ignores it, and leaves it so to what it becomes
        code = f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); {code}"
    report, _ = run(local, Limits(file_bytes=4096), code)
    said = "it wanted a file larger than the 4,096 bytes that one may have here (PYTHIA_LOCAL_FILE_BYTES)"
    assert reason(report) == (Outcome.FAILED, f"{how}: {said}")


HOLD = "import time; block = bytearray(200 * 2**20); time.sleep(60)"
SAID = "the host's memory ran out: it held more than the 0.1 GiB that a job may hold here (PYTHIA_LOCAL_MEMORY_GIB)"


@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_job_that_holds_too_much_memory_is_killed_and_says_so(local: Supervised, on_gpu: bool) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"
    report, _ = run(local, Limits(memory_gib=0.1), child)
    assert (report.out_of_memory, report.signal) == (OutOfMemory.HOST, signal.SIGKILL)
    # as with any memory of the host, a larger card would be of no use
    assert reason(report, on_gpu=on_gpu) == (Outcome.FAILED if on_gpu else Outcome.OUT_OF_MEMORY, SAID)


def test_a_page_that_processes_share_is_held_once(local: Supervised) -> None:
    # 60 MiB in three processes, looked at several times: 180 MiB are resident
    share = "import os, time\nblock = b'x' * (60 * 2**20)\nos.fork(); os.fork(); time.sleep(1.5); os._exit(0)"
    report, _ = run(local, Limits(memory_gib=0.15), share)
    assert reason(report) == (Outcome.COMPLETED, None)
    assert report.peak_rss_gib is not None
    assert report.peak_rss_gib > 0.15


def test_what_is_cached_from_files_is_not_held(local: Supervised) -> None:
    read = """
import mmap, time
with open("weights", "wb") as file:
    for _ in range(200): file.write(b"x" * 2**20)
with open("weights", "rb") as file:
    weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sum(weights[::4096]); time.sleep(1.5)
"""
    report, _ = run(local, Limits(memory_gib=0.12), read)
    assert reason(report) == (Outcome.COMPLETED, None)
    assert report.peak_rss_gib is not None
    assert report.peak_rss_gib > 0.12


def test_limits_are_said_only_where_there_are_any(local: Supervised) -> None:
    code = "import sys; sys.exit('Too many open files')"
    assert reason(run(local, None, code)[0]) == (Outcome.FAILED, "exit code 1")
    assert reason(run(local, Limits(), code)[0]) == (Outcome.FAILED, "exit code 1")
    assert reason(run(local, Limits(open_files=64), "print('Too many open files')")[0]) == (Outcome.COMPLETED, None)


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("OSError: [Errno 24] Too many open files: '/dev/null'", "open_files"),
        ("accept: Too many open files in system", None),
        ("OSError: [Errno 27] File too large", "file_bytes"),
        ("bash: fork: retry: Resource temporarily unavailable", "processes"),
        (
            "OpenBLAS blas_thread_init: pthread_create failed for thread 1 of 4: Resource temporarily unavailable",
            "processes",
        ),
        ("    os.fork()\n    ~~~~~~~^^\nBlockingIOError: [Errno 11] Resource temporarily unavailable", "processes"),
        ("    sock.recv(1)\nBlockingIOError: [Errno 11] Resource temporarily unavailable", None),
        ("RuntimeError: can't start new thread", "processes"),
    ],
)
def test_what_software_says_that_has_met_a_limit(text: str, which: str | None) -> None:
    watch = LineWatch(LINES)
    watch.feed(f"Traceback\n{text}\n".encode())
    assert watch.verdict() == which
