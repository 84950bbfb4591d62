"""What is in a cost beside the price per hour: warm machines, what leaves the provider, interruptions at p90."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

from predictor.forecast import Forecast
from scheduler.domain.candidates import enumerate_candidates
from scheduler.domain.cost import Runs, reckon
from scheduler.domain.decision import Judged, Placement
from scheduler.domain.offers import Offer
from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec
from scheduler.domain.spot import CHECKPOINT_S
from scheduler.domain.stock import Warm, inventory_of
from tests.scheduler.domain.test_spot import interrupted
from tests.support.drawn_cases import GPUS, NOW, WORKLOAD
from tests.support.offers import make_offer, make_spec
from tests.support.predictor import FixedPredictor

COLD = make_offer("H100-SXM", 3.0, provider="cold", provision_s=600.0, minimum_s=3600, billing_increment_s=60)
OTHER = make_offer("H100-SXM", 3.1, provider="other", provision_s=600.0, minimum_s=3600, billing_increment_s=60)
ONE = {"gpu_count": 1}


def place(spec: JobSpec, offers: list[Offer], warm: dict[UUID, Warm] | None = None, hours: float = 0.1) -> Judged:
    inventory = replace(inventory_of(offers), warm=warm or {})
    proposals = enumerate_candidates(spec.constraints, WORKLOAD, inventory, GPUS)
    forecasts: list[Forecast] = list(FixedPredictor(gpu_hours=hours).forecast(proposals.questions))
    decision = decide(spec, proposals, forecasts, now=NOW)
    assert isinstance(decision, Placement)
    return decision.chosen


def test_a_warm_machine_wins_with_what_is_paid_for_already() -> None:
    spec = make_spec(constraints=ONE)
    cold, warm = place(spec, [COLD, OTHER]), place(spec, [COLD, OTHER], {OTHER.id: Warm(gpus=1)})
    assert (cold.offer.provider, warm.offer.provider) == ("cold", "other")
    assert cold.estimate is not None
    assert warm.estimate is not None
    assert cold.estimate.p50_micros == 3_000_000  # the minimum
    # six minutes at $3.10, no order and no minimum
    assert warm.estimate.p50_micros == pytest.approx(310_000, rel=0.2)
    assert warm.estimate.use_p50_s == cold.estimate.use_p50_s - 600.0
    assert (cold.provision_s, warm.provision_s) == (600.0, 0.0)


def test_seconds_that_are_paid_for_cost_nothing_more() -> None:
    spec = make_spec(constraints=ONE)
    free = place(spec, [OTHER], {OTHER.id: Warm(gpus=1, paid_s=3600)}).estimate
    assert free is not None
    assert (free.p50_micros, free.p90_micros, free.expected_micros) == (0, 0, 0)


def test_a_warm_machine_that_is_too_small_changes_nothing() -> None:
    spec = make_spec(constraints={"gpu_count": 2})
    assert place(spec, [COLD, OTHER], {OTHER.id: Warm(gpus=1)}).offer.provider == "cold"


def test_what_leaves_is_paid_for_once_where_the_offer_charges_for_it() -> None:
    dear_exit = make_offer("H100-SXM", 2.0, provider="exit", egress_micros_per_gib=90_000)
    free_exit = make_offer("H100-SXM", 3.0, provider="free", egress_micros_per_gib=0)
    small, large = (make_spec(constraints=ONE, output_gib=gib) for gib in (1.0, 100.0))
    assert place(small, [dear_exit, free_exit], hours=1.0).offer.provider == "exit"
    assert place(large, [dear_exit, free_exit], hours=1.0).offer.provider == "free"
    without, with_it = (place(make_spec(constraints=ONE, output_gib=gib), [dear_exit]).estimate for gib in (0.0, 100.0))
    assert without is not None
    assert with_it is not None
    assert with_it.p50_micros - without.p50_micros == 9_000_000
    assert with_it.p90_micros - without.p90_micros == 9_000_000
    assert with_it.expected_micros - without.expected_micros == 9_000_000


@pytest.mark.parametrize(("run_s", "per_hour"), [(36_000.0, 0.1), (36_000.0, 0.5), (200_000.0, 0.02), (5_000.0, 0.05)])
def test_one_interrupted_job_in_ten_at_most_takes_longer_than_p90(run_s: float, per_hour: float) -> None:
    column = np.array([run_s])
    runs = Runs(
        provision_s=np.array([600.0]), startup_s=np.zeros(1), p10_s=column / 1.5, p50_s=column, p90_s=column * 1.5,
        oom_probability=np.zeros(1), micros_per_hour=np.array([3_000_000]), billing_increment_s=np.array([1]),
        minimum_s=np.array([0]), interruptions_per_hour=np.array([per_hour]), checkpoint_s=CHECKPOINT_S,
    )  # fmt: skip
    costs = reckon(runs)
    draw = np.random.default_rng(3)
    work = run_s * 1.5 ** (draw.standard_normal(1500) / 1.2815515655446004)
    took = [600.0 + interrupted(draw, one, 600.0, per_hour / 3600, min(CHECKPOINT_S, one)) for one in work.tolist()]
    # of 1,500 runs three standard deviations are 2.3 points
    assert float(np.mean(np.array(took) <= costs.use_p90_s[0])) >= 0.9 - 0.023
    assert costs.p90_micros[0] >= costs.p50_micros[0]
