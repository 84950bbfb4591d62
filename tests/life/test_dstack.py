"""The life of a job in a cloud through the real parts: relay, broker, Celery worker, client, and a server over HTTP."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from scheduler.domain.states import JobState, Outcome
from scheduler.services.import_offers import import_price_file
from tests.life.conftest import Life, kill
from tests.support.bad_days import TOKEN
from tests.support.fake_dstack import FakeDstack
from tests.support.fake_dstack_server import serving

CATALOGUE = """instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot
gpu-h100-sxm,eu-north1,23.6,128,1600,8,H100,80,False
"""


def test_a_job_outlives_its_worker_in_a_cloud_and_runs_once(life: Life, tmp_path: Path) -> None:
    cloud = FakeDstack()
    with serving(cloud) as server:
        life.settings = life.settings.model_copy(update={"dstack_url": server.url, "dstack_token": TOKEN})
        catalogue = tmp_path / "nebius.csv"
        catalogue.write_text(CATALOGUE)
        stored = import_price_file(
            life.engine, catalogue, now=datetime(2026, 11, 1, tzinfo=UTC), backend="dstack", provider="nebius",
            price_date=date(2026, 11, 1),
        ).stored  # fmt: skip
        assert stored == 1
        worker = life.start_worker()
        run = {"command": ["python", "train.py"], "image": "acme/train:1"}
        job_id = life.submit([], run=run, constraints={"providers": ["nebius"]})
        life.until(cloud.names)
        kill(worker)
        (name,) = cloud.names()
        asked = cloud.run(name)["run_spec"]["configuration"]
        assert asked["resources"]["gpu"] | {"memory": None} == {
            "vendor": "nvidia", "name": "H100", "memory": None, "count": 8,
        }  # fmt: skip
        assert (asked["backends"], asked["regions"], asked["max_price"]) == (["nebius"], ["eu-north1"], 23.6)
        cloud.running(name)
        cloud.prints(name, b"through\n")
        cloud.ends(name, 0)
        life.start_worker()
        job = life.over(job_id)
        assert job.state is JobState.COMPLETED, job.reason
        assert cloud.names() == [name]
        assert [attempt.outcome for attempt in life.attempts(job_id)] == [Outcome.COMPLETED]
        assert life.printed(job_id) == "through\n"
        life.until(lambda: life.scalar("SELECT count(*) FROM machines WHERE state <> 'gone'") == 0)
        assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0
