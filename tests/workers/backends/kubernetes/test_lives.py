"""Jobs from submission to their end on a cluster, through database, relay and worker, whatever the cluster does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.states import AttemptState, JobState, Outcome
from scheduler.services.cancel import cancel_job
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.secrets import delete_secret, put_secret
from scheduler.services.submit import submit_job
from scheduler.services.vault import Vault, new_key
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import FakeServer
from tests.support.fake_kubelet import kubelet
from tests.support.offers import make_custom_spec, make_offer
from tests.workers.backends.kubernetes.conftest import make_settings
from tests.workers.works import python
from tests.workers.workshop import Died, Workshop
from workers.backends.kubernetes.backend import Kubernetes
from workers.handing_out import HandingOut

REPORT = "import json, os; json.dump({'peak_reserved_gib': 21.5}, open(os.environ['PYTHIA_REPORT_FILE'], 'w'))"


@pytest.fixture
def workshop(engine: sa.Engine, server: FakeServer, tmp_path: Path) -> Workshop:
    """An installation with two cards in a cluster, $3.60 an hour each, beside what every workshop has."""
    made = Workshop(engine, tmp_path)
    server.cluster.clock = made.clock
    settings = make_settings(server, tmp_path)
    made.backends["kubernetes"] = Kubernetes(settings=settings, clock=made.clock)
    offer = make_offer(
        "L4", 3.6, provider="kubernetes", backend="kubernetes", node_gpus=2, sold_gpus=(1, 2), capacity_gpus=2
    )  # fmt: skip
    put_offers(engine, [offer])
    return made


@pytest.fixture
def node(cluster: FakeCluster) -> Iterator[None]:
    """Commands run at once."""
    with ExitStack() as stack:
        stack.enter_context(kubelet(cluster))
        yield


def submit(workshop: Workshop, command: list[str], *, image: str | None = "acme/train:1", **run: Any) -> UUID:
    spec = make_custom_spec(run={"command": command, "image": image, **run}, constraints={"providers": ["kubernetes"]})
    made = submit_job(workshop.engine, know(workshop.predictor), spec, tenant_id=DEFAULT_TENANT, now=workshop.clock())
    assert made.job.state is JobState.PLACED, made.decision.reason
    return made.job.id


def charged(workshop: Workshop) -> tuple[int, int]:
    """What the ledger says, and what the attempts say that they cost."""
    with workshop.engine.connect() as connection:
        ledger = connection.execute(sa.text("SELECT coalesce(sum(micros), 0) FROM ledger")).scalar_one()
        own = connection.execute(sa.text("SELECT coalesce(sum(cost_micros), 0) FROM attempts")).scalar_one()
    return int(ledger), int(own)


def leaves_nothing(workshop: Workshop) -> bool:
    workshop.turn_until(lambda: not workshop.rented(), step_s=1.0)
    ledger, own = charged(workshop)
    return workshop.reserved() == 0 and ledger == own


def test_a_job_goes_from_submission_to_completion(workshop: Workshop, cluster: FakeCluster, node: None) -> None:
    job_id = submit(workshop, python(f"{REPORT}; import time; print('half $(HOME)'); time.sleep(1.2); print('done')"))
    job = workshop.turn_until_over(job_id)
    assert job.state is JobState.COMPLETED, job.reason
    assert workshop.printed(job_id) == "half $(HOME)\ndone\n"
    (attempt,) = workshop.attempts(job_id)
    assert (attempt.outcome, attempt.exit_code, attempt.simulated) == (Outcome.COMPLETED, 0, False)
    assert attempt.peak_vram_gib == 21.5
    assert attempt.runtime_s is not None
    assert attempt.cost_micros == round(attempt.runtime_s * 1000), (
        "by the second, from the container's start to its end"
    )
    assert leaves_nothing(workshop)
    assert len(cluster.created) == 1


def test_a_command_finds_its_secret_and_nobody_else_does(
    workshop: Workshop, cluster: FakeCluster, node: None, tmp_path: Path
) -> None:
    new_key(tmp_path / "keys")
    handing = HandingOut(engine=workshop.engine, vault=Vault(tmp_path / "keys"), files_cap_bytes=1000)
    put_secret(workshop.engine, handing.vault, DEFAULT_TENANT, "house", value := "s3cr3t-$(HOME)", now=workshop.clock())
    backend = workshop.backends["kubernetes"]
    assert isinstance(backend, Kubernetes)
    backend.hand_over = handing.of
    said = tmp_path / "said"
    script = f'printf %s "$TOKEN" > {said}; echo "it is $TOKEN."; sleep 0.3'
    job_id = submit(workshop, ["sh", "-c", script], secrets={"TOKEN": "house"})
    seen: list[str] = []

    def look() -> bool:
        with cluster.lock:
            seen.append(json.dumps([cluster.jobs, cluster.pods]))
        return workshop.job(job_id).state is JobState.COMPLETED

    workshop.turn_until(look)
    assert said.read_text() == value
    assert workshop.printed(job_id) == "it is [secret].\n"
    assert not [one for one in seen if value in one]
    assert [len(cluster.secrets.made), len(cluster.secrets.there)] == [1, 0]
    with workshop.engine.connect() as connection:
        tables = connection.execute(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
        for table in list(tables):
            rows = connection.execute(sa.text(f'SELECT t::text FROM "{table}" t')).scalars().all()  # noqa: S608
            assert not any(value in row for row in rows), table
    assert leaves_nothing(workshop)


def test_a_job_whose_secret_was_deleted_fails_for_good_and_makes_nothing(
    workshop: Workshop, cluster: FakeCluster, node: None, tmp_path: Path
) -> None:
    new_key(tmp_path / "keys")
    handing = HandingOut(engine=workshop.engine, vault=Vault(tmp_path / "keys"), files_cap_bytes=1000)
    put_secret(workshop.engine, handing.vault, DEFAULT_TENANT, "house", "s3cr3t", now=workshop.clock())
    backend = workshop.backends["kubernetes"]
    assert isinstance(backend, Kubernetes)
    backend.hand_over = handing.of
    job_id = submit(workshop, ["true"], secrets={"TOKEN": "house"})
    delete_secret(workshop.engine, DEFAULT_TENANT, "house")
    assert workshop.turn_until_over(job_id).state is JobState.FAILED
    (attempt,) = workshop.attempts(job_id)
    assert attempt.reason == "the secret house was deleted since the job was submitted"
    assert (cluster.created, cluster.secrets.made) == ([], [])
    assert leaves_nothing(workshop)


def test_a_failing_job_is_not_tried_again(workshop: Workshop, cluster: FakeCluster, node: None) -> None:
    job = workshop.turn_until_over(job_id := submit(workshop, ["sh", "-c", "echo no >&2; exit 4"]))
    assert job.state is JobState.FAILED
    assert workshop.printed(job_id) == "no\n"
    assert len(cluster.created) == 1
    assert leaves_nothing(workshop)


def test_a_preempted_job_is_placed_again_and_each_part_is_paid(workshop: Workshop, cluster: FakeCluster) -> None:
    job_id = submit(workshop, ["true"])
    workshop.turn_until(lambda: cluster.created)
    cluster.running(cluster.created[0])
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING)
    cluster.preempted(cluster.created[0])
    workshop.turn_until(lambda: len(cluster.created) == 2, step_s=1.0)
    cluster.running(cluster.created[1])
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING)
    cluster.ends(cluster.created[1], 0)
    assert workshop.turn_until_over(job_id).state is JobState.COMPLETED
    assert [one.outcome for one in workshop.attempts(job_id)] == [Outcome.PREEMPTED, Outcome.COMPLETED]
    assert leaves_nothing(workshop)


def test_a_job_is_cancelled_while_it_waits_for_a_node(workshop: Workshop, cluster: FakeCluster) -> None:
    job_id = submit(workshop, ["true"])
    workshop.turn_until(lambda: cluster.created)
    cluster.unschedulable(cluster.created[0], "0/1 nodes are available")
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    job = workshop.turn_until_over(job_id)
    assert job.state is JobState.CANCELLED
    assert cluster.pods == {}
    assert leaves_nothing(workshop)
    assert charged(workshop) == (0, 0)


def test_a_running_job_is_cancelled_with_grace(workshop: Workshop, cluster: FakeCluster, node: None) -> None:
    job_id = submit(workshop, ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"])
    workshop.turn_until(lambda: "up" in workshop.printed(job_id))
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    assert workshop.turn_until_over(job_id).state is JobState.CANCELLED
    assert leaves_nothing(workshop)


def test_a_job_that_is_cancelled_before_its_worker_came_never_runs(workshop: Workshop, cluster: FakeCluster) -> None:
    job_id = submit(workshop, ["true"])
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    assert workshop.turn_until_over(job_id).state is JobState.CANCELLED
    assert cluster.created == []
    assert leaves_nothing(workshop)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_worker_that_dies_around_the_start_makes_one_job(
    workshop: Workshop, cluster: FakeCluster, node: None, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    start = Kubernetes.start
    deaths: list[str] = []

    def dying(backend: Kubernetes, work: Any) -> Any:
        if deaths:
            return start(backend, work)
        deaths.append(where)
        if where == "after":
            start(backend, work)
        raise Died

    monkeypatch.setattr(Kubernetes, "start", dying)
    job_id = submit(workshop, ["sh", "-c", "echo once"])
    assert workshop.turn_until_over(job_id, step_s=0.2).state is JobState.COMPLETED
    assert workshop.printed(job_id) == "once\n"
    assert len(cluster.created) == 1
    assert leaves_nothing(workshop)


def test_a_cluster_that_does_not_answer_for_a_while_loses_nothing(
    workshop: Workshop, server: FakeServer, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.backends.kubernetes.patience._FIRST_REST_S", 0.001)
    job_id = submit(workshop, ["true"])
    server.down = True
    for _ in range(5):
        workshop.turn()
    (attempt,) = workshop.attempts(job_id)
    assert attempt.state is AttemptState.STARTING, "nothing was made, and nothing was given up"
    server.down = False
    workshop.turn_until(lambda: cluster.created, step_s=0.2)
    cluster.running(cluster.created[0])
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING, step_s=0.2)
    server.down = True
    for _ in range(5):
        workshop.turn()
    cluster.prints(cluster.created[0], b"all of it\n")
    cluster.ends(cluster.created[0], 0)
    server.down = False
    assert workshop.turn_until_over(job_id, step_s=0.2).state is JobState.COMPLETED
    assert workshop.printed(job_id) == "all of it\n"
    assert len(cluster.created) == 1
    assert len(workshop.attempts(job_id)) == 1
    assert leaves_nothing(workshop)


def test_a_job_without_an_image_is_placed_where_none_is_needed(workshop: Workshop) -> None:
    with pytest.raises(AssertionError, match=r"run\.image"):
        submit(workshop, ["true"], image=None)


def test_a_job_that_another_installation_forgot_is_left_alone(
    workshop: Workshop, cluster: FakeCluster, node: None
) -> None:
    """Jobs that carry another installation's name are none of ours, though they are in our namespace."""
    job_id = submit(workshop, ["sleep", "3600"])
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING)
    (name,) = cluster.created
    with cluster.lock:
        foreign = json.loads(json.dumps({key: cluster.jobs[name][key] for key in ("apiVersion", "kind")}))
        labels = {**cluster.jobs[name]["metadata"]["labels"], "pythia-scheduler/attempt": "x"}
        metadata = {
            "name": "pythia-foreign", "labels": labels,
            "annotations": {"pythia-scheduler/machine-key": "pythia-other-1"},
        }  # fmt: skip
        cluster.create_job({**foreign, "metadata": metadata, "spec": {**cluster.jobs[name]["spec"], "suspend": True}})
    workshop.worker().reconcile()
    workshop.worker().sweep()
    assert "pythia-foreign" in cluster.jobs
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    assert workshop.turn_until_over(job_id).state is JobState.CANCELLED


def test_a_job_of_ours_that_nobody_knows_is_ended(workshop: Workshop, cluster: FakeCluster, node: None) -> None:
    """As after a backup from before it was made is restored."""
    job_id = submit(workshop, ["sleep", "3600"])
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING)
    with workshop.engine.begin() as connection:
        connection.execute(sa.text("UPDATE machines SET key = key || '-restored'"))
    workshop.worker().reconcile()
    workshop.turn_until(lambda: not cluster.pods, step_s=0.1)
