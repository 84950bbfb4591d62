"""What a real dstack server does with what we ask of it: one run per attempt, refused in words, ended and found."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import yaml

from scheduler.domain.states import Outcome
from scheduler.exports.dstack import dstack_configuration
from scheduler.settings import Settings
from tests.scheduler.exports.cases import make_rental
from tests.support.dstack_server import MISSING, PYTHON, ROOT, DstackServer, dstack_server
from tests.workers.backends.dstack.works import make_cloud_work
from tests.workers.works import until
from workers.backends.base import Phase, ProviderUnavailable, Report, StartFailed
from workers.backends.dstack import backend as module
from workers.backends.dstack.backend import Dstack
from workers.backends.dstack.server import Refused, connect
from workers.backends.dstack.sight import times_of
from workers.backends.dstack.task import forbidden_run, run_name, run_of
from workers.outcomes import result_of

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason=MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DstackServer]:
    with dstack_server(tmp_path_factory.mktemp("dstack")) as made:
        yield made


@pytest.fixture
def settings(server: DstackServer) -> Settings:
    return Settings(dstack_url=server.url, dstack_token=server.token)


def run_without_image(*given: Any, **named: Any) -> dict[str, Any]:
    """A server asks the registry about the image, and none can be reached from here."""
    spec = run_of(*given, **named)
    return {**spec, "configuration": {**spec["configuration"], "image": None}}


@pytest.fixture
def backend(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Dstack:
    """As a worker has it, but for the image."""
    monkeypatch.setattr(module, "run_of", run_without_image)
    return Dstack(settings=settings, clock=lambda: datetime.now(UTC))


def ended(backend: Dstack, handle: Any) -> Report:
    def look() -> Report | None:
        report = backend.poll(handle)
        return report if report.phase is Phase.ENDED else None

    report = until(look, within_s=60)
    assert report is not None
    return report


def runs_of(server: DstackServer, name: str) -> int:
    """How many runs of a name there ever were."""
    events = server.ask("/api/events/list", {"ascending": True, "limit": 100}).json()
    made = [one for one in events if one["message"].startswith("Run submitted")]
    return sum(target["name"] == name for one in made for target in one["targets"])


def test_one_attempt_is_one_run_that_ends_without_a_machine(backend: Dstack, server: DstackServer) -> None:
    work = make_cloud_work()
    handle = backend.start(work)
    assert backend.poll(handle).phase is Phase.STARTING
    assert work.machine is not None
    assert work.machine.key in [one.key for one in backend.list()]
    assert backend.start(work) == handle, "while it goes on"
    report = ended(backend, handle)
    assert backend.start(work) == handle, "and after it has ended"
    assert runs_of(server, run_name(work.attempt_id)) == 1
    result = result_of(report, cancel_requested=False, has_device_memory=True)
    assert result.outcome is Outcome.LOST, "it is placed again"
    assert result.reason is not None
    assert result.reason.startswith("dstack found no machine for it: No ")
    assert report.meter is not None
    assert report.meter.to_s == 0.0
    assert work.machine.key not in [one.key for one in backend.list()]
    run, _ = backend._server.run(run_name(work.attempt_id))
    assert run is not None
    assert times_of(run, backend._server.events(run.id)).ended_at is not None, "the server's events are understood"
    assert backend.release(work.machine.key).metered_s is None, "it is found after its end, and never had a machine"
    assert backend.collect(handle, {}, ended=True) == []


def test_two_requests_at_once_are_one_run(backend: Dstack, server: DstackServer, settings: Settings) -> None:
    work = make_cloud_work()
    client = connect(settings, backend.clock)
    spec = dict(run_without_image(work, backend._gpus, now=datetime.now(UTC)))
    client.apply(spec)
    with pytest.raises(Refused):  # the other one, which looked before there was any
        client.apply(spec)
    assert runs_of(server, run_name(work.attempt_id)) == 1


def test_a_second_run_is_known_by_the_first_that_the_server_has_replaced(
    backend: Dstack, server: DstackServer, settings: Settings
) -> None:
    work = make_cloud_work()
    held_up = run_without_image(work, backend._gpus, now=datetime.now(UTC))
    backend.start(work)
    handle = backend.locate(work.attempt_id)
    ended(backend, handle)
    connect(settings, backend.clock).apply(held_up)
    assert runs_of(server, run_name(work.attempt_id)) == 2
    others = Dstack(settings=settings, clock=backend.clock)
    for worker in (backend, others):
        result = result_of(ended(worker, handle), cancel_requested=False, has_device_memory=True)
        assert result.outcome is Outcome.LOST
        assert "more than once" in (result.reason or "")


def test_a_run_that_is_stopped_ends_for_that_reason(backend: Dstack, server: DstackServer) -> None:
    work = make_cloud_work()
    handle = backend.start(work)
    backend.stop(handle, hard=True)
    ended(backend, handle)
    run = server.ask("/api/project/main/runs/get", {"run_name": run_name(work.attempt_id)}).json()
    assert (run["status"], run["termination_reason"]) == ("terminated", "aborted_by_user")


def test_what_was_stopped_before_it_started_never_starts(
    backend: Dstack, server: DstackServer, settings: Settings
) -> None:
    work = make_cloud_work()
    handle = backend.locate(work.attempt_id)
    assert backend.poll(handle).phase is Phase.ABSENT
    backend.stop(handle, hard=True)
    backend.stop(handle, hard=True)
    with pytest.raises(StartFailed, match="stopped before it could start"):
        backend.start(work)
    with pytest.raises(Refused, match="override active run"):  # a request that was on its way meanwhile
        connect(settings, backend.clock).apply(run_without_image(work, backend._gpus, now=datetime.now(UTC)))
    report = backend.poll(handle)
    assert result_of(report, cancel_requested=True, has_device_memory=True).outcome is Outcome.CANCELLED
    assert runs_of(server, run_name(work.attempt_id)) == 1, "the one that only holds the name"
    assert run_name(work.attempt_id) in {run.name for run in connect(settings, backend.clock).active()[0]}


def test_what_only_holds_a_name_is_removed_after_a_day(
    backend: Dstack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = make_cloud_work()
    backend.stop(backend.locate(work.attempt_id), hard=True)
    client = connect(settings, backend.clock)
    backend.tidy(lambda _: True)
    assert run_name(work.attempt_id) in {run.name for run in client.active()[0]}
    monkeypatch.setattr(module, "_FORBIDDEN_KEPT", timedelta(seconds=-5))
    backend.tidy(lambda one: one == work.attempt_id)
    until(lambda: run_name(work.attempt_id) not in {run.name for run in client.active()[0]}, within_s=60)


def test_a_run_that_is_not_taken_fails_to_start_in_the_servers_words(settings: Settings) -> None:
    backend = Dstack(settings=settings, clock=lambda: datetime.now(UTC))
    with pytest.raises(StartFailed, match=r"dstack does not take the run: .*acme/train:1"):
        backend.start(make_cloud_work())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dstack_token": "wrong"}, "does not let PYTHIA_DSTACK_TOKEN into the project 'main': Invalid token"),
        ({"dstack_project": "other"}, "has no project 'other': set PYTHIA_DSTACK_PROJECT"),
        ({"dstack_token": None}, "PYTHIA_DSTACK_TOKEN is not"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: Settings, changes: dict[str, Any], said: str) -> None:
    backend = Dstack(settings=settings.model_copy(update=changes), clock=lambda: datetime.now(UTC))
    with pytest.raises(ProviderUnavailable, match=said):
        backend.poll(backend.locate(uuid4()))
    with pytest.raises(ProviderUnavailable, match=said):
        backend.list()


def test_more_runs_than_fit_a_page_are_listed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(settings, lambda: datetime.now(UTC))
    monkeypatch.setattr("workers.backends.dstack.server._PAGE", 2)
    names = {run_name(work.attempt_id) for work in (make_cloud_work() for _ in range(5))}
    began = datetime.now(UTC) - timedelta(seconds=1)
    for name in names:
        client.apply({**forbidden_run(uuid4()), "run_name": name})
        time.sleep(0.002)
    assert names <= {run.name for run in client.active()[0]}
    assert names <= {run.name for run in client.since(began)}


def test_the_fleet_of_the_page_is_one(server: DstackServer) -> None:
    page = (ROOT / "docs" / "clouds.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(type: fleet.*?)```", page, flags=re.DOTALL)
    spec = {"configuration": yaml.safe_load(shown), "profile": {"name": "default"}}
    answer = server.ask("/api/project/main/fleets/apply", {"plan": {"spec": spec}, "force": False})
    assert answer.status_code == 200, answer.text
    assert answer.json()["spec"]["configuration"]["nodes"] == {"min": 0, "max": 20}


ODD = ["sh", "-c", "echo \"$HOME\" '${{ secrets.X }}' $$ `id`", "${{ groups[0].nodes[0].IP_ADDRESS }}", "two\nlines"]


def test_the_server_hands_on_what_was_meant(settings: Settings, server: DstackServer) -> None:
    """The command as the shell is given it, and variables as they are before the server reads them."""
    rental = make_rental(ODD, run={"env": {"A": "$B ${{ secrets.X }}"}, "image": None})
    name = run_name(uuid4())
    configuration = {**dstack_configuration(rental, {"PYTHIA_JOB_ID": "1"}), "name": name}
    connect(settings, lambda: datetime.now(UTC)).apply({"run_name": name, "configuration": configuration})
    run = server.ask("/api/project/main/runs/get", {"run_name": name}).json()
    job = run["jobs"][0]["job_spec"]
    assert job["commands"][-1].endswith(" && " + configuration["commands"][0])
    assert job["env"] == {"A": "$$B $${{ secrets.X }}", "PYTHIA_JOB_ID": "1"}
    assert run["run_spec"]["configuration"]["idle_duration"] == 0
    assert job["requirements"]["max_price"] == rental.usd_per_node_hour
