"""Hosts offer what is in them while they are heard, and are done without while they are not."""

from __future__ import annotations

from typing import Any

import pytest

from predictor.hardware import load_gpu_types
from scheduler.dispatch import LAUNCH, POLL, RECONCILE, SWEEP
from scheduler.domain.states import JobState, Outcome
from scheduler.services import attempts, hosts
from scheduler.services.import_offers import list_offers
from scheduler.services.inventory import change_offer, page_offers
from scheduler.services.relay import Relay
from scheduler.services.seed import HostGpus
from tests.scheduler.services.conftest import Installation
from tests.support.dispatcher import RecordingDispatcher
from tests.support.offers import make_custom_spec

LEASE_S = 60.0
TWO_H100 = (HostGpus(gpu_type="H100-SXM", count=2),)


def register(
    installation: Installation,
    name: str = "alpha",
    gpus: tuple[HostGpus, ...] = TWO_H100,
    *,
    account: str | None = None,
) -> None:
    hosts.register(
        installation.engine, name, account or f"{name}:/data#1", gpus, formerly=f"{name}:/data", slots=4,
        now=installation.now, silent_after_s=LEASE_S,
    )  # fmt: skip


def hear(installation: Installation, name: str) -> bool:
    return hosts.hear(installation.engine, name, f"{name}:/data#1", now=installation.now)


def offered(installation: Installation) -> dict[tuple[str, str], int]:
    """Region and GPU type of what hosts offer now, with the capacity."""
    return {
        (offer.region, offer.gpu_type): offer.capacity_gpus
        for offer in list_offers(installation.engine)
        if offer.provider == "local"
    }


def offer_id(installation: Installation, region: str, gpu_type: str) -> Any:
    return installation.scalar(f"SELECT id FROM offers WHERE region = '{region}' AND gpu_type = '{gpu_type}'")  # noqa: S608


def on(region: str, **changes: Any) -> Any:
    return make_custom_spec(constraints={"providers": ["local"], "regions": [region]}, **changes)


def test_a_host_offers_its_gpus_and_processors(installation: Installation) -> None:
    register(installation)
    register(installation, "beta", ())
    assert offered(installation) == {("alpha", "CPU"): 4, ("alpha", "H100-SXM"): 2, ("beta", "CPU"): 4}


def test_registering_again_keeps_what_people_have_set_and_follows_the_hardware(installation: Installation) -> None:
    register(installation)
    change_offer(installation.engine, offer_id(installation, "alpha", "H100-SXM"), {"capacity_gpus": 1})
    change_offer(installation.engine, offer_id(installation, "alpha", "CPU"), {"enabled": False})
    register(installation)
    assert offered(installation) == {("alpha", "H100-SXM"): 1}
    register(installation, gpus=(HostGpus(gpu_type="H100-SXM", count=4), HostGpus(gpu_type="L40S", count=1)))
    assert offered(installation) == {("alpha", "H100-SXM"): 4, ("alpha", "L40S"): 1}
    register(installation, gpus=())
    assert offered(installation) == {("alpha", "H100-SXM"): 0, ("alpha", "L40S"): 0}


def test_two_living_hosts_cannot_have_one_name(installation: Installation) -> None:
    register(installation)
    with pytest.raises(hosts.HostNameTaken, match="PYTHIA_HOST_NAME"):
        register(installation, account="alpha:/elsewhere")
    installation.later(LEASE_S + 1)
    register(installation, account="alpha:/elsewhere")
    assert not hear(installation, "alpha")  # it has lost its name
    with pytest.raises(hosts.HostNameTaken, match="the one that the installation began on"):
        register(installation, "here")


def test_a_host_that_an_earlier_version_registered_is_the_same(installation: Installation) -> None:
    register(installation, account="alpha:/data")
    register(installation)
    assert hear(installation, "alpha")
    with pytest.raises(hosts.HostNameTaken):
        register(installation, account="alpha:/data#2")


def test_a_silent_host_is_placed_on_no_more_until_it_is_heard(installation: Installation) -> None:
    register(installation)
    register(installation, "beta")
    change_offer(installation.engine, offer_id(installation, "alpha", "CPU"), {"enabled": False})
    installation.later(LEASE_S - 1)
    assert hear(installation, "beta")
    installation.later(2)
    missed = hosts.miss(installation.engine, now=installation.now, silent_after_s=LEASE_S)
    assert missed.fell_silent == ("alpha",)
    seen = {
        view.offer.region: view.away for view in page_offers(installation.engine, load_gpu_types(), provider="local")
    }
    assert seen == {"alpha": True, "beta": False}
    waiting = installation.submit(on("alpha", max_attempts=5))
    assert waiting.job.state is JobState.QUEUED  # it fits there, but not now
    assert installation.submit(on("beta")).job.state is JobState.PLACED
    assert hosts.miss(installation.engine, now=installation.now, silent_after_s=LEASE_S).fell_silent == ()
    assert hear(installation, "alpha")
    installation.later(5)
    installation.place_waiting()
    assert installation.job(waiting.job.id).state is JobState.PLACED
    assert ("alpha", "CPU") not in offered(installation)  # what a person had disabled stays disabled
    assert hosts.miss(installation.engine, now=installation.now, silent_after_s=LEASE_S).fell_silent == ()


def test_a_host_that_nobody_knows_is_told_to_register(installation: Installation) -> None:
    assert not hear(installation, "alpha")


def test_what_was_placed_on_a_silent_host_is_lost_and_placed_elsewhere(installation: Installation) -> None:
    register(installation)
    running = installation.submit(on("alpha")).job.id
    attempt_id = installation.attempts(running)[0].id
    work = attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60, host="alpha")
    assert work is not None
    waiting = installation.submit(on("alpha")).job.id  # placed, and nobody is there to claim it
    installation.later(LEASE_S + 1)
    register(installation, "beta")
    missed = hosts.miss(installation.engine, now=installation.now, silent_after_s=LEASE_S)
    assert len(missed.lost) == 2
    for job_id in (running, waiting):
        (attempt,) = installation.attempts(job_id)
        assert attempt.outcome is Outcome.LOST
        assert attempt.reason == "its host alpha is silent"
        assert installation.job(job_id).state is JobState.QUEUED
    assert installation.reserved() == 0
    assert hosts.miss(installation.engine, now=installation.now, silent_after_s=LEASE_S).lost == ()


def test_only_its_own_host_may_claim_an_attempt(installation: Installation) -> None:
    register(installation)
    attempt_id = installation.attempts(installation.submit(on("alpha")).job.id)[0].id
    for other in (None, "beta"):
        assert attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60, host=other) is None
    assert attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60, host="alpha")


def test_doorbells_of_a_hosts_attempts_go_to_its_own_workers(installation: Installation) -> None:
    dispatcher = RecordingDispatcher()
    relay = Relay(installation.engine, dispatcher)
    register(installation)
    installation.submit(on("alpha"))
    installation.submit(make_custom_spec(constraints={"providers": ["acme"]}, vram_gib=20.0))
    relay.step(installation.now)
    sent = [(task, host) for (task, _, _), host in zip(dispatcher.sent, dispatcher.hosts, strict=True)]
    assert sorted(sent, key=str) == sorted(
        [(LAUNCH, "alpha"), (LAUNCH, None), (SWEEP, None), (SWEEP, "alpha")], key=str
    )


def test_looks_at_a_hosts_attempts_and_machines_are_its_own(installation: Installation) -> None:
    register(installation)
    attempt_id = installation.attempts(installation.submit(on("alpha")).job.id)[0].id
    work = attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60, host="alpha")
    assert work is not None
    attempts.mark_starting(
        installation.engine, attempt_id, work.lease_token, {"host": "alpha", "folder": "/data"}, account="alpha:/data",
        now=installation.now, next_poll_at=installation.now,
    )  # fmt: skip
    dispatcher = RecordingDispatcher()
    Relay(installation.engine, dispatcher).step(installation.now)
    sent = {(task, host) for (task, _, _), host in zip(dispatcher.sent, dispatcher.hosts, strict=True)}
    assert (POLL, "alpha") in sent
    assert (POLL, None) not in sent
    assert (RECONCILE, "alpha") in sent
