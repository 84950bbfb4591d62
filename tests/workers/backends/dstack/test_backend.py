"""The life of an attempt as a run of dstack: every end has its name and its bill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from scheduler.domain.machines import Meter
from scheduler.domain.states import Outcome
from tests.support.fake_dstack import FakeDstack
from tests.support.fake_dstack_server import FakeServer
from tests.workers.backends.dstack.works import key_of, outcome, start
from workers.backends.base import MachinePhase, MachineReport, Phase, ProviderUnavailable
from workers.backends.dstack.backend import Dstack
from workers.backends.dstack.server import Server

pytestmark = pytest.mark.usefixtures("still")


def test_it_looks_for_a_machine_runs_and_completes(live: Dstack, cloud: FakeDstack) -> None:
    work, run, handle = start(live)
    assert live.poll(handle).phase is Phase.STARTING
    cloud.ahead = timedelta(seconds=100)  # nobody is paid for looking
    cloud.rented(run)
    assert live.poll(handle).phase is Phase.STARTING
    cloud.ahead = timedelta(seconds=160)
    cloud.running(run)
    assert live.poll(handle).phase is Phase.RUNNING
    cloud.ahead = timedelta(seconds=250)
    cloud.ends(run, 0)
    report = live.poll(handle)
    assert outcome(report) == (Outcome.COMPLETED, None)
    assert report.runtime_s == 90
    assert report.used_s == 150
    assert report.meter == Meter(from_s=0.0, to_s=report.used_s or 0.0)
    assert report.machine_gone
    assert live.release(key_of(work)).metered_s == report.used_s, "the meter does not go on"


def test_what_is_asked_for_is_the_placement(live: Dstack, cloud: FakeDstack) -> None:
    work, run, _ = start(live, max_runtime_s=3600, env={"HF_TOKEN": "hunter2", "A": "$B"}, spot=True)
    asked = cloud.run(run)["run_spec"]["configuration"]
    assert (asked["backends"], asked["regions"], asked["spot_policy"]) == (["nebius"], ["eu-north1"], "spot")
    assert asked["resources"]["gpu"]["count"] == 1
    assert (asked["max_price"], asked["max_duration"], asked["image"]) == (3.0, "3600s", "acme/train:1")
    assert asked["commands"] == ["exec python train.py"]
    assert asked["env"]["HF_TOKEN"] == "hunter2"
    assert asked["env"]["A"] == "$$B"
    assert asked["env"]["PYTHIA_JOB_ID"] == str(work.job_id)
    assert asked["env"]["PYTHIA_ATTEMPT_ID"] == str(work.attempt_id)
    assert "retry" not in asked, "what is tried again, and where, is decided by us"


def test_a_user_cannot_make_a_run_pass_for_another(live: Dstack, cloud: FakeDstack) -> None:
    lies = {"PYTHIA_ROLE": "forbidden", "PYTHIA_MACHINE_KEY": "x", "PYTHIA_START_BEFORE": "2000-01-01T00:00:00+00:00"}
    work, run, handle = start(live, env=lies)
    cloud.running(run)
    assert live.poll(handle).phase is Phase.RUNNING
    assert [one.key for one in live.list()] == [key_of(work)]


def test_a_failing_command_has_its_exit_code(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    cloud.prints(run, b"Traceback\n", b"ValueError: no\n")
    cloud.ends(run, 3)
    assert outcome(live.poll(handle)) == (Outcome.FAILED, "exit code 3")


def test_one_that_was_killed_has_its_signal(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    cloud.ends(run, 137)
    assert outcome(live.poll(handle)) == (Outcome.FAILED, "ended by SIGKILL")


def test_known_last_lines_say_that_the_cards_memory_ran_out(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    cloud.prints(run, b"step 1\n", b"torch.OutOfMemoryError: CUDA out of", b" memory. Tried to allocate 2 GiB\n")
    cloud.ends(run, 1)
    assert outcome(live.poll(handle))[0] is Outcome.OUT_OF_MEMORY


def test_what_was_survived_long_before_is_no_reason(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    cloud.prints(run, b"caught: CUDA out of memory\n", *[b"x" * 100 + b"\n"] * 700)
    cloud.ends(run, 1)
    assert outcome(live.poll(handle)) == (Outcome.FAILED, "exit code 1")


def test_a_success_is_one_whatever_it_printed(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    cloud.prints(run, b"caught: CUDA out of memory\n")
    cloud.ends(run, 0)
    assert outcome(live.poll(handle)) == (Outcome.COMPLETED, None)


ENDS = [
    ("failed_to_start_due_to_no_capacity", Outcome.LOST, "dstack found no machine for it: no offers"),
    ("interrupted_by_no_capacity", Outcome.PREEMPTED, "the provider took its machine"),
    ("instance_unreachable", Outcome.LOST, "its machine could not be reached any more: no offers"),
    ("instance_access_revoked", Outcome.LOST, "its machine was taken from the project: no offers"),
    ("waiting_instance_limit_exceeded", Outcome.LOST, "its machine did not come: no offers"),
    ("waiting_runner_limit_exceeded", Outcome.LOST, "its machine came and did not begin: no offers"),
    ("terminated_by_server", Outcome.LOST, "the dstack server ended it: no offers"),
    ("gateway_error", Outcome.LOST, "dstack ended it: gateway error: no offers"),
    ("something_new", Outcome.LOST, "dstack ended it: something new: no offers"),
    ("max_duration_exceeded", Outcome.TIMEOUT, None),
    ("creating_container_error", Outcome.FAILED, "its container could not be made: no offers"),
    ("executor_error", Outcome.FAILED, "its command could not be carried out: no offers"),
    ("log_quota_exceeded", Outcome.FAILED, "it printed more than the server takes: no offers"),
    ("terminated_by_user", Outcome.CANCELLED, "its run was ended in dstack: terminated by user"),
    ("terminated_due_to_utilization_policy", Outcome.CANCELLED, None),
]


@pytest.mark.parametrize(("reason", "expected", "said"), ENDS, ids=[end[0] for end in ENDS])
def test_every_end_has_its_name(
    live: Dstack, cloud: FakeDstack, reason: str, expected: Outcome, said: str | None
) -> None:
    _, run, handle = start(live)
    cloud.rented(run)
    cloud.ahead = timedelta(seconds=60)
    cloud.ends_by(run, reason, "no  offers\n")
    report = live.poll(handle)
    kind, why = outcome(report)
    assert kind is expected
    assert said is None or why == said
    assert report.used_s == 60, "a machine that was there is paid, whatever came of it"


def test_one_for_which_no_machine_was_found_costs_nothing(live: Dstack, cloud: FakeDstack) -> None:
    work, run, handle = start(live)
    cloud.ahead = timedelta(seconds=60)
    cloud.ends_by(run, "failed_to_start_due_to_no_capacity")
    report = live.poll(handle)
    assert (report.meter, report.runtime_s) == (Meter(from_s=0.0, to_s=0.0), None)
    assert live.release(key_of(work)).metered_s is None


def test_the_machine_that_failed_first_says_how_several_ended(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live, node_gpus=8, gpu_count=16)
    assert len(cloud.run(run)["jobs"]) == 2
    cloud.running(run)
    cloud.ends(run, 7, node=1)
    assert outcome(live.poll(handle)) == (Outcome.FAILED, "exit code 7")


def test_times_of_a_server_that_has_forgotten_its_events_are_those_of_its_jobs(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live)
    cloud.ahead = timedelta(seconds=30)
    cloud.running(run)
    cloud.ahead = timedelta(seconds=90)
    cloud.ends(run, 0)
    cloud.events.clear()
    report = live.poll(handle)
    assert report.runtime_s is None, "a guess would be learned from"
    assert report.used_s == 90, "from when it was asked for: more is not known"


# ending it


@pytest.mark.parametrize(("hard", "takes_s"), [(False, 301), (True, 3)])
def test_a_running_command_is_stopped_with_grace_or_without(
    live: Dstack, cloud: FakeDstack, hard: bool, takes_s: int
) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    cloud.ahead = timedelta(seconds=20)
    live.stop(handle, hard=hard)
    live.stop(handle, hard=hard)
    assert live.poll(handle).phase in (Phase.STARTING, Phase.RUNNING), "it has been told"
    cloud.ahead += timedelta(seconds=takes_s)
    report = live.poll(handle)
    assert outcome(report, cancelled=True)[0] is Outcome.CANCELLED
    assert report.used_s == 20 + takes_s


def test_one_that_is_ending_is_told_once(live: Dstack, cloud: FakeDstack, fake: FakeServer) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    for _ in range(3):  # every look at a job that was cancelled says so again
        live.stop(handle, hard=False)
    assert fake.requests.count("runs/stop") == 1
    live.stop(handle, hard=True)
    assert cloud.run(run)["termination_reason"] == "aborted_by_user"


def test_giving_the_machine_back_is_paid_and_not_learned_from(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    cloud.ahead = timedelta(seconds=50)
    cloud.ends(run, 0)
    (job,) = cloud.run(run)["jobs"]
    job["job_submissions"][0]["finished_at"] = (cloud.now() + timedelta(seconds=30)).isoformat()
    report = live.poll(handle)
    assert report.runtime_s == 50
    assert report.used_s == 80


def test_a_server_behind_a_proxy_that_hides_its_clock_is_read_by_ours() -> None:
    ours = datetime(2026, 11, 29, 12, tzinfo=UTC)
    answer = httpx.MockTransport(
        lambda _: httpx.Response(400, json={"detail": [{"msg": "x", "code": "resource_not_exists"}]})
    )
    server = Server(httpx.Client(transport=answer, base_url="http://dstack"), "main", lambda: ours)
    assert server.run("pythia-x") == (None, ours)


def test_stopping_what_has_ended_changes_nothing(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    cloud.ends(run, 0)
    live.stop(handle, hard=True)
    assert outcome(live.poll(handle), cancelled=True) == (Outcome.COMPLETED, None)


def test_a_machine_that_is_given_back_is_gone_when_its_run_is_over(
    live: Dstack, cloud: FakeDstack, fake: FakeServer
) -> None:
    work, run, _ = start(live)
    cloud.rented(run)
    cloud.ahead = timedelta(seconds=40)
    assert [(one.key, one.phase) for one in live.list()] == [(key_of(work), MachinePhase.READY)]
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="still ending"):
            live.release(key_of(work))
        assert [one.key for one in live.list()] == [key_of(work)], "it is paid"
    assert fake.requests.count("runs/stop") == 1
    cloud.ahead += timedelta(seconds=5)
    assert live.list() == []
    word = live.release(key_of(work))
    assert word == MachineReport(key=key_of(work), phase=MachinePhase.GONE, metered_s=45.0)
    cloud.ahead += timedelta(seconds=60)
    assert live.release(key_of(work)) == word, "the meter has stopped"
    assert live.release(f"pythia-x-{uuid4()}").metered_s is None


def test_one_for_which_a_machine_is_looked_for_is_gone_when_none_can_come(live: Dstack, cloud: FakeDstack) -> None:
    work, _, _ = start(live)
    with pytest.raises(ProviderUnavailable, match="still ending"):
        live.release(key_of(work))
    cloud.ahead += timedelta(seconds=5)
    assert live.release(key_of(work)).metered_s is None


def test_an_ended_attempts_run_is_ended_by_the_sweep(live: Dstack, cloud: FakeDstack) -> None:
    (work, run, _), (_, other, _) = start(live), start(live)
    cloud.running(run)
    cloud.running(other)
    live.tidy(lambda one: one == work.attempt_id)
    assert (cloud.run(run)["status"], cloud.run(other)["status"]) == ("terminating", "running")


def test_runs_of_others_are_not_ours(live: Dstack, cloud: FakeDstack) -> None:
    spec = {"type": "task", "commands": ["x"], "image": "i", "resources": {}, "env": {"PYTHIA_ATTEMPT_ID": "x"}}
    cloud.apply({"run_name": "somebodys", "configuration": spec})
    cloud.apply({"run_name": "other", "configuration": spec | {"env": {"PYTHIA_ATTEMPT_ID": str(uuid4())}}})
    assert live.list() == []
    live.tidy(lambda _: True)
    assert {run["status"] for run in cloud.runs} == {"submitted"}
