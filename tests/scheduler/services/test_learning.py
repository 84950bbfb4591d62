"""What was measured is kept, taught and put into use; what was drawn never is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from predictor.architectures.catalogue import load_models
from predictor.errors import NotEnoughData
from predictor.forecast import Question
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.model import load_default_predictor
from predictor.telemetry import read_observation
from predictor.workload import CustomWorkload
from scheduler.domain.errors import NotBetter, NotFound
from scheduler.domain.states import Outcome
from scheduler.services.champion import LOOK_EVERY_S, ChampionPredictor
from scheduler.services.judging import PARTS, Seen, split
from scheduler.services.models import list_models, promote_model, version_in_use
from scheduler.services.observations import Imported, import_observations, list_observations
from scheduler.services.train import Trained, train_from_database
from scheduler.storage import models as store
from scheduler.storage.engine import transaction
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_custom_spec, make_spec

NOW = datetime(2026, 9, 1, tzinfo=UTC)
GPUS, MODELS = load_gpu_types(), load_models()


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A job of a kind whose run time is about three seconds for each of its pages, up to a tenth more or less."""
    pages = 10 + 7 * number
    luck = 1 + 0.1 * math.sin(12.9898 * number)
    return {
        "id": f"row-{number}", "source": "elsewhere", "gpu_type": "CPU", "layout": {"gpu_count": 1},
        "workload": {"type": "custom", "kind": "book", "features": {"pages": pages}}, "outcome": "completed",
        "runtime_s": 3.0 * pages * luck, "simulated": False,
    } | changes  # fmt: skip


def imported(engine: sa.Engine, rows: Sequence[object]) -> Imported:
    return import_observations(engine, GPUS, MODELS, rows, tenant_id=DEFAULT_TENANT, now=NOW)


def trained(engine: sa.Engine) -> Trained:
    return train_from_database(engine, GPUS, MODELS, git_revision="test", now=NOW)


def test_each_bad_row_is_reported_with_its_place_and_the_others_go_in(engine: sa.Engine) -> None:
    rows = [row(0), row(1, gpu_type="H999"), row(2, runtime_s=-1), "no row", row(3), row(4, simulated=True)]
    found = imported(engine, rows)
    assert (found.imported, found.known) == (2, 0)
    assert [(one.index, one.id) for one in found.refused] == [
        (1, "row-1"), (2, "row-2"), (3, None), (5, "row-4"),
    ]  # fmt: skip
    assert "H999" in found.refused[0].error
    assert found.refused[3].code == "simulated_observation"
    assert {one.source_id for one in list_observations(engine, DEFAULT_TENANT)} == {"row-0", "row-3"}


def test_importing_twice_stores_once(engine: sa.Engine) -> None:
    imported(engine, [row(0), row(1)])
    again = imported(engine, [row(0), row(1), row(2)])
    assert (again.imported, again.known) == (1, 2)


def test_nobody_can_import_in_our_name(engine: sa.Engine) -> None:
    assert imported(engine, [row(0, source="pythia")]).refused[0].code == "unusable_row"


def test_a_real_attempt_becomes_an_observation_that_can_be_read_again(installation: Installation) -> None:
    work = installation.run(installation.submit(make_spec()).job.id)
    installation.finish(
        work, Outcome.COMPLETED, runtime_s=930.0, peak_vram_gib=21.5, vram_metric="driver", peak_rss_gib=3.0
    )
    (kept,) = list_observations(installation.engine, DEFAULT_TENANT)
    assert (kept.attempt_id, kept.kind) == (work.attempt_id, "training")
    observation = read_observation(kept.body, MODELS, GPUS)
    assert observation.peak_vram_gib == 21.5
    assert observation.step_time_s == 9.0  # 930 s less 30 s of start-up, for the spec's 100 steps


def test_out_of_memory_is_kept_as_a_lower_bound(installation: Installation) -> None:
    work = installation.run(installation.submit(make_spec()).job.id)
    installation.finish(work, Outcome.OUT_OF_MEMORY, peak_vram_gib=44.0, runtime_s=5.0)
    (kept,) = list_observations(installation.engine, DEFAULT_TENANT)
    observation = read_observation(kept.body, MODELS, GPUS)
    assert (observation.peak_vram_gib, observation.vram_lower_bound_gib) == (None, work.usable_vram_gib)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.LOST])
def test_what_did_not_run_to_its_end_teaches_nothing(installation: Installation, outcome: Outcome) -> None:
    work = installation.run(installation.submit(make_spec()).job.id)
    installation.finish(work, outcome, peak_vram_gib=10.0, runtime_s=5.0)
    assert list_observations(installation.engine, DEFAULT_TENANT) == []


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.OUT_OF_MEMORY])
def test_a_simulated_attempt_teaches_nothing_and_marks_its_job_for_good(
    installation: Installation, outcome: Outcome
) -> None:
    job_id = installation.submit(make_custom_spec()).job.id
    installation.finish(installation.run(job_id), outcome, peak_vram_gib=10.0, runtime_s=5.0, simulated=True)
    assert list_observations(installation.engine, DEFAULT_TENANT) == []
    assert installation.job(job_id).simulated


def test_the_database_itself_refuses_a_simulated_observation(engine: sa.Engine) -> None:
    imported(engine, [row(0)])
    with engine.begin() as connection, pytest.raises(IntegrityError, match="ck_observations_real"):
        connection.exec_driver_sql("UPDATE observations SET simulated = true")


def test_observations_of_another_tenant_are_not_seen(engine: sa.Engine) -> None:
    imported(engine, [row(0)])
    assert list_observations(engine, new_id()) == []


def test_a_challenger_that_is_better_is_promoted_and_followed_without_a_restart(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = ChampionPredictor(engine)
    assert follower.version == load_default_predictor().version
    imported(engine, [row(number) for number in range(80)])

    found = trained(engine)

    assert found.promoted
    assert found.model.champion
    assert version_in_use(engine) == found.model.version
    clock = [0.0]
    monkeypatch.setattr("scheduler.services.champion.time.monotonic", lambda: clock[0])
    clock[0] = 1e9 + LOOK_EVERY_S
    workload = CustomWorkload(kind="book", features=(("pages", 200.0),))
    (forecast,) = follower.forecast([Question(workload=workload, gpu=GPUS.get("CPU"), layout=Layout())])
    assert forecast.model_version == found.model.version
    assert forecast.runtime_s is not None
    assert forecast.runtime_s.p50 == pytest.approx(600.0, rel=0.1)


def test_a_challenger_that_is_no_better_is_kept_but_not_promoted(engine: sa.Engine) -> None:
    imported(engine, [row(number) for number in range(80)])
    champion = trained(engine).model.version
    # rows that are wrong by a factor of four lead the challenger astray
    imported(engine, [row(number, id=f"wrong-{number}", runtime_s=12.0 * (10 + 7 * number)) for number in range(60)])
    challenger = trained(engine)
    assert not challenger.promoted
    assert version_in_use(engine) == champion
    assert [one.version for one in list_models(engine) if not one.champion] == [challenger.model.version]
    with pytest.raises(NotBetter, match="not shown to be better"):
        promote_model(engine, challenger.model.version, now=NOW)


def test_a_comparison_with_a_champion_that_is_gone_proves_nothing(engine: sa.Engine) -> None:
    with transaction(engine) as session:
        comparison = {"better": True, "champion": "somebody", "verdict": "better"}
        store.add(session, version="v", bundle=b"", rows=0, metrics={}, comparison=comparison, now=NOW)
        store.add(session, version="w", bundle=b"", rows=0, metrics={}, comparison=None, now=NOW)
    for version in ("v", "w"):
        with pytest.raises(NotBetter, match="train again"):
            promote_model(engine, version, now=NOW)
    with pytest.raises(NotFound):
        promote_model(engine, "nothing", now=NOW)


def test_an_earlier_champion_may_come_back(engine: sa.Engine) -> None:
    with transaction(engine) as session:
        for version in ("old", "new"):
            store.add(session, version=version, bundle=b"", rows=0, metrics={}, comparison=None, now=NOW)
            store.promote(session, version, NOW)
    assert promote_model(engine, "old", now=NOW).champion
    assert [one.version for one in list_models(engine) if one.champion] == ["old"]


def test_a_champion_that_cannot_be_read_any_more_leaves_the_shipped_bundle_and_can_be_replaced(
    engine: sa.Engine,
) -> None:
    with transaction(engine) as session:
        store.add(session, version="old", bundle=b"damaged", rows=0, metrics={}, comparison=None, now=NOW)
        store.promote(session, "old", NOW)
    assert ChampionPredictor(engine).version == load_default_predictor().version
    imported(engine, [row(number) for number in range(80)])
    assert trained(engine).promoted


def test_too_little_to_learn_from_is_said(engine: sa.Engine) -> None:
    with pytest.raises(NotEnoughData, match="too few"):
        trained(engine)


def test_the_runs_of_a_job_go_to_as_many_parts_as_there_are() -> None:
    seen = [
        Seen(
            read_observation(row(number, id=f"{number}-{again}"), MODELS, GPUS),
            "us/here",
            NOW,
            UUID(int=10 * number + again),
        )
        for number in range(7)
        for again in range(PARTS)
    ]
    parts = split(seen, PARTS)
    assert sorted(one.id for part in parts for one in part) == sorted(one.id for one in seen)
    for part in parts:
        assert len({one.observation.configuration for one in part}) == 7
    assert split(seen[:2], PARTS) == [[seen[0]], [seen[1]]]
    assert split([], PARTS) == []


def test_a_version_that_comes_again_takes_what_was_found_anew(engine: sa.Engine) -> None:
    with transaction(engine) as session:
        for count in (1, 2):
            proof = {"better": False, "champion": "c", "verdict": f"{count}"}
            store.add(
                session, version="v", bundle=b"", rows=count, metrics={"quarantined": count}, comparison=proof, now=NOW
            )
    (kept,) = list_models(engine)
    assert (kept.rows, kept.metrics) == (2, {"quarantined": 2})
    assert kept.comparison is not None
    assert kept.comparison["verdict"] == "2"
