"""Attempts as jobs of a real cluster: slurmctld, slurmd, slurmdbd and munge of this machine."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.domain.states import Outcome
from tests.support.slurm import Cluster
from tests.workers.backends.slurm.conftest import gpu_work, outcome
from tests.workers.works import ended, make_machine, make_work, printed, python, until
from workers.backends.base import MachinePhase, Phase, ProviderUnavailable, StartFailed
from workers.backends.slurm.backend import Slurm, slurm_backend
from workers.backends.slurm.queue import Queue
from workers.supervision.stopped import OutOfMemory


def submitted(backend: Slurm) -> set[str]:
    """Numbers of all jobs and job arrays that Slurm has from this backend's directory, ended ones included."""
    names = {folder.name for folder in (backend.shared.root / "submissions").iterdir()}
    return {job.number.partition("_")[0] for job in backend.queue.jobs(fresh=True).values() if job.name in names}


def test_a_job_runs_to_its_end_on_the_gpus_that_slurm_hands_it(slurm: Slurm) -> None:
    code = (
        "import json, os, sys; json.dump({'peak_allocated_gib': 3.5}, open(os.environ['PYTHIA_REPORT_FILE'], 'w'));"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['SLURM_JOB_PARTITION'], os.environ['GREETING']);"
        "print('PYTHIA_DATABASE_URL' in os.environ, file=sys.stderr)"
    )
    work = gpu_work(python(code), count=2, env={"GREETING": "hello world; $(id) \"'"})
    handle = slurm.start(work)
    report = ended(slurm, handle)
    assert (report.phase, report.exit_code) == (Phase.ENDED, 0), report
    assert outcome(report) == (Outcome.COMPLETED, None)
    visible, partition, greeting = printed(slurm, handle).strip().split(" ", 2)
    assert len(visible.split(",")) == 2
    assert (partition, greeting) == ("gpu", "hello world; $(id) \"'")
    assert printed(slurm, handle, "stderr") == "False\n"
    assert report.peak_allocated_gib == 3.5
    assert report.peak_rss_gib is not None
    assert 0 < report.peak_rss_gib < 1
    assert report.meter is not None
    assert report.used_s == report.meter.to_s  # whole seconds, by Slurm's clock
    assert report.machine_gone
    assert work.machine is not None
    assert slurm.release(work.machine.key).metered_s == report.meter.to_s
    slurm.clear(handle)
    assert printed(slurm, handle) == ""


@pytest.mark.parametrize(("engine", "metric"), [("vllm", "preallocated"), ("transformers", "reserved")])
def test_where_no_driver_is_read_the_job_s_own_word_stands_for_what_it_is(
    slurm: Slurm, engine: str, metric: str
) -> None:
    code = "import json, os; json.dump({'peak_reserved_gib': 71.5}, open(os.environ['PYTHIA_REPORT_FILE'], 'w'))"
    workload = {"type": "inference", "model": "meta-llama/Llama-3.1-8B", "num_requests": 10, "engine": engine}
    report = ended(slurm, slurm.start(gpu_work(python(code), workload=workload)))
    assert (report.peak_vram_gib, report.vram_metric) == (71.5, metric)


def test_processors_without_a_gpu_are_asked_for_by_number(slurm: Slurm) -> None:
    code = "import os; print(os.environ['SLURM_CPUS_PER_TASK'], repr(os.environ['CUDA_VISIBLE_DEVICES']))"
    machine = make_machine(key=f"pythia-{uuid.uuid4()}")
    work = make_work(python(code), machine=machine, region="gpu", instance_type="cpu:8", gpu_count=3)
    handle = slurm.start(work)
    assert ended(slurm, handle).exit_code == 0
    assert printed(slurm, handle) == "3 ''\n"


def test_a_failing_command_fails_with_its_code_in_both_books(slurm: Slurm, slurm_cluster: Cluster) -> None:
    handle = slurm.start(gpu_work(["sh", "-c", "echo broken >&2; exit 3"]))
    report = ended(slurm, handle)
    assert outcome(report) == (Outcome.FAILED, "exit code 3")
    assert report.exit_code == 3
    job = slurm.shared.job_of(Path(handle["folder"]))
    assert job is not None
    said = slurm_cluster.command("scontrol", "show", "job", job.number)
    assert "JobState=FAILED" in said
    assert "ExitCode=3:0" in said


def test_a_command_that_cuda_has_no_memory_for_is_out_of_memory(slurm: Slurm) -> None:
    lines = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    report = ended(slurm, slurm.start(gpu_work(["sh", "-c", f"echo '{lines}' >&2; exit 1"])))
    assert report.out_of_memory is OutOfMemory.GPU
    assert outcome(report)[0] is Outcome.OUT_OF_MEMORY


def test_a_job_above_its_memory_in_slurm_ran_out_of_the_hosts(slurm: Slurm) -> None:
    """100 MiB are the cluster's default for a processor."""
    code = "import time; held = b'x' * (400 << 20); time.sleep(30)"
    handle = slurm.start(gpu_work(python(code)))
    report = ended(slurm, handle)
    assert report.out_of_memory is OutOfMemory.HOST
    assert outcome(report)[0] is Outcome.FAILED  # more memory on a card would not help
    assert report.peak_rss_gib is not None
    assert report.peak_rss_gib > 0.1  # Slurm looks once a second


def test_a_command_above_its_time_is_ended_gracefully_and_timed_out(slurm: Slurm) -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(0)));"
        "print('began', flush=True); time.sleep(60)"
    )
    handle = slurm.start(gpu_work(python(code), max_runtime_s=1.5))
    report = ended(slurm, handle)
    assert outcome(report)[0] is Outcome.TIMEOUT
    assert printed(slurm, handle) == "began\nsaved\n"
    assert report.runtime_s is not None
    assert 1.5 <= report.runtime_s < 15


def test_a_running_job_is_stopped_gracefully(slurm: Slurm) -> None:
    trap = "trap 'echo saved; exit 0' TERM; echo began; while :; do sleep 0.1; done"
    handle = slurm.start(gpu_work(["sh", "-c", trap]))
    until(lambda: slurm.poll(handle).phase is Phase.RUNNING and "began" in printed(slurm, handle))
    slurm.stop(handle, hard=False)
    report = ended(slurm, handle)
    assert outcome(report, cancel_requested=True) == (Outcome.CANCELLED, None)
    assert printed(slurm, handle) == "began\nsaved\n"


def test_a_job_that_waits_is_cancelled_before_it_starts_and_costs_nothing(
    slurm: Slurm, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    holder = slurm.start(gpu_work(["sleep", "60"], count=4))
    until(lambda: slurm.poll(holder).phase is Phase.RUNNING)
    never = tmp_path / "never"
    work = gpu_work(["touch", str(never)])
    handle = slurm.start(work)
    assert slurm.poll(handle).phase is Phase.STARTING
    assert work.machine is not None
    (coming,) = [machine for machine in slurm.list() if machine.key == work.machine.key]
    assert (coming.phase, coming.metered_s) == (MachinePhase.COMING, None)
    slurm.stop(handle, hard=False)
    report = slurm.poll(handle)
    assert outcome(report, cancel_requested=True) == (Outcome.CANCELLED, None)
    assert report.meter is not None
    assert report.meter.to_s == 0
    until(lambda: work.machine and work.machine.key not in [machine.key for machine in slurm.list()])
    slurm.stop(holder, hard=True)
    assert ended(slurm, holder).stopped is not None
    assert slurm.start(work) == handle  # a late message
    assert slurm.poll(handle).phase is Phase.ENDED
    assert not never.exists()


def test_an_attempt_is_submitted_once_however_often_it_is_asked_for(slurm: Slurm) -> None:
    work = gpu_work(["true"])
    again = replace(slurm.submitter, queue=slurm.queue)
    handles = {json.dumps(slurm.start(work)) for _ in range(3)}
    other = replace(slurm, submitter=again)
    assert json.dumps(other.start(work)) in handles
    assert ended(slurm, slurm.start(work)).exit_code == 0
    assert len(handles) == 1
    assert len(submitted(slurm)) == 1


def test_a_worker_killed_between_submission_and_its_note_leaves_one_job(
    slurm: Slurm, slurm_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An `sbatch` that submits and then kills whoever called it."""
    real = shutil.which("sbatch")
    programs = tmp_path / "programs"
    programs.mkdir()
    deadly = programs / "sbatch"
    deadly.write_text(f'#!/bin/sh\n{real} "$@" || exit\nkill -9 $PPID\n')
    deadly.chmod(0o755)
    count = tmp_path / "count"
    work = gpu_work(["sh", "-c", f"echo $$ >> {count}"])
    pid = os.fork()
    if pid == 0:  # the worker
        os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
        slurm_backend(slurm.shared.root, log_cap_bytes=64 * 1024, window_s=0.0).start(work)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 9
    assert slurm.shared.job_of(slurm.shared.attempt(str(work.attempt_id))) is None  # it could not note the job
    handle = slurm.start(work)
    assert ended(slurm, handle).exit_code == 0
    assert len(submitted(slurm)) == 1
    assert len(count.read_text().splitlines()) == 1


def test_two_jobs_that_mean_the_same_attempt_run_it_once(slurm: Slurm, slurm_cluster: Cluster, tmp_path: Path) -> None:
    """As they may on a shared file system without locks."""
    count = tmp_path / "count"
    work = gpu_work(["sh", "-c", f"echo $$ >> {count}; sleep 1"])
    handle = slurm.start(work)
    assert work.machine is not None
    name = work.machine.key
    words = slurm.submitter._words(name, [str(work.attempt_id)])
    second = slurm_cluster.command(*words).strip()
    until(lambda: "JobState=COMPLETED" in slurm_cluster.command("scontrol", "show", "job", second))
    report = ended(slurm, handle)
    assert report.exit_code == 0
    assert len(count.read_text().splitlines()) == 1


def test_attempts_that_ask_for_the_same_share_a_job_array(slurm: Slurm, slurm_cluster: Cluster) -> None:
    batch = replace(slurm, submitter=replace(slurm.submitter, window_s=0.3))
    works = [gpu_work(["sh", "-c", f"echo number {number}; exit {number}"]) for number in range(4)]
    other = gpu_work(["true"], count=2)
    handles = [batch.start(work) for work in (*works, other)]
    reports = [ended(batch, handle) for handle in handles]
    assert [report.exit_code for report in reports] == [0, 1, 2, 3, 0]
    assert [printed(batch, handle) for handle in handles[:4]] == [f"number {number}\n" for number in range(4)]
    jobs = {slurm.shared.job_of(Path(handle["folder"])) for handle in handles[:4]}
    assert {job.number.partition("_")[2] for job in jobs if job} == {"0", "1", "2", "3"}
    assert len(submitted(slurm)) == 2


def test_an_element_of_an_array_is_listed_stopped_and_released_by_its_own_key(slurm: Slurm) -> None:
    batch = replace(slurm, submitter=replace(slurm.submitter, window_s=0.2))
    works = [gpu_work(["sleep", "60"]) for _ in range(2)]
    handles = [batch.start(work) for work in works]
    keys = [work.machine.key for work in works if work.machine]
    until(lambda: all(batch.poll(handle).phase is Phase.RUNNING for handle in handles))
    assert sorted(machine.key for machine in batch.list()) == sorted(keys)
    word = batch.release(keys[0])
    assert word.metered_s is not None
    assert ended(batch, handles[0]).phase is Phase.ENDED
    assert batch.poll(handles[1]).phase is Phase.RUNNING
    assert [machine.key for machine in batch.list()] == [keys[1]]
    batch.stop(handles[1], hard=True)
    ended(batch, handles[1])


def test_what_slurm_refuses_is_lost_with_its_words(slurm: Slurm) -> None:
    report = slurm.poll(slurm.start(gpu_work(["true"], region="nowhere")))
    assert outcome(report) == (Outcome.LOST, "Slurm refused the job: Invalid partition name specified")


def test_an_array_that_is_refused_is_asked_for_one_by_one(slurm: Slurm) -> None:
    batch = replace(slurm, submitter=replace(slurm.submitter, window_s=0.2))
    handles = [batch.start(gpu_work(["true"], region="nowhere")) for _ in range(2)]
    for handle in handles:
        assert outcome(ended(batch, handle))[0] is Outcome.LOST
    assert not list((slurm.shared.root / "spool").glob("*/*-*"))


def test_an_offer_that_is_no_place_in_slurm_starts_nothing(slurm: Slurm) -> None:
    with pytest.raises(StartFailed, match=r"instance_type 'p4d\.24xlarge' names no a GRES"):
        slurm.start(gpu_work(["true"], instance_type="p4d.24xlarge"))


def test_a_node_without_our_python_is_named(slurm: Slurm) -> None:
    wrong = replace(slurm, settle_s=0.5, submitter=replace(slurm.submitter, python=Path("/nowhere/python")))
    report = ended(wrong, wrong.start(gpu_work(["true"])))
    kind, reason = outcome(report)
    assert kind is Outcome.LOST
    assert reason is not None
    assert "exit code 127" in reason
    assert "/nowhere/python" in reason
    assert "PYTHIA_SLURM_PYTHON" in reason


def test_somebody_elses_scancel_is_no_loss(slurm: Slurm, slurm_cluster: Cluster) -> None:
    handle = slurm.start(gpu_work(["sleep", "60"]))
    until(lambda: slurm.poll(handle).phase is Phase.RUNNING)
    job = slurm.shared.job_of(Path(handle["folder"]))
    assert job is not None
    slurm_cluster.command("scancel", job.number)
    assert outcome(ended(slurm, handle)) == (Outcome.CANCELLED, "somebody cancelled its job in Slurm")


def test_a_job_of_a_better_partition_preempts(slurm: Slurm) -> None:
    handle = slurm.start(gpu_work(["sleep", "60"], count=4))
    until(lambda: slurm.poll(handle).phase is Phase.RUNNING)
    urgent = slurm.start(gpu_work(["true"], count=4, region="urgent"))
    assert outcome(ended(slurm, handle)) == (Outcome.PREEMPTED, "the provider took its machine")
    assert ended(slurm, urgent).exit_code == 0


def test_a_node_that_goes_down_takes_the_attempt_with_it(slurm: Slurm, slurm_cluster: Cluster) -> None:
    handle = slurm.start(gpu_work(["sleep", "60"]))
    until(lambda: slurm.poll(handle).phase is Phase.RUNNING)
    slurm_cluster.command("scontrol", "update", "nodename=n1", "state=down", "reason=test")
    try:
        report = ended(slurm, handle)
    finally:
        slurm_cluster.resume("n1")
    assert report.phase is Phase.VANISHED
    assert outcome(report) == (Outcome.LOST, "Slurm lost the node n1 (NODE_FAIL)")


def test_a_controller_that_is_down_loses_nothing(slurm: Slurm, slurm_cluster: Cluster) -> None:
    running = slurm.start(gpu_work(["sh", "-c", "echo through; sleep 3"]))
    until(lambda: slurm.poll(running).phase is Phase.RUNNING)
    slurm_cluster.end("slurmctld")
    try:
        assert slurm.poll(running).phase is Phase.RUNNING  # its supervisor still beats
        with pytest.raises(ProviderUnavailable, match="squeue: Unable to contact slurm controller"):
            slurm.list()
        later = gpu_work(["echo", "later"])
        with pytest.raises(ProviderUnavailable):
            slurm.start(later)
        with pytest.raises(ProviderUnavailable):
            slurm.poll(slurm.locate(later.attempt_id))
    finally:
        slurm_cluster.start("slurmctld")
        slurm_cluster.until_up()
    until(lambda: slurm.queue.clock() - slurm.queue._asked_at > 5)  # as long as silence is remembered
    assert ended(slurm, running).exit_code == 0
    handle = slurm.start(later)
    assert ended(slurm, handle).exit_code == 0
    assert printed(slurm, handle) == "later\n"


def test_what_the_controller_has_forgotten_is_told_by_the_accounting(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = slurm.start(gpu_work(["sleep", "1.5"]))
    assert ended(slurm, handle).exit_code == 0
    job = slurm.shared.job_of(Path(handle["folder"]))
    assert job is not None
    monkeypatch.setattr(Queue, "_controller", lambda *_: None)
    end = until(lambda: slurm.queue.end_of(job, with_memory=True))
    assert end is not None
    assert end.max_rss_gib is not None
    assert (end.name, end.state) == (job.name, "COMPLETED")


def test_old_attempts_are_tidied_once_they_have_ended(slurm: Slurm) -> None:
    works = [gpu_work(["true"]) for _ in range(2)]
    for work in works:
        ended(slurm, slurm.start(work))
    folders = [slurm.shared.attempt(str(work.attempt_id)) for work in works]
    long_ago = 0
    for folder in (*folders, *(slurm.shared.root / "submissions").iterdir()):
        os.utime(folder, (long_ago, long_ago))
    slurm.tidy(lambda attempt_id: attempt_id == works[0].attempt_id)
    assert [folder.exists() for folder in folders] == [False, True]
    assert len(list((slurm.shared.root / "submissions").iterdir())) == 1
