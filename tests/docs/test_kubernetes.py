"""What the page on Kubernetes shows is true: the rights suffice, none is too many, settings exist, examples parse."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from predictor.hardware import load_gpu_types
from scheduler.settings import Settings
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import serving
from tests.support.kubernetes_schema import complaint
from tests.workers.backends.kubernetes.conftest import make_settings
from tests.workers.backends.kubernetes.test_manifest import make_gpu_work
from workers.backends.handed_over import HandedOver
from workers.backends.kubernetes.backend import Kubernetes
from workers.backends.kubernetes.cluster import connect
from workers.backends.kubernetes.names import job_name

PAGE = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
ROLES = [
    role for block in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL) for role in yaml.safe_load_all(block)
]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role["kind"])
def test_the_roles_are_some(role: dict[str, object]) -> None:
    assert complaint(role) is None


def test_the_worker_may_do_what_it_does_and_nothing_else(tmp_path: Path) -> None:
    cluster = FakeCluster()
    with serving(cluster) as server:
        settings = make_settings(server, tmp_path, kubernetes_queue="gpus")
        handed = HandedOver(secrets={"TOKEN": "of the house"})
        backend = Kubernetes(settings=settings, clock=cluster.now, hand_over=lambda _: handed)
        work = make_gpu_work(secrets={"TOKEN": "house"})
        handle, name = backend.start(work), job_name(work.attempt_id)
        cluster.kueue(name, admits=True)
        cluster.running(name)
        cluster.prints(name, b"a line\n")
        backend.poll(handle)
        backend.collect(handle, {}, ended=False)
        backend.list()
        backend.stop(handle, hard=True)
        waits = backend.start(make_gpu_work())
        backend.stop(waits, hard=True)
        cluster.ahead = timedelta(days=2)
        backend.tidy(lambda _: True)
        connect(settings).nodes()
        done = {_right(*request.split()) for request in server.requests}
    given = {
        (resource, verb)
        for role in ROLES
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert done == given


def _right(method: str, path: str) -> tuple[str, str]:
    """The right that a request needs."""
    parts = path.strip("/").split("/")
    where = [part for part in parts if part in ("jobs", "pods", "nodes", "secrets", "log")]
    resource = "pods/log" if "log" in where else where[0]
    named = parts[-1] not in ("jobs", "pods", "nodes", "secrets")
    verbs = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "GET": "get" if named else "list"}
    return resource, verbs[method]


def test_every_setting_of_the_page_exists_and_every_setting_is_on_the_page() -> None:
    named = set(re.findall(r"PYTHIA_(KUBERNETES_[A-Z_]+)", PAGE))
    assert {name.lower() for name in named} == {
        name for name in Settings.model_fields if name.startswith("kubernetes_")
    }


def test_the_names_of_cards_are_read_as_shown() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    settings = Settings(kubernetes_gpus=json.loads(shown))
    for gpu_type in settings.kubernetes_gpus:
        assert load_gpu_types().get(gpu_type).name == gpu_type
