"""Files of a job in a pod: in before its command, out after it, by the very containers that its manifest names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.states import JobState, Outcome
from scheduler.services.cancel import cancel_job
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.secrets import put_secret
from scheduler.services.submit import submit_job
from scheduler.services.vault import Vault, new_key
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import FakeServer
from tests.support.fake_kubelet import kubelet
from tests.support.offers import make_custom_spec, make_offer
from tests.support.store import BUCKET, IN, OUT, UPPER, Store
from tests.workers.backends.kubernetes.conftest import make_settings
from tests.workers.backends.kubernetes.test_lives import leaves_nothing
from tests.workers.works import python
from tests.workers.workshop import Workshop
from workers.backends.kubernetes import staged
from workers.backends.kubernetes.backend import Kubernetes
from workers.handing_out import HandingOut

STAGING = {"kubernetes_staging_image": "acme/pythia:1"}


@pytest.fixture
def workshop(engine: sa.Engine, server: FakeServer, tmp_path: Path, store: Store) -> Workshop:
    """An installation with a cluster, whose jobs keep the keys to their store as secrets."""
    new_key(tmp_path / "keys")
    handing = HandingOut(engine=engine, vault=Vault(tmp_path / "keys"), files_cap_bytes=10**6)
    made = Workshop(engine, tmp_path)
    server.cluster.clock = made.clock
    settings = make_settings(server, tmp_path, **STAGING)
    made.backends["kubernetes"] = Kubernetes(settings=settings, clock=made.clock, hand_over=handing.of)
    put_offers(engine, [make_offer("L4", 3.6, provider="kubernetes", backend="kubernetes")])
    for name, value in (("id", store.access.access_key_id), ("key", store.access.secret_access_key)):
        put_secret(engine, handing.vault, DEFAULT_TENANT, name, value, now=made.clock())
    return made


@pytest.fixture
def node(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands run at once, and files are sent as soon as they have ended."""
    monkeypatch.setattr(staged, "REST_S", 0.0)
    with kubelet(cluster):
        yield


def submit(workshop: Workshop, store: Store, script: str = UPPER, **run: Any) -> UUID:
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    given = {"command": python(script), "image": "acme/train:1", "inputs": [IN], "outputs": [OUT], "secrets": keys,
             "env": {"AWS_ENDPOINT_URL": store.line.url}}  # fmt: skip
    spec = make_custom_spec(run={**given, **run}, constraints={"providers": ["kubernetes"]})
    backend = workshop.backends["kubernetes"]
    assert isinstance(backend, Kubernetes)
    knowledge = know(workshop.predictor, backend.settings)
    done = submit_job(workshop.engine, knowledge, spec, tenant_id=DEFAULT_TENANT, now=workshop.clock())
    assert done.job.state is JobState.PLACED, done.decision.reason
    return done.job.id


def ended(workshop: Workshop, job_id: UUID) -> tuple[JobState, Outcome | None, str | None]:
    job = workshop.turn_until_over(job_id, within_s=60)
    last = workshop.attempts(job_id)[-1]
    return job.state, last.outcome, last.reason


def test_a_job_finds_its_files_and_its_files_are_kept(
    workshop: Workshop, cluster: FakeCluster, store: Store, node: None
) -> None:
    seen: list[str] = []
    job_id = submit(workshop, store)

    def look() -> bool:
        with cluster.lock:
            seen.append(json.dumps([cluster.jobs, cluster.pods]))
        return workshop.job(job_id).state is JobState.COMPLETED

    workshop.turn_until(look, within_s=60)
    assert store.get("done/out.txt") == b"HELLO"
    assert store.keys() == ["a.txt", "done/out.txt"]
    assert not any(store.access.secret_access_key in one for one in seen)
    assert [len(cluster.secrets.made), len(cluster.secrets.there)] == [1, 0]
    assert len(cluster.created) == 1
    assert leaves_nothing(workshop)


def test_the_command_has_not_what_moves_its_files(
    workshop: Workshop, cluster: FakeCluster, store: Store, node: None
) -> None:
    """Keys of the installation go to its store, and not to the command."""
    backend = workshop.backends["kubernetes"]
    assert isinstance(backend, Kubernetes)
    handing = HandingOut(
        engine=workshop.engine, vault=Vault(workshop.folder / "keys"), files_cap_bytes=10**6, access=store.access
    )
    backend.hand_over = handing.of
    script = "import json, os; json.dump(dict(os.environ), open('out.txt', 'w'))"
    job_id = submit(workshop, store, script, secrets={}, env={})
    assert ended(workshop, job_id)[0] is JobState.COMPLETED
    environment = json.loads(store.get("done/out.txt"))
    assert store.access.secret_access_key not in environment.values()
    assert environment["PYTHIA_JOB_ID"] == str(job_id)


def test_only_the_commands_time_is_billed(workshop: Workshop, cluster: FakeCluster, store: Store) -> None:
    job_id = submit(workshop, store)
    workshop.turn_until(lambda: cluster.created)
    (name,) = cluster.created
    cluster.preparing(name)
    workshop.ahead = timedelta(minutes=10)
    workshop.turn()
    assert workshop.job(job_id).state is JobState.STARTING
    cluster.running(name)
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING)
    workshop.ahead = timedelta(minutes=20)
    cluster.ends(name, 0)
    (status,) = cluster.pods_of(name)[0]["status"]["containerStatuses"]
    workshop.turn()
    workshop.ahead = timedelta(minutes=40)
    workshop.turn()
    assert workshop.job(job_id).state is JobState.RUNNING, "its outputs are on their way"
    cluster.sidecar_ends(name, 0, json.dumps({"failure": None, "missing": None}))
    assert ended(workshop, job_id) == (JobState.COMPLETED, Outcome.COMPLETED, None)
    (attempt,) = workshop.attempts(job_id)
    began, over = (datetime.fromisoformat(status["state"]["terminated"][when]) for when in ("startedAt", "finishedAt"))
    assert attempt.runtime_s == (over - began).total_seconds() < 1200
    assert leaves_nothing(workshop)


def test_an_input_that_is_missing_fails_the_job_for_good_and_is_named(
    workshop: Workshop, cluster: FakeCluster, store: Store, node: None
) -> None:
    job_id = submit(workshop, store, inputs=[IN, {"from": f"s3://{BUCKET}/b.txt", "to": "b"}])
    assert ended(workshop, job_id) == (
        JobState.FAILED, Outcome.FAILED, "inputs: s3://files/b.txt: there is no such file",
    )  # fmt: skip
    assert cluster.begun == []
    assert len(workshop.attempts(job_id)) == 1
    assert cluster.secrets.there == {}


def test_an_output_that_cannot_be_kept_takes_nothing_from_the_outcome(
    workshop: Workshop, store: Store, node: None
) -> None:
    nowhere = {"from": "out.txt", "to": "s3://no-such-bucket/out.txt"}
    state, outcome, reason = ended(workshop, submit(workshop, store, outputs=[nowhere, OUT]))
    assert (state, outcome) == (JobState.COMPLETED, Outcome.COMPLETED)
    assert reason == (
        "not all outputs were kept (s3://no-such-bucket/out.txt: there is no such bucket); they are gone with its pod"
    )
    assert store.get("done/out.txt") == b"HELLO"


def test_a_line_that_names_nothing_is_a_fault_of_a_command_that_completed(
    workshop: Workshop, store: Store, node: None
) -> None:
    never = {**OUT, "from": "never/*"}
    state, outcome, reason = ended(workshop, submit(workshop, store, outputs=[OUT, never]))
    assert (state, outcome) == (JobState.COMPLETED, Outcome.COMPLETED)
    assert reason is not None
    assert "never/*: the command left no such file" in reason
    job_id = submit(workshop, store, UPPER + "; raise SystemExit(3)", outputs=[OUT, never])
    assert ended(workshop, job_id) == (JobState.FAILED, Outcome.FAILED, "exit code 3")


def test_a_command_that_is_over_at_once_has_its_outputs_sent(workshop: Workshop, store: Store, node: None) -> None:
    """The container that sends them listens before the command begins: process 1 is deaf to signals until it does."""
    job_id = submit(workshop, store, "open('out.txt', 'w').write('quick')", inputs=[])
    assert ended(workshop, job_id) == (JobState.COMPLETED, Outcome.COMPLETED, None)
    assert store.get("done/out.txt") == b"quick"


def test_a_job_is_cancelled_while_its_files_come(
    workshop: Workshop, cluster: FakeCluster, store: Store, node: None
) -> None:
    store.line.open.clear()
    job_id = submit(workshop, store)
    workshop.turn_until(lambda: any(head.startswith(b"GET") for head in store.line.requests))
    assert workshop.job(job_id).state is JobState.STARTING
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    assert ended(workshop, job_id)[:2] == (JobState.CANCELLED, Outcome.CANCELLED)
    assert cluster.begun == []
    assert cluster.secrets.there == {}


def test_a_job_with_files_is_placed_elsewhere_where_no_image_moves_them(workshop: Workshop, store: Store) -> None:
    backend = workshop.backends["kubernetes"]
    assert isinstance(backend, Kubernetes)
    backend.settings = backend.settings.model_copy(update={"kubernetes_staging_image": None})
    with pytest.raises(AssertionError, match=r"cannot carry out run\.inputs, run\.outputs unless PYTHIA_KUBERNETES_ST"):
        submit(workshop, store)
