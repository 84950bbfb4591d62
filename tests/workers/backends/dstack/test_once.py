"""No run is made twice where that can be helped; where it cannot, none is left going on, and neither counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from scheduler.domain.states import Outcome
from tests.support.fake_dstack import FakeDstack
from tests.support.fake_dstack_server import FakeServer
from tests.workers.backends.dstack.conftest import settings_of
from tests.workers.backends.dstack.works import key_of, make_cloud_work, outcome, start
from workers.backends.base import Phase, ProviderUnavailable, StartFailed
from workers.backends.dstack.backend import Dstack
from workers.backends.dstack.server import Refused, Server
from workers.backends.dstack.task import HELD_UP, run_name, run_of

pytestmark = pytest.mark.usefixtures("still")


def test_asked_again_it_finds_the_first(live: Dstack, cloud: FakeDstack) -> None:
    work, run, handle = start(live)
    assert live.start(work) == handle
    cloud.running(run)
    cloud.ends(run, 0)
    assert live.start(work) == handle
    assert cloud.names() == [run]


def test_a_worker_that_did_not_hear_the_answer_finds_the_run(live: Dstack, cloud: FakeDstack, fake: FakeServer) -> None:
    work = make_cloud_work()
    fake.troubles.append(("runs/apply", "forgets to answer"))
    with pytest.raises(ProviderUnavailable):
        live.start(work)
    assert live.poll(live.locate(work.attempt_id)).phase is Phase.STARTING
    live.start(work)
    assert len(cloud.names()) == 1
    assert fake.requests.count("runs/apply") == 1


def test_a_worker_that_lost_the_race_finds_the_other_ones_run(
    live: Dstack, cloud: FakeDstack, fake: FakeServer
) -> None:
    work = make_cloud_work()
    other = Dstack(settings=settings_of(fake), clock=cloud.now)
    looked, _ = live._server.run(run_name(work.attempt_id))
    assert looked is None
    other.start(work)
    with pytest.raises(Refused):
        live._server.apply(run_of(work, live._gpus, now=cloud.now()))
    assert live.start(work) == other.locate(work.attempt_id)
    assert len(cloud.names()) == 1


def test_what_a_request_began_that_was_held_up_is_ended_on_sight(live: Dstack, cloud: FakeDstack) -> None:
    work, run, handle = start(live)
    late = run_of(work, live._gpus, now=cloud.now())
    cloud.running(run)
    cloud.ends(run, 0)
    cloud.ahead = HELD_UP + timedelta(seconds=5)
    live._server.apply(late)
    assert len(cloud.names()) == 2, "a server begins another when the first is over"
    live.poll(handle)
    assert cloud.run(run)["status"] == "terminating"
    cloud.ahead += timedelta(seconds=5)
    assert outcome(live.poll(handle))[0] is Outcome.LOST


def test_what_a_request_began_that_was_held_up_for_less_is_known_by_the_run_before_it(
    live: Dstack, cloud: FakeDstack, fake: FakeServer
) -> None:
    work = make_cloud_work()
    handle, run = live.locate(work.attempt_id), run_name(work.attempt_id)
    fake.troubles.append(("runs/apply", "delivers later"))
    with pytest.raises(ProviderUnavailable):
        live.start(work)
    cloud.ahead = timedelta(seconds=20)
    live.start(work)
    cloud.running(run)
    cloud.ends(run, 0)  # before anybody looks
    cloud.ahead = timedelta(seconds=50)
    fake.deliver()
    assert len(cloud.names()) == 2
    cloud.running(run)
    workers = [live, Dstack(settings=settings_of(fake), clock=cloud.now)]
    assert [worker.poll(handle).phase for worker in workers] == [Phase.RUNNING, Phase.STARTING], "it was told"
    assert cloud.run(run)["termination_reason"] == "aborted_by_user"
    cloud.ahead += timedelta(seconds=5)
    workers.append(Dstack(settings=settings_of(fake), clock=cloud.now))
    for worker in workers:
        kind, why = outcome(worker.poll(handle))
        assert kind is Outcome.LOST
        assert why is not None
        assert "more than once" in why


@pytest.mark.parametrize("seen_by", ["poll", "list", "tidy", "release"])
def test_two_runs_at_once_are_both_ended_and_the_attempt_is_lost(live: Dstack, cloud: FakeDstack, seen_by: str) -> None:
    """A server on PostgreSQL may take both of two requests."""
    work, run, handle = start(live)
    live.poll(handle)
    cloud.ahead = timedelta(seconds=3)
    cloud.apply({**run_of(work, live._gpus, now=cloud.now())}, beside=True)
    cloud.running(run)
    if seen_by == "poll":
        cloud.ahead = HELD_UP * 2  # of the first sight it was not there
        live.poll(handle)
    elif seen_by == "release":
        with pytest.raises(ProviderUnavailable):
            live.release(key_of(work))
    elif seen_by == "tidy":
        live.tidy(lambda _: False)
    else:
        assert [one.key for one in live.list()] == [key_of(work)]
    assert [one["status"] for one in cloud.runs] == ["terminating"] * 2
    cloud.ahead += timedelta(seconds=5)
    assert live.list() == []
    assert [one["status"] for one in cloud.runs] == ["terminated"] * 2
    kind, why = outcome(live.poll(handle))
    assert (kind, why) == (Outcome.LOST, "the dstack server had begun it more than once, and what went on was ended")


def test_a_run_that_comes_beside_the_one_that_forbids_it_is_ended(
    live: Dstack, cloud: FakeDstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = make_cloud_work()
    apply = Server.apply

    def beside(server: Server, spec: Any) -> None:
        apply(server, spec)
        cloud.apply({**run_of(work, live._gpus, now=cloud.now())}, beside=True)

    monkeypatch.setattr(Server, "apply", beside)
    live.stop(live.locate(work.attempt_id), hard=True)
    assert [one["status"] for one in cloud.runs] == ["terminating"] * 2
    cloud.ahead = timedelta(seconds=5)
    assert live.list() == []
    monkeypatch.undo()
    with pytest.raises(StartFailed):
        live.start(work)
    assert len(cloud.runs) == 2


def test_a_run_alone_is_looked_for_rivals_twice_and_at_its_end(
    live: Dstack, cloud: FakeDstack, fake: FakeServer
) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    for minutes in (0, 1, 3, 4, 60):
        cloud.ahead = timedelta(minutes=minutes)
        assert live.poll(handle).phase is Phase.RUNNING
    assert fake.requests.count("runs/list") == 2
    cloud.ends(run, 0)
    assert outcome(live.poll(handle))[0] is Outcome.COMPLETED
    assert fake.requests.count("runs/list") == 2


def test_what_was_stopped_before_it_started_never_starts(live: Dstack, cloud: FakeDstack) -> None:
    work = make_cloud_work()
    handle = live.locate(work.attempt_id)
    live.stop(handle, hard=True)
    assert outcome(live.poll(handle), cancelled=True) == (Outcome.CANCELLED, None)
    with pytest.raises(StartFailed, match="stopped before it could start"):
        live.start(work)
    live.clear(handle)
    assert cloud.names() == []
    assert live.list() == []


def test_what_only_holds_a_name_is_removed_after_a_day(live: Dstack, cloud: FakeDstack) -> None:
    attempt_id = uuid4()
    live.stop(live.locate(attempt_id), hard=True)
    live.tidy(lambda _: True)
    assert cloud.run(run_name(attempt_id))["status"] == "pending"
    cloud.ahead = timedelta(days=1, seconds=5)
    live.tidy(lambda _: False)
    assert cloud.run(run_name(attempt_id))["status"] == "pending", "another installation's"
    live.tidy(lambda one: one == attempt_id)
    cloud.control()
    assert cloud.run(run_name(attempt_id))["status"] == "terminated"
