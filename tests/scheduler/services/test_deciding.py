"""Decisions are remembered only as long as they would be taken again, and what they share is stored once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
import sqlalchemy.orm

from predictor.errors import PythiaError
from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import DecisionKind, JobState
from scheduler.services import jobs
from scheduler.services.deciding import decide_first
from scheduler.services.describe import describe
from scheduler.services.import_offers import list_offers
from scheduler.services.inventory import change_offer
from scheduler.services.knowledge import Knowledge, know
from scheduler.services.outlook import look_ahead
from scheduler.services.submit import Submitted, submit_job
from scheduler.services.submit_batch import Item, submit_jobs
from scheduler.services.tenants import change_tenant
from scheduler.storage.ids import new_id
from scheduler.storage.reservations import imbalances
from scheduler.storage.tables import DEFAULT_TENANT
from scheduler.storage.views import DecisionView
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_custom_spec, make_offer, make_spec
from tests.support.predictor import slower


@dataclass
class Server:
    """One process, which remembers, on an installation."""

    at: Installation
    knowledge: Knowledge = field(init=False)

    def __post_init__(self) -> None:
        self.knowledge = know(self.at.predictor)

    def submit(self, spec: JobSpec, **changes: object) -> Submitted:
        given: dict[str, object] = {"tenant_id": DEFAULT_TENANT, "now": self.at.now} | changes
        return submit_job(self.at.engine, self.knowledge, spec, **given)  # type: ignore[arg-type]

    def batch(self, *specs: JobSpec, key: str | None = None) -> list[Submitted | PythiaError]:
        items = [Item(spec, f"{key}:{place}" if key else None) for place, spec in enumerate(specs)]
        return submit_jobs(self.at.engine, self.knowledge, items, tenant_id=DEFAULT_TENANT, now=self.at.now)

    def decide(self, spec: JobSpec) -> tuple[DecisionView, DecisionView]:
        """What is decided with all that is remembered, and from nothing."""
        prospect = look_ahead(self.at.engine, self.knowledge, spec, DEFAULT_TENANT, now=self.at.now)
        fresh = look_ahead(self.at.engine, know(self.at.predictor), spec, DEFAULT_TENANT, now=self.at.now)
        anew = describe(decide(spec, fresh.proposals, fresh.forecasts, now=self.at.now), spec, fresh, self.at.now)
        return decide_first(self.knowledge, spec, prospect, now=self.at.now).view, replace(
            anew, prediction_ms=prospect.prediction_ms
        )

    def count(self, table: str) -> int:
        return int(self.at.scalar(f"SELECT count(*) FROM {table}"))  # noqa: S608


@pytest.fixture
def server(installation: Installation) -> Iterator[Server]:
    """One that has decided on a job before."""
    made = Server(installation)
    made.submit(make_spec())
    yield made
    with installation.engine.connect() as connection, sa.orm.Session(connection) as session:
        assert imbalances(session) == []


@pytest.fixture
def roomy(installation: Installation) -> Server:
    """One with so much capacity that a job more or less makes no difference, and one job before."""
    installation.sell(make_offer("H100-SXM", 3.0, capacity_gpus=1000), make_offer("L40S", 1.0, capacity_gpus=1000))
    made = Server(installation)
    made.submit(make_spec())
    return made


def chosen(view: DecisionView) -> tuple[str, str | None]:
    assert view.chosen is not None
    return view.chosen.gpu_type, view.chosen.usd_per_hour


def test_an_equal_job_is_decided_without_a_forecast_and_with_the_very_same_candidates(roomy: Server) -> None:
    asked, first = len(roomy.at.predictor.asked), roomy.submit(make_spec(name="again"))
    second = roomy.submit(make_spec(name="and again", priority=7, labels={"team": "a"}))
    assert len(roomy.at.predictor.asked) == asked
    assert second.decision.candidates is first.decision.candidates
    assert (second.decision.spec["name"], second.job.priority) == ("and again", 7)
    assert roomy.knowledge.memory.hits == 2


def test_a_changed_price_is_decided_on_anew(server: Server) -> None:
    assert chosen(server.decide(make_spec())[0]) == ("L40S", "1.00")
    offer = next(one for one in list_offers(server.at.engine) if one.gpu_type == "L40S")
    change_offer(server.at.engine, offer.id, {"on_demand_micros_per_gpu_hour": 9_000_000})
    remembered, anew = server.decide(make_spec())
    assert remembered == anew
    assert chosen(remembered) == ("H100-SXM", "3.00")


def test_a_changed_capacity_is_decided_on_anew(server: Server) -> None:
    offer = next(one for one in list_offers(server.at.engine) if one.gpu_type == "L40S")
    change_offer(server.at.engine, offer.id, {"capacity_gpus": 1})  # which the first job holds
    remembered, anew = server.decide(make_spec())
    assert remembered == anew
    assert chosen(remembered)[0] == "H100-SXM"


def test_what_others_hold_is_never_remembered(server: Server) -> None:
    kinds = []
    for _ in range(18):  # sixteen GPUs, one of them held by the first job
        remembered, anew = server.decide(make_spec(constraints={"gpu_count": 1}))
        assert remembered == anew
        kinds.append(server.submit(make_spec(constraints={"gpu_count": 1})).decision.kind)
    assert kinds == [DecisionKind.PLACEMENT] * 15 + [DecisionKind.WAIT] * 3
    assert server.at.reserved() == 16


def test_a_promoted_predictor_is_asked_anew(server: Server) -> None:
    server.at.predictor.version, server.at.predictor.change = "fixed-2", slower(100.0, "L40S")
    remembered, anew = server.decide(make_spec())
    assert remembered == anew
    assert (remembered.model_version, chosen(remembered)[0]) == ("fixed-2", "H100-SXM")


@pytest.mark.parametrize(
    "changes",
    [
        {"constraints": {"gpu_types": ["H100-SXM"]}},
        {"constraints": {"max_cost_usd": "0.5"}},
        {"constraints": {"min_fit_probability": 0.995}},
        {"constraints": {"max_runtime_s": 1000}},
        {"constraints": {"max_gpus": 1}},
        {"constraints": {"spot": "require"}},
        {"objective": "time"},
        {"workload": {"type": "training", "model": "meta-llama/Llama-3.1-8B", "num_steps": 7}},
    ],
)
def test_another_job_is_decided_on_anew(server: Server, changes: dict[str, object]) -> None:
    server.decide(make_spec())
    remembered, anew = server.decide(make_spec(**changes))
    assert remembered == anew


def test_a_deadline_is_reckoned_from_the_moment_each_time(server: Server) -> None:
    deadline = server.at.now + timedelta(hours=2)
    spec = make_spec(constraints={"deadline": deadline.isoformat(), "gpu_count": 1})
    assert server.submit(spec).decision.kind is DecisionKind.PLACEMENT
    server.at.later(6000)
    assert server.submit(spec).decision.kind is DecisionKind.REFUSAL


def test_custom_work_is_decided_on_by_what_is_known_of_it_now(server: Server) -> None:
    before = len(server.at.predictor.asked)
    server.submit(make_custom_spec(runtime_s=100.0))
    server.submit(make_custom_spec(runtime_s=100.0))
    assert len(server.at.predictor.asked) == before + 2


def test_equal_decisions_share_their_candidates_in_the_database_and_each_shows_them(roomy: Server) -> None:
    stored = roomy.count("candidates")
    again = [roomy.submit(make_spec()) for _ in range(3)]
    assert roomy.count("candidates") == stored
    for one in again:
        (decision,) = jobs.list_decisions(roomy.at.engine, DEFAULT_TENANT, one.job.id)
        assert decision == one.decision
        shown = roomy.at.scalar(f"SELECT count(*) FROM why WHERE job_id = '{one.job.id}'")  # noqa: S608
        assert shown == len(decision.candidates) > 0


def test_candidates_are_not_shared_between_tenants(roomy: Server) -> None:
    stranger = new_id()
    with roomy.at.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO tenants (id, name) VALUES (:id, 'stranger')"), {"id": stranger})
    theirs = roomy.submit(make_spec(), tenant_id=stranger)
    (decision,) = jobs.list_decisions(roomy.at.engine, stranger, theirs.job.id)
    assert decision == theirs.decision
    assert roomy.at.scalar("SELECT count(DISTINCT tenant_id) FROM candidates") == 2


def test_candidates_that_are_gone_are_stored_again(roomy: Server) -> None:
    with roomy.at.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE decisions SET candidates = NULL")
    again = roomy.submit(make_spec())
    assert jobs.list_decisions(roomy.at.engine, DEFAULT_TENANT, again.job.id) == [again.decision]


def test_a_job_leaves_the_same_rows_placed_at_once_and_step_by_step(roomy: Server) -> None:
    installation = roomy.at
    at_once = roomy.submit(make_spec())
    change_tenant(installation.engine, "default", {"max_gpus": 100})  # a quota is kept step by step
    stepwise = roomy.submit(make_spec())

    def rows(job: Submitted) -> list[list[dict[str, object]]]:
        # a null in a JSON column may be one of JSON or of SQL
        differ = {"id", "job_id", "decision_id", "attempt_id", "created_at", "candidates_of", "prediction_ms", "data"}
        differ |= {"candidates"}  # here they are shared
        told = []
        for table, whose in (
            ("jobs", "id"), ("decisions", "job_id"), ("attempts", "job_id"), ("events", "job_id"),
        ):  # fmt: skip
            query = sa.text(f"SELECT * FROM {table} WHERE {whose} = :id ORDER BY id")  # noqa: S608
            with installation.engine.connect() as connection:
                found = connection.execute(query, {"id": job.job.id}).mappings().all()
            told.append([{name: value for name, value in row.items() if name not in differ} for row in found])
        return told

    assert rows(at_once) == rows(stepwise)
    assert installation.doorbells() == ["pythia.launch"] * 3
    assert installation.scalar("SELECT count(DISTINCT (gpu_count, committed_micros, offer_id)) FROM reservations") == 1
    assert installation.reserved() == 3


def test_a_batch_ends_as_its_jobs_would_one_by_one(server: Server) -> None:
    server.at.sell(make_offer("L40S", 1.0, capacity_gpus=4), make_offer("H100-SXM", 3.0, capacity_gpus=3))
    specs = [make_spec(name=f"job {n}", constraints={"gpu_count": 1}) for n in range(8)]
    done = server.batch(*specs, make_custom_spec(runtime_s=None), make_spec(run=None))
    states = [one.job.state for one in done if isinstance(one, Submitted)]
    assert states == [JobState.PLACED] * 6 + [JobState.QUEUED] * 2  # the first job holds one of the seven
    assert [type(one).__name__ for one in done[8:]] == ["NotEnoughData", "InvalidSpec"]
    assert server.at.reserved() == 7
    for one in done[:8]:
        assert isinstance(one, Submitted)
        assert jobs.list_decisions(server.at.engine, DEFAULT_TENANT, one.job.id) == [one.decision]


def test_a_batch_sent_again_makes_no_second_job(server: Server) -> None:
    specs = [make_spec(name=f"job {n}") for n in range(5)]
    first = server.batch(*specs[:3], key="k")
    second = server.batch(*specs, key="k")
    kept = [one.job.id for one in first if isinstance(one, Submitted)]
    assert [one.job.id for one in second if isinstance(one, Submitted)][:3] == kept
    assert [one.replayed for one in second if isinstance(one, Submitted)] == [True] * 3 + [False] * 2
    assert server.count("jobs") == 1 + 5


def test_a_batch_does_not_pass_a_job_that_waits(server: Server) -> None:
    everything = make_spec(constraints={"gpu_count": 8, "gpu_types": ["L40S"]}, priority=90)
    assert server.submit(everything).job.state is JobState.QUEUED  # one of eight is held
    done = server.batch(*(make_spec(constraints={"gpu_types": ["L40S"], "gpu_count": 1}) for _ in range(3)))
    alone = [one.job.state for one in done if isinstance(one, Submitted)]
    expected = Server(server.at).submit(make_spec(constraints={"gpu_types": ["L40S"], "gpu_count": 1})).job.state
    assert alone == [expected] * 3
