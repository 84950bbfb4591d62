"""One command on two nodes of a real cluster at once, as one attempt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import Outcome
from tests.support.slurm import Cluster
from tests.support.store import BUCKET, serve_store
from tests.workers.backends.slurm.conftest import files_that_hold, gpu_work, outcome
from tests.workers.works import ended, printed, python, until
from workers.backends.base import Phase, StartFailed
from workers.backends.handed_over import HandedOver
from workers.backends.slurm.backend import Slurm
from workers.staging.plan import FilesPlan, Transfer
from workers.supervision.stopped import OutOfMemory

VALUE = "s3cr3t-of-the-house"


def wide_work(command: list[str], **given: Any) -> AttemptWork:
    """An attempt placed on both nodes of the partition `wide`, of two GPUs each."""
    return gpu_work(command, **{"region": "wide", "instance_type": "gpu:l40s:2", "count": 4, **given})


def by_node(text: str) -> Mapping[str, list[str]]:
    """Lines by the number of the node in front of them."""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        rank, _, rest = line.partition(": ")
        lines.setdefault(rank, []).append(rest)
    return lines


def test_the_command_runs_on_every_node_which_find_each_other(slurm: Slurm) -> None:
    """The nodes of this cluster are one host: what the first listens on is there for the second."""
    code = """
import json, os, socket
rank, address = int(os.environ['NODE_RANK']), ('127.0.0.1', int(os.environ['MASTER_PORT']))
if rank == 0:
    with socket.create_server(address) as server:
        server.settimeout(20)
        said = server.accept()[0].recv(100).decode()
else:
    while True:
        try:
            socket.create_connection(address).sendall(f'hello from {rank}'.encode())
        except ConnectionRefusedError:
            continue
        break
    said = None
names = ('MASTER_ADDR', 'NNODES', 'NODE_RANK', 'PET_NNODES', 'PET_NODE_RANK', 'PET_NPROC_PER_NODE', 'PYTHIA_NODES',
         'PYTHIA_NODE_COUNT', 'PYTHIA_NODE_RANK', 'PYTHIA_GPUS_PER_NODE', 'SLURMD_NODENAME', 'GREETING')
print(json.dumps({name: os.environ[name] for name in names} | {
    'heard': said, 'gpus': len(os.environ['CUDA_VISIBLE_DEVICES'].split(',')), 'cwd': os.getcwd(),
}))
"""
    handle = slurm.start(wide_work(python(code), env={"GREETING": "hello\tworld; $(id)", "PYTHIA_NODE_RANK": "9"}))
    report = ended(slurm, handle, within_s=40)
    assert (report.phase, report.exit_code, report.failure) == (Phase.ENDED, 0, None), printed(slurm, handle, "stderr")
    assert outcome(report) == (Outcome.COMPLETED, None)
    lines = by_node(printed(slurm, handle))
    assert set(lines) == {"0", "1"}
    first, second = (json.loads(lines[rank][0]) for rank in ("0", "1"))
    assert first["heard"] == "hello from 1"
    for rank, said in enumerate((first, second)):
        assert (said["MASTER_ADDR"], said["NNODES"], said["NODE_RANK"]) == ("n3", "2", str(rank))
        assert (said["PET_NNODES"], said["PET_NODE_RANK"], said["PET_NPROC_PER_NODE"]) == ("2", str(rank), "2")
        assert (said["PYTHIA_NODES"], said["PYTHIA_NODE_COUNT"]) == ("n3\nn4", "2")
        assert (said["PYTHIA_NODE_RANK"], said["PYTHIA_GPUS_PER_NODE"]) == (str(rank), "2")
        assert (said["SLURMD_NODENAME"], said["gpus"]) == (f"n{rank + 3}", 2)
        assert said["GREETING"] == "hello\tworld; $(id)"
        assert said["cwd"] == str(Path(handle["folder"]) / "work")
    assert report.meter is not None
    assert report.used_s == report.meter.to_s
    slurm.clear(handle)
    assert not (Path(handle["folder"]) / "nodes").exists()


def test_what_an_admin_asks_for_holds_on_every_node(slurm: Slurm) -> None:
    options = ("--cpus-per-gpu=3", "--mem-per-gpu=150M")
    backend = replace(slurm, submitter=replace(slurm.submitter, options=options))
    handle = backend.start(wide_work(["sh", "-c", "echo $SLURM_CPUS_ON_NODE $SLURM_JOB_NUM_NODES"]))
    report = ended(backend, handle, within_s=40)
    assert report.exit_code == 0, printed(backend, handle, "stderr")
    assert sorted(printed(backend, handle).splitlines()) == ["0: 6 2", "1: 6 2"]


def test_memory_is_that_of_the_fullest_node(slurm: Slurm) -> None:
    code = """
import json, os, time
rank = int(os.environ['NODE_RANK'])
held = b'x' * ((10, 50)[rank] << 20)
json.dump({'peak_allocated_gib': (3.5, 2.5)[rank]}, open(os.environ['PYTHIA_REPORT_FILE'], 'w'))
time.sleep(1.5)
"""
    report = ended(slurm, slurm.start(wide_work(python(code))), within_s=40)
    assert report.exit_code == 0
    assert report.peak_allocated_gib == 3.5  # of the first
    assert report.peak_rss_gib is not None
    assert 50 / 1024 < report.peak_rss_gib < 0.1  # of the second, not of both


def test_the_first_node_that_fails_ends_all_and_says_why(slurm: Slurm, tmp_path: Path) -> None:
    script = (
        f"if [ $NODE_RANK = 1 ]; then while [ ! -e {tmp_path}/ready ]; do sleep 0.1; done; echo broken >&2; exit 3; fi;"
        f"trap 'echo saved > {tmp_path}/saved; exit 7' TERM; touch {tmp_path}/ready; while :; do sleep 0.1; done"
    )
    handle = slurm.start(wide_work(["sh", "-c", script]))
    report = ended(slurm, handle, within_s=40)
    assert outcome(report) == (Outcome.FAILED, "exit code 3 on the node n4")
    assert report.exit_code == 3
    assert by_node(printed(slurm, handle, "stderr"))["1"] == ["broken"]
    assert (tmp_path / "saved").read_text() == "saved\n"  # the other had time to end well


def test_a_node_that_is_done_early_waits_for_the_others(slurm: Slurm) -> None:
    script = "if [ $NODE_RANK = 0 ]; then exit 0; fi; sleep 2; echo done"
    handle = slurm.start(wide_work(["sh", "-c", script]))
    assert ended(slurm, handle, within_s=40).exit_code == 0
    assert printed(slurm, handle) == "1: done\n"


def test_memory_that_runs_out_on_one_node_ran_out(slurm: Slurm) -> None:
    lines = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    script = f"if [ $NODE_RANK = 0 ]; then sleep 60; fi; echo '{lines}' >&2; exit 1"
    report = ended(slurm, slurm.start(wide_work(["sh", "-c", script])), within_s=40)
    assert report.out_of_memory is OutOfMemory.GPU
    assert outcome(report)[0] is Outcome.OUT_OF_MEMORY


def test_a_node_above_its_memory_in_slurm_ran_out_of_the_hosts(slurm: Slurm) -> None:
    """100 MiB are the cluster's default for a processor."""
    code = "import os, time; held = b'x' * ((1, 400)[int(os.environ['NODE_RANK'])] << 20); time.sleep(60)"
    handle = slurm.start(wide_work(python(code)))
    report = ended(slurm, handle, within_s=40)
    assert report.out_of_memory is OutOfMemory.HOST, (report, printed(slurm, handle, "stderr"))
    assert outcome(report)[0] is Outcome.FAILED


def test_a_stop_reaches_all_nodes_gracefully(slurm: Slurm) -> None:
    trap = "trap 'echo saved; exit 0' TERM; echo began; while :; do sleep 0.1; done"
    handle = slurm.start(wide_work(["sh", "-c", trap]))
    until(lambda: slurm.poll(handle).phase is Phase.RUNNING and printed(slurm, handle).count("began") == 2, within_s=40)
    slurm.stop(handle, hard=False)
    report = ended(slurm, handle, within_s=40)
    assert outcome(report, cancel_requested=True) == (Outcome.CANCELLED, None)
    assert sorted(printed(slurm, handle).splitlines()) == ["0: began", "0: saved", "1: began", "1: saved"]


def test_what_does_not_hear_is_ended_on_all_nodes_when_its_time_is_over(
    slurm: Slurm, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    deaf = f"trap '' TERM; echo $$ > {tmp_path}/$NODE_RANK.new; mv {tmp_path}/$NODE_RANK.new {tmp_path}/$NODE_RANK.pid;"
    work = wide_work(["sh", "-c", f"{deaf} while :; do sleep 0.1; done"], max_runtime_s=8.0)
    handle = slurm.start(work)
    report = ended(slurm, handle, within_s=60)
    assert outcome(report)[0] is Outcome.TIMEOUT
    pids = [int((tmp_path / f"{rank}.pid").read_text()) for rank in (0, 1)]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_hard_stop_leaves_nothing_on_any_node(slurm: Slurm) -> None:
    work = wide_work(["sh", "-c", "echo began; sleep 600"])
    handle = slurm.start(work)
    until(lambda: printed(slurm, handle).count("began") == 2, within_s=40)
    assert work.machine is not None
    word = slurm.release(work.machine.key)
    assert word.metered_s is not None
    assert ended(slurm, handle, within_s=40).phase is Phase.ENDED
    assert not slurm.list()


def test_a_node_that_goes_down_takes_the_attempt_with_it(slurm: Slurm, slurm_cluster: Cluster) -> None:
    handle = slurm.start(wide_work(["sleep", "60"]))
    until(lambda: slurm.poll(handle).phase is Phase.RUNNING)
    slurm_cluster.command("scontrol", "update", "nodename=n4", "state=down", "reason=test")
    try:
        report = ended(slurm, handle, within_s=40)
    finally:
        slurm_cluster.resume("n4")
    assert outcome(report)[0] is Outcome.LOST


def test_all_nodes_or_none(slurm: Slurm, slurm_cluster: Cluster) -> None:
    """While one node is taken, none of the two begins."""
    holder = slurm.start(wide_work(["sleep", "60"], count=2))
    until(lambda: slurm.poll(holder).phase is Phase.RUNNING)
    handle = slurm.start(wide_work(["hostname"]))
    job = slurm.shared.job_of(Path(handle["folder"]))
    assert job is not None
    why = ("squeue", "--noheader", "--format=%T %r", f"--jobs={job.number}")
    until(lambda: slurm_cluster.command(*why).split() == ["PENDING", "Resources"])  # it was looked at, and has no node
    assert slurm.poll(handle).phase is Phase.STARTING
    assert not (Path(handle["folder"]) / "status.json").exists()
    slurm.stop(holder, hard=True)
    assert ended(slurm, handle, within_s=40).exit_code == 0
    assert set(by_node(printed(slurm, handle))) == {"0", "1"}


def test_secrets_reach_every_node_and_not_through_slurm(slurm: Slurm, slurm_cluster: Cluster, tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    code = f"""
import hashlib, os, pathlib, time
print(hashlib.sha256(os.environ['TOKEN'].encode()).hexdigest(), os.environ['TOKEN'], flush=True)
while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.05)
"""
    backend = replace(slurm, hand_over=lambda _: HandedOver(secrets={"TOKEN": VALUE}))
    work = wide_work(python(code))
    handle = backend.start(work)
    until(lambda: backend.poll(handle).phase is Phase.ASKS)
    backend.start(work)
    until(lambda: printed(backend, handle).count("[secret]") == 2, within_s=40)
    holders = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is gone, or not ours
            line = (process / "cmdline").read_bytes()
            if VALUE.encode() in line + (process / "environ").read_bytes():
                holders.append(line.split(b"\0")[1])
    assert holders == [b"-c", b"-c"]  # the two commands, and neither `srun` nor a supervisor of its tasks
    for folder in (slurm.shared.root, slurm_cluster.folder):
        assert not files_that_hold(folder, VALUE)
    go_on.touch()
    assert ended(backend, handle, within_s=40).exit_code == 0
    digest = hashlib.sha256(VALUE.encode()).hexdigest()
    assert sorted(printed(backend, handle).splitlines()) == [f"{rank}: {digest} [secret]" for rank in (0, 1)]


def test_files_are_moved_once_for_all_nodes(slurm: Slurm) -> None:
    with serve_store() as store:
        store.put("a.txt", b"hello")
        plan = FilesPlan(
            inputs=(Transfer(source=f"s3://{BUCKET}/a.txt", to="in/"),),
            outputs=(Transfer(source="out-*.txt", to=f"s3://{BUCKET}/done/"),),
            most_bytes=1000,
        )
        backend = replace(slurm, hand_over=lambda _: HandedOver(access=store.access, plan=plan))
        work = wide_work(["sh", "-c", "cat in/a.txt > out-$NODE_RANK.txt; echo $NODE_RANK >> out-$NODE_RANK.txt"])
        handle = backend.start(work)
        until(lambda: backend.poll(handle).phase is Phase.ASKS)
        backend.start(work)
        report = ended(backend, handle, within_s=40)
        assert (report.exit_code, report.failure) == (0, None)
        assert [store.get(f"done/out-{rank}.txt") for rank in (0, 1)] == [b"hello0\n", b"hello1\n"]


def test_jobs_on_several_nodes_share_a_job_array_as_well(slurm: Slurm) -> None:
    batch = replace(slurm, submitter=replace(slurm.submitter, window_s=0.3))
    handles = [batch.start(wide_work(["sh", "-c", f"echo {word} $NODE_RANK"])) for word in ("one", "two")]
    for handle, word in zip(handles, ("one", "two"), strict=True):
        assert ended(batch, handle, within_s=60).exit_code == 0
        assert sorted(printed(batch, handle).splitlines()) == [f"0: {word} 0", f"1: {word} 1"]
    jobs = [slurm.shared.job_of(Path(handle["folder"])) for handle in handles]
    assert len({job.number.partition("_")[0] for job in jobs if job}) == 1


def test_gpus_that_are_no_whole_nodes_are_not_asked_for(slurm: Slurm) -> None:
    with pytest.raises(StartFailed, match="3 GPUs are no whole nodes of gpu:l40s:2"):
        slurm.start(wide_work(["true"], count=3))
