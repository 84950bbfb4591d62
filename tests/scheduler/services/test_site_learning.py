"""A site learns from few jobs, from one job of many nights, and from every job; and from nobody's poison."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from predictor.bundle import from_blob
from predictor.forecast import Question
from predictor.layout import Layout
from predictor.model import Predictor, load_default_predictor
from predictor.workloads.spec import parse_workload
from scheduler.services.models import version_in_use
from scheduler.storage import models as store
from scheduler.storage.engine import reading
from tests.scheduler.services.test_trainings import GPUS, MODELS, another_tenant, done, imported, run

CARD = "A100-80GB-SXM"


def seconds(workload: Mapping[str, Any], engine: sa.Engine | None = None) -> float:
    """What the version in use, or else the shipped one, says of a job."""
    predictor = load_default_predictor()
    if engine is not None:
        with reading(engine) as session:
            version = store.champion_version(session)
            if version is not None:
                predictor = Predictor(from_blob(store.bundle(session, version)))
    question = Question(workload=parse_workload(dict(workload), MODELS), gpu=GPUS.get(CARD), layout=Layout())
    (forecast,) = predictor.forecast([question])
    assert forecast.runtime_s is not None
    return forecast.runtime_s.p50


def ratio(workload: Mapping[str, Any], engine: sa.Engine) -> float:
    """How far the site has moved a forecast."""
    return seconds(workload, engine) / seconds(workload)


def nights(number: int, count: int, slow: float) -> list[dict[str, Any]]:
    """One job again and again."""
    one = run(number, slow=slow)
    return [one | {"id": f"night-{number}-{night}"} for night in range(count)]


def serving(number: int, slow: float) -> dict[str, Any]:
    workload = {
        "type": "inference", "model": "meta-llama/Llama-3.1-8B", "precision": "bf16", "engine": "vllm",
        "num_requests": 500 + 10 * number, "input_length": 300 + 20 * number, "output_length": 200,
    }  # fmt: skip
    return {
        "id": f"serving-{number}", "source": "flood", "workload": workload, "gpu_type": CARD,
        "layout": {"gpu_count": 1}, "outcome": "completed", "simulated": False, "runtime_s": slow * seconds(workload),
    }  # fmt: skip


def vision(number: int, took_s: float) -> dict[str, Any]:
    workload = {
        "type": "custom", "kind": "vision-train", "features": {"img_size": 200 + number, "batch_size": 32 + number},
    }  # fmt: skip
    return {
        "id": f"vision-{number}", "source": "flood", "workload": workload, "gpu_type": CARD,
        "layout": {"gpu_count": 1}, "outcome": "completed", "simulated": False, "runtime_s": took_s,
    }  # fmt: skip


def test_five_jobs_that_take_twice_as_long_are_enough(engine: sa.Engine) -> None:
    imported(engine, [run(3 * number, slow=2.0) for number in range(4)])
    found = done(engine)
    assert "4 observations are too few" in str(found.verdict)
    imported(engine, [run(12, slow=2.0)])
    assert done(engine).promoted
    assert ratio(run(7)["workload"], engine) == pytest.approx(2.0, rel=0.05)


def test_one_job_of_five_nights_is_enough_and_of_thirty_is_forecast_right(engine: sa.Engine) -> None:
    job = run(3)["workload"]
    imported(engine, nights(3, 5, 2.0))
    assert done(engine).promoted
    assert ratio(job, engine) > 2.0**0.5
    imported(engine, nights(3, 30, 2.0))
    assert done(engine).promoted
    assert ratio(job, engine) == pytest.approx(2.0, rel=0.06)


def test_every_job_teaches(engine: sa.Engine) -> None:
    """None is kept from the version in use, whatever the others do."""
    odd = run(33)
    odd["workload"] |= {"model": "meta-llama/Llama-3.1-8B"}
    odd["runtime_s"] = 3.0 * seconds(odd["workload"])
    imported(engine, [run(number) for number in range(40)])
    imported(engine, [odd | {"id": f"odd-{night}"} for night in range(30)])
    assert done(engine).promoted
    assert ratio(odd["workload"], engine) == pytest.approx(3.0, rel=0.05)
    assert ratio(run(7)["workload"], engine) == pytest.approx(1.4, rel=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_is_not_promoted(engine: sa.Engine, seed: int) -> None:
    draw = random.Random(seed)
    imported(engine, [run(2 * number, slow=draw.lognormvariate(0.0, 0.2)) for number in range(12)])
    assert not done(engine).promoted
    assert version_in_use(engine) == load_default_predictor().version


def test_one_tenants_kind_does_not_become_everybodys(engine: sa.Engine) -> None:
    asked = vision(24, 1.0)["workload"]
    imported(engine, [run(number, slow=1.3) for number in range(20)])
    imported(engine, [vision(number, 1e6) for number in range(60)], tenant=another_tenant(engine))
    found = done(engine)
    assert (found.promoted, found.quarantined) == (True, 60)
    assert ratio(asked, engine) == pytest.approx(1.0)
    assert ratio(run(7)["workload"], engine) == pytest.approx(1.3, rel=0.05)


def test_one_tenant_does_not_decide_a_task_in_which_the_others_have_no_jobs(engine: sa.Engine) -> None:
    imported(engine, [run(number, slow=1.0) for number in range(20)])
    imported(engine, [serving(number, 8.0) for number in range(40)], tenant=another_tenant(engine))
    found = done(engine)
    assert (found.promoted, found.quarantined) == (False, 40)


@pytest.mark.parametrize("honest", [2, 4])
def test_one_tenant_does_not_decide_for_another_that_has_few_jobs(engine: sa.Engine, honest: int) -> None:
    imported(engine, [run(number, slow=1.0) for number in range(honest)])
    flood = [run(10 + number, slow=8.0, source="flood") for number in range(40)]
    imported(engine, flood, tenant=another_tenant(engine))
    found = done(engine)
    assert not found.promoted
    assert ratio(run(0)["workload"], engine) == 1.0


def test_two_tenants_who_agree_are_believed(engine: sa.Engine) -> None:
    imported(engine, [run(number, slow=3.0) for number in range(8)])
    imported(engine, [run(10 + number, slow=3.0) for number in range(8)], tenant=another_tenant(engine))
    found = done(engine)
    assert (found.promoted, found.quarantined) == (True, 0)
    assert ratio(run(5)["workload"], engine) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("idle", [True, False])
def test_a_tenant_with_nobody_beside_it_is_believed_alone(engine: sa.Engine, idle: bool) -> None:
    """The default tenant is always there; only its jobs or observations make it somebody."""
    if not idle:
        imported(engine, [run(40 + number, slow=1.0) for number in range(6)])
    imported(engine, [run(number, slow=3.0) for number in range(8)], tenant=another_tenant(engine))
    found = done(engine)
    assert (found.promoted, found.quarantined) == ((True, 0) if idle else (False, 8))
