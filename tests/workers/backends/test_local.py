"""The local backend with real processes: what ran, what it used, how it ended, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.domain.states import Outcome
from tests.workers.works import ended, make_work, printed, python, until
from workers.backends.base import Phase, Report, StartFailed
from workers.backends.supervised import Supervised
from workers.outcomes import result_of
from workers.supervision.processes import identify, marked
from workers.supervision.status import read_status
from workers.supervision.stopped import OutOfMemory, Stopped


def outcome_of(report: Report) -> tuple[Outcome, str | None]:
    result = result_of(report, cancel_requested=False, has_device_memory=False)
    return result.outcome, result.reason


def run(local: Supervised, *command: str, **changes: object) -> Report:
    handle = local.start(make_work(command, **changes))  # type: ignore[arg-type]
    return ended(local, handle)


def test_a_command_that_ends_well_is_completed_with_its_time(local: Supervised) -> None:
    report = run(local, "sleep", "0.4")
    assert outcome_of(report) == (Outcome.COMPLETED, None)
    assert report.exit_code == 0
    # the lower bound is the command's own; the upper leaves room for a busy machine
    assert report.runtime_s is not None
    assert 0.4 <= report.runtime_s < 3
    assert report.used_s is not None
    assert report.runtime_s <= report.used_s < 5
    assert not report.simulated


@pytest.mark.parametrize(
    ("command", "exit_code", "reason"),
    [
        (["sh", "-c", "exit 3"], 3, "exit code 3"),
        (["sh", "-c", "kill -SEGV $$"], 139, "ended by SIGSEGV"),
        (["sh", "-c", "kill -KILL $$"], 137, "ended by SIGKILL"),
        (["no-such-program"], 127, "the program 'no-such-program' or its interpreter was not found"),
        (["/etc/passwd"], 126, "the program '/etc/passwd' may not be executed"),
    ],
)
def test_a_command_that_ends_badly_says_how(local: Supervised, command: list[str], exit_code: int, reason: str) -> None:
    report = run(local, *command)
    assert (*outcome_of(report), report.exit_code) == (Outcome.FAILED, reason, exit_code)


def test_a_file_without_a_known_format_is_no_executable(local: Supervised, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\0\1\2 no program")
    program.chmod(0o755)
    assert outcome_of(run(local, str(program)))[1] == f"the program {str(program)!r} is no executable of this machine"


def test_a_missing_working_directory_is_one_sentence(local: Supervised, tmp_path: Path) -> None:
    report = run(local, "true", working_dir=str(tmp_path / "none"))
    sentence = f"the working directory {tmp_path / 'none'} does not exist on this machine"
    assert outcome_of(report) == (Outcome.FAILED, sentence)


def test_the_command_runs_where_the_spec_says(local: Supervised, tmp_path: Path) -> None:
    handle = local.start(make_work(["pwd"], working_dir=str(tmp_path)))
    ended(local, handle)
    assert printed(local, handle).strip() == str(tmp_path)


def test_no_shell_reads_the_command(local: Supervised) -> None:
    handle = local.start(make_work(["echo", "$HOME; rm -rf *", "`id`", "a  b"]))
    ended(local, handle)
    assert printed(local, handle) == "$HOME; rm -rf * `id` a  b\n"


def test_the_environment_is_the_specs_and_ours_and_holds_no_secret(
    local: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHIA_DATABASE_URL", "postgresql://user:secret@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    spec_env = {"MODEL": "llama", "PYTHIA_JOB_ID": "forged"}
    work = make_work(python("import json, os; print(json.dumps(dict(os.environ)))"), env=spec_env)
    handle = local.start(work)
    ended(local, handle)
    seen = json.loads(printed(local, handle))
    assert "secret" not in json.dumps(seen)
    assert seen["MODEL"] == "llama"
    assert seen["PYTHIA_JOB_ID"] == str(work.job_id)
    assert seen["PYTHIA_ATTEMPT_ID"] == str(work.attempt_id)
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    assert seen["TMPDIR"].startswith(str(local.directory))
    assert set(seen) <= {
        *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "LD_LIBRARY_PATH"),
        *("TMPDIR", "CUDA_VISIBLE_DEVICES", "MODEL", "PYTHIA_JOB_ID", "PYTHIA_ATTEMPT_ID", "PYTHIA_REPORT_FILE"),
    }


def test_the_supervisor_itself_holds_no_secret(local: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command may read the environment of its parent: they are the same user's."""
    monkeypatch.setenv("PYTHIA_DATABASE_URL", "postgresql://user:secret@host/db")
    handle = local.start(make_work(["sh", "-c", "tr '\\0' '\\n' < /proc/$PPID/environ"]))
    ended(local, handle)
    assert "PATH=" in printed(local, handle)
    assert "secret" not in printed(local, handle)


def test_peak_memory_counts_what_a_child_of_the_command_held(local: Supervised) -> None:
    grandchild = "import time; block = bytearray(200 * 2**20); time.sleep(0.7)"
    report = run(local, *python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"))
    assert report.peak_rss_gib is not None
    # 200 MiB and two interpreters of some 10 MiB
    assert 200 / 1024 <= report.peak_rss_gib < 260 / 1024


def test_a_peak_between_two_samples_is_known_from_the_kernel(local: Supervised) -> None:
    report = run(local, *python("block = bytearray(150 * 2**20); del block"))
    assert report.peak_rss_gib is not None
    assert report.peak_rss_gib >= 150 / 1024


def test_a_run_beyond_its_limit_is_a_timeout(local: Supervised) -> None:
    report = run(local, "sleep", "60", max_runtime_s=0.3)
    assert outcome_of(report)[0] is Outcome.TIMEOUT
    assert report.runtime_s is not None
    assert 0.3 <= report.runtime_s < 5


def test_a_command_deaf_to_sigterm_is_killed_after_the_grace(local: Supervised) -> None:
    impatient = replace(local, make_order=lambda *facts: replace(local.make_order(*facts), grace_s=0.3))
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    handle = impatient.start(make_work(python(deaf)))
    until(lambda: impatient.collect(handle, {}, ended=False))
    impatient.stop(handle, hard=False)
    report = ended(impatient, handle)
    assert (report.stopped, report.signal) == (Stopped.ASKED, signal.SIGKILL)


def test_a_command_asked_to_end_may_end_gracefully(local: Supervised) -> None:
    graceful = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
    handle = local.start(make_work(["sh", "-c", graceful]))
    until(lambda: local.collect(handle, {}, ended=False))
    local.stop(handle, hard=False)
    report = ended(local, handle)
    assert report.stopped is Stopped.ASKED
    assert printed(local, handle) == "ready\nsaved\n"
    assert result_of(report, cancel_requested=True, has_device_memory=False).outcome is Outcome.CANCELLED


def test_a_hard_stop_does_not_wait(local: Supervised) -> None:
    handle = local.start(make_work(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.02; done"]))
    until(lambda: local.collect(handle, {}, ended=False))
    local.stop(handle, hard=True)
    assert ended(local, handle, within_s=5).signal == signal.SIGKILL  # the grace would be 10 s


def test_a_stop_after_the_end_changes_nothing(local: Supervised) -> None:
    handle = local.start(make_work(["true"]))
    before = ended(local, handle)
    local.stop(handle, hard=True)
    assert local.poll(handle) == before
    assert result_of(before, cancel_requested=True, has_device_memory=False).outcome is Outcome.COMPLETED


DAEMON = "import os, time; os.setsid(); os.fork() and os._exit(0); print(os.getpid(), flush=True); time.sleep(60)"
"""Leaves its session, its process group and its parent."""


def test_what_a_command_leaves_running_ends_with_it(local: Supervised) -> None:
    handle = local.start(
        make_work(["sh", "-c", f"sleep 60 & setsid sleep 60 & {' '.join(python('')[:1])} -c '{DAEMON}'; exit 0"])
    )
    report = ended(local, handle)
    assert report.exit_code == 0
    assert marked("PYTHIA_ATTEMPT_ID", Path(handle["folder"]).name) == []


def test_a_stopped_command_takes_the_daemons_it_made_with_it(local: Supervised) -> None:
    handle = local.start(
        make_work(python(f"import os\nif os.fork() == 0:\n exec({DAEMON!r})\nimport time\ntime.sleep(60)"))
    )
    daemon = int(until(lambda: "".join(chunk.text for chunk in local.collect(handle, {}, ended=False)).strip()))
    local.stop(handle, hard=False)
    ended(local, handle)
    assert identify(daemon) is None


def test_an_attempt_is_started_once_however_many_ask(local: Supervised, tmp_path: Path) -> None:
    work = make_work(["sh", "-c", f"echo $$ >> {tmp_path}/started; sleep 0.5"])
    with ThreadPoolExecutor(6) as workers:
        handles = list(workers.map(lambda _: local.start(work), range(6)))
    assert all(handle == handles[0] for handle in handles)
    ended(local, handles[0])
    local.start(work)
    assert len((tmp_path / "started").read_text().splitlines()) == 1


def test_what_was_stopped_before_it_started_never_starts(local: Supervised, tmp_path: Path) -> None:
    work = make_work(["touch", str(tmp_path / "started")])
    local.stop(local.locate(work.attempt_id), hard=True)
    local.start(work)
    report = ended(local, local.locate(work.attempt_id))
    assert outcome_of(report)[0] is Outcome.LOST
    assert not (tmp_path / "started").exists()


def test_what_was_never_started_is_absent_and_says_nothing(local: Supervised) -> None:
    handle = local.locate(make_work(["true"]).attempt_id)
    assert local.poll(handle).phase is Phase.ABSENT
    assert local.collect(handle, {}, ended=True) == []


def test_another_hosts_attempt_is_left_to_that_host(local: Supervised) -> None:
    handle = {**local.locate(make_work(["true"]).attempt_id), "host": "another"}
    assert local.poll(handle).phase is Phase.ELSEWHERE


def test_a_vanished_supervisor_means_lost_and_its_command_is_ended(local: Supervised) -> None:
    handle = local.start(make_work(["sh", "-c", "setsid sleep 60 & echo ready; sleep 60"]))
    until(lambda: local.collect(handle, {}, ended=False))
    status = read_status(Path(handle["folder"]))
    assert status is not None
    assert status.supervisor is not None
    os.kill(status.supervisor.pid, signal.SIGKILL)
    until(lambda: not status.attended)
    report = local.poll(handle)
    assert report.phase is Phase.VANISHED
    assert outcome_of(report)[0] is Outcome.LOST
    until(lambda: marked("PYTHIA_ATTEMPT_ID", Path(handle["folder"]).name) == [])
    assert printed(local, handle) == "ready\n"


def test_a_reused_pid_is_not_taken_for_our_supervisor(local: Supervised) -> None:
    handle = local.start(make_work(["true"]))
    ended(local, handle)
    path = Path(handle["folder"]) / "status.json"
    status = json.loads(path.read_text())
    stranger = identify(os.getpid())
    assert stranger is not None
    # as if the machine had been started anew and our number belonged to somebody else
    status |= {"state": "running", "supervisor": {"pid": stranger.pid, "began": "another boot:1"}, "command": None}
    path.write_text(json.dumps(status))
    assert local.poll(handle).phase is Phase.VANISHED
    assert identify(os.getpid()) == stranger


def test_a_supervisor_told_to_end_stops_its_command_and_says_that_the_host_goes(local: Supervised) -> None:
    handle = local.start(make_work(["sleep", "60"]))
    status = read_status(Path(handle["folder"]))
    assert status is not None
    assert status.supervisor is not None
    until(lambda: local.poll(handle).phase is Phase.RUNNING)
    os.kill(status.supervisor.pid, signal.SIGTERM)
    assert outcome_of(ended(local, handle)) == (Outcome.PREEMPTED, "its host is going down")


def test_a_command_that_hears_of_the_hosts_end_first_has_not_failed(local: Supervised) -> None:
    handle = local.start(make_work(["sleep", "60"]))
    until(lambda: local.poll(handle).phase is Phase.RUNNING)
    status = read_status(Path(handle["folder"]))
    assert status is not None
    assert status.supervisor is not None
    assert status.command is not None
    os.kill(status.command.pid, signal.SIGTERM)
    time.sleep(0.05)
    os.kill(status.supervisor.pid, signal.SIGTERM)
    assert outcome_of(ended(local, handle))[0] is Outcome.PREEMPTED


def test_a_job_reports_its_own_memory(local: Supervised) -> None:
    code = "import json, os; json.dump({'peak_allocated_gib': 12.5}, open(os.environ['PYTHIA_REPORT_FILE'], 'w'))"
    assert run(local, *python(code)).peak_allocated_gib == 12.5


def test_known_last_words_of_a_failed_command_mean_out_of_gpu_memory(local: Supervised) -> None:
    words = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    report = run(local, "sh", "-c", f"echo '{words}' >&2; exit 1")
    assert report.out_of_memory is OutOfMemory.GPU
    assert outcome_of(report) == (Outcome.OUT_OF_MEMORY, "CUDA out of memory, exit code 1")


def test_the_same_words_of_a_command_that_went_on_mean_nothing(local: Supervised) -> None:
    assert outcome_of(run(local, "sh", "-c", "echo 'CUDA out of memory'; exit 0"))[0] is Outcome.COMPLETED


def test_output_far_beyond_the_cap_keeps_both_ends_and_says_what_was_cut(local: Supervised) -> None:
    lines = 200_000
    handle = local.start(make_work(python(f"for n in range({lines}): print('line', n)")))
    ended(local, handle)
    text = printed(local, handle)
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith(f"line {lines - 1}\n")
    assert "bytes were cut here]" in text
    assert len(text) <= 64 * 1024 + 100
    on_disk = sum(path.stat().st_size for path in Path(handle["folder"]).glob("stdout.*"))
    assert on_disk <= 64 * 1024


def test_chunks_collected_while_it_runs_join_to_what_it_printed(local: Supervised) -> None:
    code = "import time\nfor n in range(30): print('grüße ' * 5, n, flush=True); time.sleep(0.01)"
    handle = local.start(make_work(python(code)))
    since: dict[str, int] = {}
    text = ""
    over = False
    while not over:
        over = local.poll(handle).phase is Phase.ENDED
        for chunk in local.collect(handle, since, ended=over):
            assert chunk.offset == since.get(chunk.stream, 0)
            since[chunk.stream] = chunk.offset + chunk.size
            text += chunk.text
    assert text == "".join(f"{'grüße ' * 5} {n}\n" for n in range(30))


def test_release_deletes_output_and_keeps_what_forbids_a_second_start(local: Supervised, tmp_path: Path) -> None:
    work = make_work(["sh", "-c", f"echo hello; touch $TMPDIR/scratch; echo x >> {tmp_path}/started"])
    handle = local.start(work)
    ended(local, handle)
    local.clear(handle)
    assert sorted(path.name for path in Path(handle["folder"]).iterdir()) == [
        "lock", "status.json", "supervisor.log", "work.json",
    ]  # fmt: skip
    local.start(work)
    assert (tmp_path / "started").read_text() == "x\n"


def test_release_ends_what_should_not_run_any_more(local: Supervised) -> None:
    handle = local.start(make_work(["sleep", "60"]))
    local.clear(handle)
    assert ended(local, handle).stopped is Stopped.ASKED


def test_tidying_releases_what_has_ended_and_nothing_else(local: Supervised) -> None:
    over, running = local.start(make_work(["true"])), local.start(make_work(["sleep", "60"]))
    ended(local, over)
    local.tidy(lambda attempt_id: str(attempt_id) in over["folder"])
    assert not (Path(over["folder"]) / "tmp").exists()
    assert local.poll(running).phase in (Phase.STARTING, Phase.RUNNING)
    local.tidy(lambda _: True)  # it was given up elsewhere, and must not run on
    assert ended(local, running).stopped is Stopped.ASKED


def test_tidying_forgets_after_a_week_what_nobody_watches(local: Supervised) -> None:
    over, running = local.start(make_work(["true"])), local.start(make_work(["sleep", "60"]))
    ended(local, over)
    until(lambda: local.poll(running).phase is Phase.RUNNING)
    long_ago = time.time() - 8 * 86400
    for handle in (over, running):
        os.utime(handle["folder"], (long_ago, long_ago))
    local.tidy(lambda _: False)
    assert not Path(over["folder"]).exists()
    assert local.poll(running).phase is Phase.RUNNING
    local.stop(running, hard=True)


def test_what_the_command_left_where_it_ran_is_its_users(local: Supervised) -> None:
    handle = local.start(make_work(["touch", "model.bin"]))
    ended(local, handle)
    local.clear(handle)
    assert (Path(handle["folder"]) / "work" / "model.bin").exists()


def test_other_users_cannot_look_into_an_attempts_scratch_space(local: Supervised) -> None:
    handle = local.start(make_work(["true"]))
    ended(local, handle)
    assert stat.S_IMODE((Path(handle["folder"]) / "tmp").stat().st_mode) == 0o700


def test_without_a_command_nothing_can_start(local: Supervised) -> None:
    work = make_work(["true"])
    with pytest.raises(StartFailed, match=r"the job spec has no run\.command"):
        local.start(replace(work, spec=work.spec.model_copy(update={"run": None})))
