"""A million tokens, to the micro-dollar."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.errors import InvalidWorkload
from predictor.hardware import load_gpu_types
from predictor.model import Predictor
from predictor.words import Precision
from predictor.workload import InferenceWorkload
from predictor.workloads.spec import parse_workload
from scheduler.cli.economics_offline import answer_offline
from scheduler.domain.offers import Offer
from scheduler.domain.spec import Constraints
from scheduler.domain.stock import inventory_of
from scheduler.economics.serving import Forecaster, Limits
from scheduler.economics.tokens import Price, TokenCosts, native_precision, token_costs
from tests.support.offers import make_offer
from tests.support.serving import Server

ONE = Constraints(max_gpus=1)
BARE = Predictor(None)


def work(**changes: Any) -> InferenceWorkload:
    asked = {
        "type": "inference", "model": "Qwen/Qwen2.5-7B", "precision": "bf16", "num_requests": 1, "input_length": 1000,
        "output_length": 500,
    }  # fmt: skip
    read = parse_workload(asked | changes, load_models())
    assert isinstance(read, InferenceWorkload)
    return read


def costs(
    *offers: Offer,
    predictor: Forecaster | None = None,
    limits: Limits | None = None,
    constraints: Constraints = ONE,
    **changes: Any,
) -> TokenCosts:
    return token_costs(
        work(**changes), constraints, limits or Limits(), inventory_of(offers), load_gpu_types(), predictor or Server()
    )


def test_a_request_pays_for_its_share_of_the_machine() -> None:
    # 2 s of a machine at $3.60/h are $0.002, a quarter of it for 1,000 prompt tokens, the rest for 500 answered ones
    cost = costs(make_offer("H100-SXM", 3.6)).costs[0]
    assert cost.input == Price(low=400_000, mid=500_000, high=625_000)
    assert cost.output == Price(low=2_400_000, mid=3_000_000, high=3_750_000)
    assert cost.blended == Price(low=1_066_667, mid=1_333_333, high=1_666_667)


def test_input_and_output_pay_for_the_whole_request() -> None:
    cost = costs(make_offer("H100-SXM", 2.99), input_length=777, output_length=33).costs[0]
    assert cost.output is not None
    whole = cost.input.mid * 777 + cost.output.mid * 33
    assert whole == pytest.approx(cost.blended.mid * 810, abs=810)  # a micro-dollar of rounding per million tokens


def test_prompts_that_are_only_read_have_no_output_price() -> None:
    cost = costs(make_offer(), output_length=0).costs[0]
    assert cost.output is None
    assert cost.blended == cost.input


def test_the_cheapest_token_comes_first_whatever_the_order_of_offers() -> None:
    offers = [make_offer("H100-SXM", usd, provider=name) for name, usd in (("a", 4.0), ("b", 2.0), ("c", 3.0))]
    assert [one.offer.provider for one in costs(*offers).costs] == ["b", "c", "a"]
    assert costs(*offers).costs == costs(*offers[::-1]).costs
    assert [one.offer.provider for one in costs(*offers).best_of_each_type()] == ["b"]


def test_what_does_not_fit_is_named() -> None:
    found = costs(make_offer("L40S", 1.0), make_offer("H100-SXM", 3.0), predictor=Server(holds=0))
    assert found.costs == ()
    assert found.unfit == (("H100-SXM", 1), ("L40S", 1))


def test_a_name_that_means_several_cards_promises_the_slowest() -> None:
    found = costs(make_offer("H100", 3.0), predictor=BARE)
    assert found.costs[0].operating.question.gpu.name == "H100-PCIe"


def test_cards_without_units_for_a_precision_serve_in_the_next_wider_one() -> None:
    gpus = load_gpu_types()
    served = {
        name: native_precision(gpus.get(name), Precision.FP4) for name in ("B200", "H100-SXM", "A100-80GB-SXM", "T4")
    }
    assert served == {
        "B200": Precision.FP4, "H100-SXM": Precision.FP8, "A100-80GB-SXM": Precision.BF16, "T4": Precision.FP16,
    }  # fmt: skip
    found = costs(make_offer("H100-SXM", 3.0), make_offer("A100-80GB-SXM", 2.0), precision="fp8")
    assert {one.operating.question.gpu.name: one.operating.precision for one in found.costs} == {
        "H100-SXM": Precision.FP8, "A100-80GB-SXM": Precision.BF16,
    }  # fmt: skip


def test_constraints_hold() -> None:
    finnish, american = make_offer("H100-SXM", 3.0), make_offer("H100-SXM", 1.0, country="US", region="x")
    found = costs(finnish, american, constraints=Constraints(jurisdictions=["EU"], max_gpus=1))
    assert [one.offer.country for one in found.costs] == ["FI"]
    assert costs(finnish, constraints=Constraints(gpu_types=["L40S"])).costs == ()


def test_every_layout_is_priced_where_that_is_asked() -> None:
    sold = inventory_of([make_offer("H100-SXM", 3.0)])
    asked = (work(), Constraints(gpu_count=2, max_gpus=2), Limits(), sold, load_gpu_types(), BARE)
    (best,) = token_costs(*asked).costs
    every = token_costs(*asked, every_layout=True).costs
    layouts = [one.operating.question.layout for one in every]
    assert len(every) > 1
    assert len({str(one) for one in layouts}) == len(layouts)
    assert every[0] == best


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(InvalidWorkload, match="at least 1 token"):
        costs(make_offer(), input_length=0)


@lru_cache
def _blended(cached: float, tpot: float | None, usd: float) -> int:
    found = costs(
        make_offer("H100-SXM", usd), predictor=BARE, limits=Limits(tpot_s=tpot), input_length=4000,
        output_length=200, cached_prefix_length=cached,
    )  # fmt: skip
    return found.costs[0].blended.mid


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(range(0, 4000, 250)), st.sampled_from(range(0, 4000, 250)))
def test_more_shared_prefix_never_raises_the_cost(one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert _blended(more, None, 3.0) <= _blended(less, None, 3.0)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from((0.03, 0.04, 0.06, 0.1, 0.2)), st.sampled_from((0.03, 0.04, 0.06, 0.1, 0.2)))
def test_a_tighter_limit_never_lowers_the_cost(one: float, other: float) -> None:
    tight, loose = sorted((one, other))
    assert _blended(0.0, loose, 3.0) <= _blended(0.0, tight, 3.0)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from((0.5, 1.0, 2.0, 9.99)), st.sampled_from((0.5, 1.0, 2.0, 9.99)))
def test_a_dearer_machine_never_makes_cheaper_tokens(one: float, other: float) -> None:
    cheap, dear = sorted((one, other))
    assert _blended(0.0, None, cheap) <= _blended(0.0, None, dear)


@pytest.mark.parametrize("model", ["meta-llama/Llama-3.1-70B-Instruct", "Qwen/Qwen3-32B"])
def test_more_shared_prefix_never_raises_the_cost_with_the_predictor_that_ships(model: str) -> None:
    """What was learned is on top of the arithmetic, which the property above holds for, and might have undone it."""
    known: dict[tuple[object, ...], Decimal] = {}
    for cached in range(0, 3000, 600):
        asked = {
            "model": model, "precision": "fp8", "input_length": 3000, "output_length": 300,
            "cached_prefix_length": cached,
        }  # fmt: skip
        cheapest: dict[tuple[object, ...], Decimal] = {}
        for one in answer_offline("tokens", asked)["costs"]:
            where = tuple(one[name] for name in ("provider", "region", "gpu_type", "gpu_count", "spot", "usd_per_hour"))
            cheapest.setdefault(where, Decimal(one["blended_usd_per_mtok"]["mid"]))
        for where, usd in cheapest.items():
            assert usd <= known.get(where, usd), (cached, where)
            known[where] = usd
    assert len(known) > 500
