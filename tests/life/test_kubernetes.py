"""The life of a job on a cluster through the real parts: relay, broker, Celery worker, client, API server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from scheduler.domain.states import JobState, Outcome
from scheduler.services.import_offers import put_offers
from scheduler.services.secrets import put_secret
from scheduler.services.vault import Vault, new_key
from scheduler.storage.tables import DEFAULT_TENANT
from tests.life.conftest import Life, kill
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import serving
from tests.support.fake_kubelet import kubelet
from tests.support.offers import make_offer


def test_a_job_outlives_its_worker_on_a_cluster_and_runs_once(life: Life, tmp_path: Path) -> None:
    cluster = FakeCluster(clock=lambda: datetime.now(UTC))
    with serving(cluster) as server, kubelet(cluster):
        config = tmp_path / "kubeconfig"
        config.write_text(server.kubeconfig())
        life.settings = life.settings.model_copy(
            update={"kubernetes_namespace": cluster.namespace, "kubernetes_config": config}
        )
        new_key(life.settings.secrets_key_path)
        vault = Vault(life.settings.secrets_key_path)
        put_secret(life.engine, vault, DEFAULT_TENANT, "house", "s3cr3t", now=datetime.now(UTC))
        put_offers(life.engine, [make_offer("L4", 1.0, provider="kubernetes", backend="kubernetes")])
        worker = life.start_worker()
        started, go_on = tmp_path / "started", tmp_path / "go_on"
        script = f"echo begun >> {started}; until test -e {go_on}; do sleep 0.05; done; echo through $TOKEN"
        run = {"command": ["sh", "-c", script], "image": "acme/train:1", "secrets": {"TOKEN": "house"}}
        job_id = life.submit([], run=run, constraints={"providers": ["kubernetes"]})
        life.until(started.exists)
        kill(worker)
        go_on.touch()
        life.start_worker()
        job = life.over(job_id)
        assert job.state is JobState.COMPLETED, job.reason
        assert started.read_text() == "begun\n"
        assert len(cluster.created) == 1
        assert [attempt.outcome for attempt in life.attempts(job_id)] == [Outcome.COMPLETED]
        assert life.printed(job_id) == "through [secret]\n"
        life.until(lambda: life.scalar("SELECT count(*) FROM machines WHERE state <> 'gone'") == 0)
        life.until(lambda: cluster.secrets.there == {})
        assert len(cluster.secrets.made) == 1
        assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0
