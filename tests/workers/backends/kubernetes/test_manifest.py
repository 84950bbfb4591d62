"""The Job that is written for an attempt: accepted by every Kubernetes we speak of, and exactly what was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.spec import RunSpec
from scheduler.settings import ClusterGpu
from tests.support.fake_kubelet import expand
from tests.support.kubernetes_schema import complaint
from tests.workers.works import FORECAST, make_machine, make_work
from workers.backends.base import StartFailed
from workers.backends.kubernetes.cards import load_cards
from workers.backends.kubernetes.manifest import forbidden_job, job_of
from workers.backends.kubernetes.staged import literal

CARDS = load_cards({"A100-80GB-SXM/7": ClusterGpu(resource="nvidia.com/mig-1g.10gb")})


def make_gpu_work(gpu_type: str = "H100-SXM", *, gpu_count: int = 2, **changes: Any) -> AttemptWork:
    changes = {"image": "ghcr.io/acme/train:1", "forecast": FORECAST, "machine": make_machine(), **changes}
    work = make_work(changes.pop("command", ["python", "train.py"]), **changes)
    return replace(work, backend="kubernetes", gpu_type=gpu_type, gpu_count=gpu_count)


def written(work: AttemptWork, queue: str | None = None) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(msgspec.json.encode(job_of(work, CARDS.get(work.gpu_type), queue=queue)))
    return body


@pytest.mark.parametrize("version", ["1.29", "1.31", "1.34", "1.37"])
@pytest.mark.parametrize("queue", [None, "gpus"])
@pytest.mark.parametrize("gpu_type", ["H100-SXM", "A100-80GB-SXM/7", "CPU"])
def test_a_job_is_one_by_the_published_schema(version: str, queue: str | None, gpu_type: str) -> None:
    work = make_gpu_work(gpu_type, max_runtime_s=600.5, env={"A": "1"}, working_dir="/srv")
    assert complaint(written(work, queue), version) is None


def test_the_schema_would_object() -> None:
    body = written(make_gpu_work())
    body["spec"]["backofLimit"] = 0
    assert "backofLimit" in (complaint(body) or "")


def test_a_job_that_forbids_is_one_too() -> None:
    work = make_gpu_work()
    body = json.loads(msgspec.json.encode(forbidden_job(work.attempt_id, {"a": "b"})))
    assert complaint(body) is None
    assert body["spec"]["parallelism"] == 0, "no pod is ever made for it"


def test_it_is_tried_once_and_remembers_that_its_pod_was_taken() -> None:
    spec = written(make_gpu_work())["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert spec["podFailurePolicy"]["rules"][0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert spec["ttlSecondsAfterFinished"] > 3 * 86_400, "a worker that is away over a weekend still hears of the end"


def test_cards_are_asked_for_by_resource_and_by_any_name_of_their_product() -> None:
    pod = written(make_gpu_work("A100-80GB-SXM", gpu_count=4))["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": "4"}}
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"] == [
        {
            "key": "nvidia.com/gpu.product", "operator": "In",
            "values": ["NVIDIA-A100-SXM4-80GB", "A100-SXM4-80GB"],
        }
    ]  # fmt: skip
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_part_of_a_card_is_the_resource_that_the_installation_names() -> None:
    pod = written(make_gpu_work("A100-80GB-SXM/7", gpu_count=1))["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"limits": {"nvidia.com/mig-1g.10gb": "1"}}
    assert "affinity" not in pod
    assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu"], "the taint is the whole card's"


def test_a_job_on_the_cpu_sees_no_card() -> None:
    container = written(make_gpu_work("CPU"))["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "2"}}
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in container["env"]


def test_a_queue_lets_the_job_begin() -> None:
    body = written(make_gpu_work(), "gpus")
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert body["spec"]["suspend"] is True
    assert "suspend" not in written(make_gpu_work())["spec"]


def test_labels_say_whose_it_is() -> None:
    work = make_gpu_work()
    labels = written(work)["metadata"]["labels"]
    assert labels["pythia-scheduler/attempt"] == str(work.attempt_id)
    assert labels["pythia-scheduler/job"] == str(work.job_id)
    assert labels["pythia-scheduler/tenant"] == str(work.tenant_id)
    assert written(work)["spec"]["template"]["metadata"]["labels"].items() >= labels.items()


def test_the_nodes_own_limit_lets_the_image_be_pulled() -> None:
    pod = written(make_gpu_work(max_runtime_s=600.5))["spec"]["template"]["spec"]
    assert pod["activeDeadlineSeconds"] == 601 + 1800
    assert "activeDeadlineSeconds" not in written(make_gpu_work())["spec"]["template"]["spec"]


def test_a_tenants_pod_has_no_way_to_the_cluster() -> None:
    pod = written(make_gpu_work())["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


@given(st.text(alphabet="$()AB \n", max_size=12))
def test_no_text_is_changed_on_its_way_to_the_process(text: str) -> None:
    assert expand(literal(text), {"A": "changed", "B": "changed", "AB": "changed"}) == text


def test_the_command_is_a_list_and_ours_win_over_the_specs_variables() -> None:
    work = make_gpu_work(command=["sh", "-c", "echo $(HOME) $$"], env={"PYTHIA_JOB_ID": "forged", "KEY": "$(A)"})
    container = written(work)["spec"]["template"]["spec"]["containers"][0]
    assert [expand(part, {"HOME": "x"}) for part in container["command"]] == ["sh", "-c", "echo $(HOME) $$"]
    env = {one["name"]: expand(one["value"], {"A": "x"}) for one in container["env"]}
    assert env["PYTHIA_JOB_ID"] == str(work.job_id)
    assert env["KEY"] == "$(A)"
    assert env["PYTHIA_REPORT_FILE"] == container["terminationMessagePath"]


def test_without_an_image_nothing_is_written() -> None:
    with pytest.raises(StartFailed, match=r"no run\.image"):
        written(make_gpu_work(image=None))


class RunWithMore(RunSpec):
    """A run of which more can be asked than a command."""

    volumes: list[str] = Field(default_factory=list)


def test_what_a_job_cannot_have_is_refused_and_not_left_out() -> None:
    work = make_gpu_work()
    asked = work.spec.model_copy(update={"run": RunWithMore(command=["true"], image="a", volumes=["data"])})
    with pytest.raises(StartFailed, match=r"cannot have run\.volumes"):
        written(replace(work, spec=asked))
    empty = work.spec.model_copy(update={"run": RunWithMore(command=["true"], image="a", volumes=[])})
    assert written(replace(work, spec=empty))


def test_a_card_that_the_cluster_has_no_name_for_is_refused() -> None:
    with pytest.raises(StartFailed, match="what a cluster calls MI300X is not known"):
        written(make_gpu_work("MI300X"))
