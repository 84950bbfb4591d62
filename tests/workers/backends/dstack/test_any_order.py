"""Two workers, a cloud and a bad network in any order: a command never runs twice, and never after a stop.

Where the network delivers a request later it may, for as long as nobody looks; then it is ended and never counts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scheduler.domain.states import Outcome
from tests.support.fake_dstack import OVER, FakeDstack, Refused
from tests.support.fake_dstack_server import serving
from tests.workers.backends.dstack.conftest import settings_of
from tests.workers.backends.dstack.works import make_cloud_work
from workers.backends.base import Phase, ProviderUnavailable, Report, StartFailed
from workers.backends.dstack.backend import Dstack
from workers.backends.dstack.task import run_name
from workers.outcomes import result_of

WORKERS = ["start", "poll", "stop", "stop hard", "release", "collect", "clear", "tidy"]
CLOUD = ["rent", "run", "end", "fail", "interrupt", "no machine", "wait"]
TROUBLES = [
    ("runs/get", 500), ("runs/apply", "forgets to answer"), ("runs/apply", "hangs up"), ("runs/stop", 503),
    ("runs/stop", "forgets to answer"), ("runs/list", "hangs up"), ("events/list", 500),
]  # fmt: skip
STEPS = st.lists(
    st.sampled_from([*WORKERS, *CLOUD]) | st.sampled_from(TROUBLES).map(lambda one: ("trouble", one)), max_size=14
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_command_never_runs_twice_and_never_after_a_stop(steps: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.backends.dstack.server._FIRST_REST_S", 0.0)
    cloud = FakeDstack()
    with serving(cloud) as server:
        workers = [Dstack(settings=settings_of(server), clock=cloud.now) for _ in range(2)]
        work = make_cloud_work()
        for number, step in enumerate(steps):
            if isinstance(step, tuple):
                server.troubles += [step[1]] * 4
            elif step in WORKERS:
                with suppress(ProviderUnavailable, StartFailed):
                    _act(workers[number % 2], step, work)
            else:
                _happen(cloud, step, run_name(work.attempt_id))
        server.troubles.clear()
        workers[0].stop(workers[0].locate(work.attempt_id), hard=True)
        before = len(cloud.begun)
        with suppress(StartFailed):
            workers[1].start(work)
        for _ in range(3):
            cloud.ahead += timedelta(seconds=5)
            _happen(cloud, "run", run_name(work.attempt_id))
        report = workers[1].poll(workers[1].locate(work.attempt_id))
        again = workers[0].poll(workers[0].locate(work.attempt_id))
    assert len(cloud.begun) == before, "nothing begins after a stop"
    assert len(cloud.begun) <= 1
    assert report.phase is Phase.ENDED
    assert report == again, "whoever looks, and however often"
    assert report.meter is not None
    assert report.meter.to_s >= (report.runtime_s or 0.0) >= 0.0


LATE = st.lists(
    st.sampled_from(["start", "start", "poll", "stop hard", "tidy", "collect", *CLOUD, "wait long", "delivers later",
                     "deliver"]), min_size=3, max_size=16,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=LATE)
@example(steps=["delivers later", "start", "wait", "start", "run", "end", "deliver", "run", "end"])
@example(steps=["delivers later", "start", "stop hard", "wait long", "deliver", "run"])
@example(steps=["delivers later", "start", "start", "run", "end", "wait long", "deliver", "run"])
def test_what_is_delivered_late_is_ended_on_sight_and_never_counts(
    steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.backends.dstack.server._FIRST_REST_S", 0.0)
    cloud = FakeDstack()
    with serving(cloud) as server:
        workers = [Dstack(settings=settings_of(server), clock=cloud.now) for _ in range(2)]
        work = make_cloud_work()
        name, handle = run_name(work.attempt_id), workers[0].locate(work.attempt_id)
        for number, step in enumerate(steps):
            if step == "delivers later":
                server.troubles.append(("runs/apply", step))
            elif step == "deliver":
                server.deliver()
            elif step in WORKERS:
                with suppress(ProviderUnavailable, StartFailed):
                    _act(workers[number % 2], step, work)
            else:
                _happen(cloud, step, name)
        server.troubles.clear()
        server.deliver()
        cloud.ahead += timedelta(seconds=30)
        _happen(cloud, "run", name)
        reports = [worker.poll(handle) for worker in workers]
        if len(cloud.begun) > 1:
            assert all(report.phase is not Phase.ENDED or _is_lost(report) for report in reports)
        workers[0].tidy(lambda _: True)  # the attempt has ended, however
        cloud.ahead += timedelta(seconds=5)
        _happen(cloud, "run", name)
        going_on = [run for run in cloud.runs if run["jobs"] and run["status"] not in OVER]
        assert going_on == []
        reports = [worker.poll(handle) for worker in workers]
    assert reports[0] == reports[1], "whoever looks"
    assert len(cloud.begun) <= 1 or _is_lost(reports[0])


def _is_lost(report: Report) -> bool:
    return result_of(report, cancel_requested=False, has_device_memory=True).outcome is Outcome.LOST


def _act(backend: Dstack, step: str, work: Any) -> None:
    handle = backend.locate(work.attempt_id)
    does: dict[str, Callable[[], object]] = {
        "start": lambda: backend.start(work),
        "poll": lambda: backend.poll(handle),
        "stop": lambda: backend.stop(handle, hard=False),
        "stop hard": lambda: backend.stop(handle, hard=True),
        "release": lambda: backend.release(work.machine.key),
        "collect": lambda: backend.collect(handle, {}, ended=False),
        "clear": lambda: backend.clear(handle),
        "tidy": lambda: backend.tidy(lambda _: False),
    }
    does[step]()


def _happen(cloud: FakeDstack, step: str, name: str) -> None:
    """What the cloud does, where it could."""
    with cloud.lock:
        cloud.control()
        try:
            status = cloud.run(name)["status"]
        except Refused:
            status = "none"
        match step:
            case "rent" if status == "submitted":
                cloud.rented(name)
            case "run" if status in ("submitted", "provisioning"):
                cloud.running(name)
            case "end" | "fail" if status == "running":
                cloud.ends(name, 0 if step == "end" else 1)
            case "interrupt" if status in ("provisioning", "running"):
                cloud.ends_by(name, "interrupted_by_no_capacity")
            case "no machine" if status == "submitted":
                cloud.ends_by(name, "failed_to_start_due_to_no_capacity")
            case "wait":
                cloud.ahead += timedelta(seconds=3)
            case "wait long":
                cloud.ahead += timedelta(seconds=130)
        cloud.control()
