"""Secrets reach a container through a Secret of the cluster and nothing else, and are gone when it is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import Outcome
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import FakeServer
from tests.support.kubernetes_schema import complaint
from tests.workers.backends.kubernetes.conftest import outcome
from tests.workers.backends.kubernetes.test_manifest import make_gpu_work, written
from tests.workers.workshop import Died
from workers.backends.base import JobRefused, Phase, StartFailed
from workers.backends.handed_over import HandedOver
from workers.backends.kubernetes.backend import Kubernetes
from workers.backends.kubernetes.cluster import Cluster
from workers.backends.kubernetes.handed_over import secret_of, values_in
from workers.backends.kubernetes.names import job_name

VALUE = "s3cr3t-of-the-house"


def giving(**values: str) -> Callable[[AttemptWork], HandedOver]:
    return lambda _: HandedOver(secrets=values)


def make_secret_work(**changes: Any) -> AttemptWork:
    return make_gpu_work(secrets={"TOKEN": "house"}, **changes)


@pytest.fixture
def backend(backend: Kubernetes) -> Kubernetes:
    return Kubernetes(settings=backend.settings, clock=backend.clock, hand_over=giving(TOKEN=VALUE))


def start(backend: Kubernetes) -> tuple[AttemptWork, str, Any]:
    work = make_secret_work()
    return work, job_name(work.attempt_id), backend.start(work)


def printed(backend: Kubernetes, handle: Any) -> str:
    return "".join(chunk.text for chunk in backend.collect(handle, {}, ended=True))


# what is written


@pytest.mark.parametrize("version", ["1.29", "1.31", "1.34", "1.37"])
def test_job_and_secret_are_some_by_the_published_schema(version: str) -> None:
    work = make_secret_work(env={"A": "1"})
    secret = json.loads(msgspec.json.encode(secret_of(work, HandedOver(secrets={"TOKEN": VALUE}))))
    assert complaint(written(work), version) is None
    assert complaint(secret, version) is None
    assert secret["immutable"] is True
    assert secret["metadata"]["labels"]["pythia-scheduler/tenant"] == str(work.tenant_id)


def test_the_manifest_names_the_variable_and_where_its_value_is() -> None:
    work = make_secret_work(env={"A": "1"})
    env = written(work)["spec"]["template"]["spec"]["containers"][0]["env"]
    (token,) = [one for one in env if one["name"] == "TOKEN"]
    reference = {"name": job_name(work.attempt_id), "key": "env.TOKEN"}
    assert token == {"name": "TOKEN", "valueFrom": {"secretKeyRef": reference}}
    assert len({one["name"] for one in env}) == len(env), "no name comes twice, whichever of them would win"


@pytest.mark.parametrize("value", [VALUE, "é\n$(HOME) $$", "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"])
def test_a_value_comes_out_as_it_went_in(value: str) -> None:
    assert values_in(secret_of(make_secret_work(), HandedOver(secrets={"TOKEN": value}))) == [value]


# its life


def test_the_value_is_in_the_secret_alone_and_the_secret_is_the_jobs(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    assert backend.poll(handle).phase is Phase.RUNNING
    assert cluster.secrets.value(job, "env.TOKEN") == VALUE
    assert VALUE not in json.dumps([cluster.jobs, cluster.pods])
    (owner,) = cluster.secrets.there[job]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Job", cluster.jobs[job]["metadata"]["uid"])


def test_it_is_deleted_when_the_end_is_written_down(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.prints(job, f"token {VALUE}\n".encode())
    cluster.ends(job, 0)
    assert outcome(backend.poll(handle)) == (Outcome.COMPLETED, None)
    assert printed(backend, handle) == "token [secret]\n"
    backend.clear(handle)
    assert cluster.secrets.there == {}
    assert cluster.jobs[job]["spec"]["ttlSecondsAfterFinished"] == 3600


def test_it_goes_with_its_job_though_no_worker_ever_comes_again(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, _ = start(backend)
    cluster.running(job)
    cluster.ends(job, 0)
    cluster.control()
    assert job in cluster.secrets.there
    cluster.ahead = timedelta(days=8)
    cluster.control()
    assert cluster.jobs == {}
    assert cluster.secrets.there == {}


def test_a_job_without_secrets_makes_none_and_asks_for_none(
    backend: Kubernetes, server: FakeServer, cluster: FakeCluster
) -> None:
    work = make_gpu_work()
    handle, job = backend.start(work), job_name(work.attempt_id)
    cluster.running(job)
    cluster.prints(job, b"plain\n")
    cluster.ends(job, 0)
    backend.poll(handle)
    assert printed(backend, handle) == "plain\n"
    backend.clear(handle)
    assert not [request for request in server.requests if "secrets" in request]


def test_nobody_is_shown_what_the_command_prints_once_its_secret_is_gone(
    backend: Kubernetes, cluster: FakeCluster
) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.prints(job, VALUE.encode() + b"\n")
    cluster.secrets.delete(job)
    assert printed(backend, handle) == "\n[20 bytes are not kept: the Secret that says what to hide in them is gone]\n"


def test_another_worker_hides_what_the_first_one_gave(backend: Kubernetes, cluster: FakeCluster) -> None:
    """Whatever has become of the value at home since."""
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.prints(job, VALUE.encode() + b"\n")
    other = Kubernetes(settings=backend.settings, clock=backend.clock, hand_over=giving(TOKEN="changed"))
    assert printed(other, handle) == "[secret]\n"


# whoever dies, or answers badly


CALLS = ["create_secret", "create", "change_secret"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_start_that_dies_at_any_step_is_gone_on_with(
    backend: Kubernetes, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, call: str, where: str
) -> None:
    work = make_secret_work()
    with monkeypatch.context() as patch:
        patch.setattr(Cluster, call, _dies(getattr(Cluster, call), where))
        with pytest.raises(Died):
            backend.start(work)
    later = Kubernetes(settings=backend.settings, clock=backend.clock, hand_over=giving(TOKEN="changed"))
    job = job_name(work.attempt_id)
    if later.poll(later.locate(work.attempt_id)).phase is Phase.ABSENT:  # as the next step of a worker does
        later.start(work)
    later.tidy(lambda _: False)
    cluster.running(job)
    assert later.poll(later.locate(work.attempt_id)).phase is Phase.RUNNING
    assert (cluster.created, cluster.secrets.made) == ([job], [job])
    assert cluster.secrets.there[job]["metadata"]["ownerReferences"][0]["uid"] == cluster.jobs[job]["metadata"]["uid"]
    first = (call, where) == ("create_secret", "before")
    assert cluster.secrets.value(job, "env.TOKEN") == ("changed" if first else VALUE)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("ends_by", ["stop", "tidy"])
def test_a_start_that_dies_and_is_given_up_leaves_no_secret(
    backend: Kubernetes, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, call: str, where: str, ends_by: str
) -> None:
    work = make_secret_work()
    with monkeypatch.context() as patch:
        patch.setattr(Cluster, call, _dies(getattr(Cluster, call), where))
        with pytest.raises(Died):
            backend.start(work)
    handle = backend.locate(work.attempt_id)
    if ends_by == "stop":
        backend.stop(handle, hard=True)
        cluster.ahead = timedelta(seconds=2)
        if backend.poll(handle).phase is Phase.ENDED:
            backend.clear(handle)
    backend.tidy(lambda _: True)
    assert cluster.secrets.there == {}
    assert cluster.begun == []


def _dies(real: Callable[..., Any], where: str) -> Callable[..., Any]:
    def dying(*args: Any) -> None:
        if where == "after":
            real(*args)
        raise Died

    return dying


def test_a_start_after_the_stop_leaves_none(backend: Kubernetes, cluster: FakeCluster) -> None:
    work = make_secret_work()
    backend.stop(backend.locate(work.attempt_id), hard=True)
    with pytest.raises(StartFailed, match="stopped before it could start"):
        backend.start(work)
    assert cluster.secrets.there == {}
    assert cluster.secrets.made == [job_name(work.attempt_id)]


@pytest.mark.parametrize("trouble", [500, 503, 429, "hangs up", "forgets to answer"])
def test_a_server_that_answers_badly_gets_one_of_each(
    backend: Kubernetes, server: FakeServer, cluster: FakeCluster, trouble: int | str
) -> None:
    server.troubles += [("POST", trouble), ("POST", trouble), ("PATCH", trouble)]
    _, job, _ = start(backend)
    assert (cluster.created, cluster.secrets.made) == ([job], [job])
    assert "ownerReferences" in cluster.secrets.there[job]["metadata"]


def test_what_the_cluster_says_of_a_secret_that_it_refuses_is_not_repeated(
    backend: Kubernetes, server: FakeServer, cluster: FakeCluster
) -> None:
    server.troubles.append(("POST", 422))
    with pytest.raises(StartFailed) as refused:
        start(backend)
    assert str(refused.value) == "the cluster does not take the job's secrets (422)"
    assert cluster.jobs == {}


def test_more_than_a_secret_holds_is_refused(backend: Kubernetes, cluster: FakeCluster) -> None:
    large = {f"V{number}": "x" * 32_000 for number in range(40)}
    given = Kubernetes(settings=backend.settings, clock=backend.clock, hand_over=giving(**large))
    with pytest.raises(JobRefused, match="bytes, and a Secret of a cluster holds 1 MiB"):
        given.start(make_gpu_work(secrets=dict.fromkeys(large, "large")))
    assert cluster.jobs == {}


def test_a_value_that_is_gone_refuses_the_job_and_makes_nothing(backend: Kubernetes, cluster: FakeCluster) -> None:
    def gone(_: AttemptWork) -> HandedOver:
        raise JobRefused("the secret house was deleted since the job was submitted")

    with pytest.raises(JobRefused, match="was deleted"):
        Kubernetes(settings=backend.settings, clock=backend.clock, hand_over=gone).start(make_secret_work())
    assert (cluster.jobs, cluster.secrets.there) == ({}, {})


def test_tidying_asks_for_no_value_and_leaves_what_is_not_ours(
    backend: Kubernetes, server: FakeServer, cluster: FakeCluster
) -> None:
    ended, job, _ = start(backend)
    _, living, _ = start(backend)
    labels = {"app.kubernetes.io/managed-by": "pythia"}
    for name, attempt in (("else", str(uuid.uuid4())), ("other", "x"), ("third", None)):
        more = {} if attempt is None else {"pythia-scheduler/attempt": attempt}
        metadata = {"name": name, "labels": {**labels, **more}}
        cluster.secrets.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    server.requests.clear()
    backend.tidy(lambda attempt_id: attempt_id == ended.attempt_id)
    assert set(cluster.secrets.there) == {living, "else", "other", "third"}
    assert not [
        request for request in server.requests if request.startswith(f"GET /api/v1/namespaces/ml/secrets/{job}")
    ]


def test_who_may_not_delete_secrets_has_made_none(backend: Kubernetes, server: FakeServer) -> None:
    server.troubles.append(("DELETE", 403))
    backend.stop(backend.locate(uuid.uuid4()), hard=True)


# Kueue


def test_output_of_a_job_whose_place_was_taken_is_still_hidden(backend: Kubernetes, cluster: FakeCluster) -> None:
    settings = backend.settings.model_copy(update={"kubernetes_queue": "gpus"})
    queued = Kubernetes(settings=settings, clock=backend.clock, hand_over=backend.hand_over)
    _, job, handle = start(queued)
    cluster.kueue(job, admits=True)
    cluster.running(job)
    assert queued.poll(handle).phase is Phase.RUNNING
    cluster.prints(job, VALUE.encode() + b"\n")
    cluster.kueue(job, admits=False)
    queued.poll(handle)
    assert printed(queued, handle) == "[secret]\n", "its pod is in its grace, its Job is another"
    cluster.ends(job, 143)
    assert outcome(queued.poll(handle))[0] is Outcome.PREEMPTED
    queued.clear(handle)
    assert cluster.secrets.there == {}
