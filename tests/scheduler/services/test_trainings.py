"""Trainings are asked for once, done once, remembered with what came of them, and cannot be led by poison."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from predictor.architectures.catalogue import load_models
from predictor.forecast import Question
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.model import load_default_predictor
from predictor.workloads.spec import parse_workload
from scheduler.dispatch import TRAIN
from scheduler.domain.errors import Conflict
from scheduler.services import trainings
from scheduler.services.models import list_models, promote_model, roll_back, version_in_use
from scheduler.services.observations import import_observations
from scheduler.services.relay import Relay
from scheduler.services.trainings import LEASE, LEAST_NEW, UNCLAIMED
from scheduler.storage import models as store
from scheduler.storage import trainings as rows
from scheduler.storage.engine import transaction
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from scheduler.storage.trainings import TrainingView
from tests.support.dispatcher import RecordingDispatcher

NOW = datetime(2026, 9, 1, tzinfo=UTC)
GPUS, MODELS = load_gpu_types(), load_models()
SLOW = 1.4
"""This site's machines take that much longer than the shipped bundle says."""


def run(number: int, *, slow: float = SLOW, source: str = "cluster") -> dict[str, Any]:
    """A measured fine-tuning of this site."""
    workload = {
        "type": "training", "model": "Qwen/Qwen2.5-1.5B", "method": "lora", "precision": "bf16", "num_steps": 100,
        "sequence_length": 128 + 64 * (number % 50), "micro_batch_size": 1 + number // 50, "engine": "transformers",
    }  # fmt: skip
    question = Question(workload=parse_workload(workload, MODELS), gpu=GPUS.get("A100-80GB-SXM"), layout=Layout())
    forecast = load_default_predictor().forecast([question])[0]
    assert forecast.runtime_s is not None
    return {
        "id": f"run-{number}", "source": source, "workload": workload, "gpu_type": "A100-80GB-SXM",
        "layout": {"gpu_count": 1}, "outcome": "completed", "simulated": False,
        "runtime_s": forecast.runtime_s.p50 * slow,
    }  # fmt: skip


def imported(engine: sa.Engine, found: Sequence[object], *, tenant: UUID = DEFAULT_TENANT, now: datetime = NOW) -> None:
    done = import_observations(engine, GPUS, MODELS, found, tenant_id=tenant, now=now)
    assert not done.refused


def done(engine: sa.Engine, now: datetime = NOW) -> TrainingView:
    asked = trainings.request_training(engine, now=now)
    assert trainings.run_training(engine, asked.id, GPUS, MODELS, git_revision="test", clock=lambda: now)
    return trainings.get_training(engine, asked.id)


def another_tenant(engine: sa.Engine) -> UUID:
    tenant = new_id()
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO tenants (id, name) VALUES (:id, 'other')"), {"id": tenant})
    return tenant


def test_a_training_learns_the_site_and_keeps_what_it_read(engine: sa.Engine) -> None:
    imported(engine, [run(number) for number in range(60)])
    imported(engine, [run(number) for number in range(60, 80)], now=NOW + timedelta(days=1))
    found = done(engine, NOW + timedelta(days=2))
    assert (found.state, found.promoted, found.read, found.quarantined) == ("ended", True, 80, 0)
    assert (found.window_from, found.window_to) == (NOW, NOW + timedelta(days=1))
    assert (found.learned_from, found.held_out) == (80, 80)
    (kept,) = list_models(engine)
    assert kept.metrics["base"] == load_default_predictor().version
    assert kept.metrics["held_out"]["quantity"]["training step time"]["error"] < 0.1
    assert kept.comparison is not None
    assert kept.comparison["champion_error"] == pytest.approx(0.336, abs=0.01)  # log 1.4


def test_one_training_is_open_at_a_time_and_is_done_once(engine: sa.Engine) -> None:
    asked = trainings.request_training(engine, now=NOW)
    assert trainings.request_training(engine, now=NOW).id == asked.id
    with transaction(engine) as session:
        assert rows.claim(session, asked.id, now=NOW, until=NOW + LEASE)
    assert not trainings.run_training(engine, asked.id, GPUS, MODELS, git_revision="test", clock=lambda: NOW)
    with engine.begin() as connection, pytest.raises(IntegrityError):
        connection.exec_driver_sql(
            "INSERT INTO trainings (id, scheduled, requested_at) VALUES (gen_random_uuid(), false, now())"
        )


def test_a_training_that_comes_to_nothing_says_why_and_frees_the_way(engine: sa.Engine) -> None:
    found = done(engine)
    assert (found.state, found.version, found.promoted) == ("ended", None, False)
    assert "too few" in str(found.verdict)
    assert trainings.request_training(engine, now=NOW).id != found.id


def test_a_training_that_fails_says_so_and_frees_the_way(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("scheduler.services.trainings.train_from_database", fail)
    asked = trainings.request_training(engine, now=NOW)
    with pytest.raises(RuntimeError):
        trainings.run_training(engine, asked.id, GPUS, MODELS, git_revision="test", clock=lambda: NOW)
    assert trainings.get_training(engine, asked.id).verdict == "the training failed (RuntimeError)"


def test_a_training_whose_process_died_is_taken_over(engine: sa.Engine) -> None:
    asked = trainings.request_training(engine, now=NOW)
    with transaction(engine) as session:
        assert rows.claim(session, asked.id, now=NOW, until=NOW + LEASE)
    assert not trainings.ring_training_if_due(engine, now=NOW + LEASE / 2, interval_s=0)
    later = NOW + LEASE + timedelta(seconds=1)
    assert trainings.ring_training_if_due(engine, now=later, interval_s=0)
    assert trainings.run_training(engine, asked.id, GPUS, MODELS, git_revision="test", clock=lambda: later)


def test_a_doorbell_that_was_lost_rings_again(engine: sa.Engine) -> None:
    trainings.request_training(engine, now=NOW)
    assert not trainings.ring_training_if_due(engine, now=NOW, interval_s=0)
    assert trainings.ring_training_if_due(engine, now=NOW + 2 * UNCLAIMED, interval_s=0)


def test_the_clock_asks_only_when_enough_was_measured_since(engine: sa.Engine) -> None:
    def asks(now: datetime, interval_s: float = 3600.0) -> bool:
        return trainings.ring_training_if_due(engine, now=now, interval_s=interval_s)

    imported(engine, [run(number) for number in range(LEAST_NEW - 1)])
    assert not asks(NOW)
    imported(engine, [run(LEAST_NEW)])
    assert not asks(NOW, interval_s=0)
    assert asks(NOW)
    assert not asks(NOW)  # it is open
    (open_one,) = trainings.list_trainings(engine)
    assert open_one.scheduled
    trainings.run_training(engine, open_one.id, GPUS, MODELS, git_revision="test", clock=lambda: NOW)
    assert not asks(NOW + timedelta(hours=2))  # nothing new
    imported(engine, [run(number) for number in range(30, 30 + LEAST_NEW)], now=NOW + timedelta(minutes=5))
    assert not asks(NOW + timedelta(minutes=10))  # too soon
    assert asks(NOW + timedelta(hours=2))


def test_the_relay_carries_it_to_a_queue_of_its_own(engine: sa.Engine) -> None:
    imported(engine, [run(number) for number in range(LEAST_NEW)])
    dispatcher = RecordingDispatcher()
    relay = Relay(engine=engine, dispatcher=dispatcher, retrain_interval_s=3600.0)
    for second in range(2):
        relay.step(NOW + timedelta(seconds=second))
    assert [(task, queue) for task, queue, _ in dispatcher.sent if task == TRAIN] == [(TRAIN, "train")]


def test_one_tenant_that_floods_with_poison_cannot_decide_for_the_others(engine: sa.Engine) -> None:
    imported(engine, [run(number) for number in range(80)])
    champion = done(engine)
    assert champion.promoted
    # within what one tenant may say alone, or it would not even be learned
    poison = [run(number, slow=SLOW / 2, source="flood") for number in range(400)]
    imported(engine, poison, tenant=another_tenant(engine))
    found = done(engine, NOW + timedelta(hours=1))
    assert (found.promoted, found.quarantined) == (False, 0)
    assert "worse for contributor" in str(found.verdict)
    assert version_in_use(engine) == champion.version


@pytest.mark.parametrize("honest", [20, 80])
def test_one_tenant_under_many_names_is_still_one(engine: sa.Engine, honest: int) -> None:
    """Each of forty made-up sources is small, and together they outnumber the site twenty to one."""
    imported(engine, [run(number) for number in range(honest)])
    assert done(engine).promoted
    in_use = version_in_use(engine)
    poison = [run(number, slow=SLOW * 6, source=f"flood {number % 40}") for number in range(400)]
    imported(engine, poison, tenant=another_tenant(engine))
    found = done(engine, NOW + timedelta(hours=1))
    assert not found.promoted, found.verdict
    assert version_in_use(engine) == in_use


def test_absurd_values_are_quarantined_and_do_not_keep_the_rest_from_teaching(engine: sa.Engine) -> None:
    imported(engine, [run(number) for number in range(80)])
    imported(engine, [run(100 + number, slow=200.0) for number in range(40)])
    found = done(engine)
    assert (found.promoted, found.quarantined, found.held_out) == (True, 40, 80)
    (kept,) = list_models(engine)
    assert kept.metrics["site"]["training_time"]["rows"] == 80


def test_a_batch_of_the_same_tenant_that_contradicts_its_own_past_is_kept_out(engine: sa.Engine) -> None:
    imported(engine, [run(number) for number in range(80)])
    champion = done(engine)
    imported(engine, [run(number, slow=SLOW / 6, source="batch") for number in range(300)])
    assert not done(engine, NOW + timedelta(hours=1)).promoted
    assert version_in_use(engine) == champion.version


def test_learning_nothing_new_leaves_the_champion_and_its_proof(engine: sa.Engine) -> None:
    imported(engine, [run(number) for number in range(80)])
    champion = done(engine)
    assert champion.promoted
    absurd = [run(number, slow=500.0) | {"id": f"absurd-{number}"} for number in range(80, 84)]
    imported(engine, absurd)
    again = done(engine, NOW + timedelta(hours=1))
    assert (again.version, again.promoted) == (None, False)
    assert "nothing new was learned" in str(again.verdict)
    (kept,) = list_models(engine)
    assert kept.champion
    assert kept.comparison is not None
    assert kept.comparison["better"]


def test_rolling_back_goes_one_version_back_each_time(engine: sa.Engine) -> None:
    with transaction(engine) as session:
        for age, version in enumerate(("first", "second")):
            store.add(session, version=version, bundle=b"", rows=0, metrics={}, comparison=None, now=NOW)
            store.promote(session, version, NOW + timedelta(hours=age))
    assert roll_back(engine) == "first"
    assert version_in_use(engine) == "first"
    assert roll_back(engine) == load_default_predictor().version
    with pytest.raises(Conflict, match="nothing before it"):
        roll_back(engine)
    with pytest.raises(Exception, match="never compared"):
        promote_model(engine, "second", now=NOW)
