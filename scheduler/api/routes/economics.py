"""What tokens, training runs and a day of requests cost, when to leave a price per token, and what was wasted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import AwareDatetime

from scheduler.api import present_assess, present_economics, present_fleet, present_roi, present_waste
from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.assess import AssessOut
from scheduler.api.schemas.economics import CrossoverOut, RoiOut, TokensOut, TrainingRunOut, WasteOut
from scheduler.api.schemas.fleet import FleetOut
from scheduler.api.strict_json import JsonRoute
from scheduler.economics.assess_spec import AssessSpec
from scheduler.economics.fleet_spec import FleetSpec
from scheduler.economics.roi_spec import RoiSpec
from scheduler.economics.spec import CrossoverSpec, TokensSpec, TrainingRunSpec
from scheduler.services.assess import assess
from scheduler.services.economics import compare_apis, price_tokens, price_training_run
from scheduler.services.fleet import compare_fleets
from scheduler.services.roi import weigh_ways
from scheduler.services.waste import LOOKED_BACK, waste_of_tenant

router = APIRouter(prefix="/economics", tags=["economics"], route_class=JsonRoute)

EXAMPLE = {
    "model": "meta-llama/Llama-3.1-70B-Instruct",
    "precision": "fp8",
    "input_length": 3150,
    "output_length": 400,
    "max_tpot_s": 0.05,
    "constraints": {"jurisdictions": ["EU"]},
}


@router.post("/tokens", summary="Price tokens", responses=responses(413, 415))
def make_token_costs(spec: Annotated[TokensSpec, Body(examples=[EXAMPLE])], context: Context, _: Tenant) -> TokensOut:
    """Dollars per million input, output and blended tokens on every offer, count and layout that the work fits on.

    Each with the number of sequences in flight that serves most, what stops it from being higher, and what prefill
    and decode wait for.
    """
    return present_economics.tokens(price_tokens(context.engine, context.knowledge, spec))


@router.post("/crossover", summary="Compare with prices per token", responses=responses(413, 415))
def make_crossover(
    spec: Annotated[CrossoverSpec, Body(examples=[EXAMPLE | {"cached_prefix_length": 500, "max_utilisation": 0.8}])],
    context: Context,
    _: Tenant,
) -> CrossoverOut:
    """The traffic from which a dedicated deployment is cheaper than each API that serves the model, or never.

    With the whole curve of cost against traffic, what moves the break-even utilisation most, and what a prefix that
    requests share does to both prices.
    """
    return present_economics.crossover(compare_apis(context.engine, context.knowledge, spec))


@router.post("/fleet", summary="Compare ways to serve a day of requests", responses=responses(413, 415))
def make_fleet(
    spec: Annotated[FleetSpec, Body(examples=[EXAMPLE | {"mean_rps": 2, "peak_rps": 5, "max_ttft_p95_s": 10}])],
    context: Context,
    _: Tenant,
) -> FleetOut:
    """Per token, with replicas kept all day, with replicas started as they are needed, and with some of both.

    Every request is simulated: what each way costs, how long requests wait, how many starts there are. Give the
    requests (up to 25,000) or a made-up day (up to a million).
    """
    return present_fleet.fleet(compare_fleets(context.engine, context.knowledge, spec))


RUN = {
    "model": "meta-llama/Llama-3.1-8B",
    "method": "lora",
    "num_samples": 20_000,
    "epochs": 3,
    "sequence_length": 4096,
    "gradient_checkpointing": "full",
    "constraints": {"max_gpus": 8, "spot": "allow"},
}


@router.post("/training-run", summary="Price a training run", responses=responses(413, 415))
def make_training_run(
    spec: Annotated[TrainingRunSpec, Body(examples=[RUN])], context: Context, _: Tenant
) -> TrainingRunOut:
    """Dollars and hours of a pre-training or fine-tuning run on every offer and count that it fits on.

    With restarts, checkpoints at the best interval or the one given, evaluation and storage, and the choice between
    money and time.
    """
    return present_economics.training_run(price_training_run(context.engine, context.knowledge, spec))


@router.get("/waste", summary="What was paid for and not used", responses=responses(404))
def get_waste(
    context: Context,
    tenant_id: Tenant,
    since: Annotated[
        AwareDatetime | None,
        Query(description="From when on; 30 days back unless given", examples=["2026-11-01T00:00:00Z"]),
    ] = None,
    tenant: Annotated[
        str | None, Query(description="One's own name; any other is not found", min_length=1, max_length=200)
    ] = None,
    simulated: Annotated[bool, Query(description="Simulated runs instead of real ones")] = False,
) -> WasteOut:
    """Dollars, GPU-hours and GiB-hours of this tenant's ended attempts and idle machines that were of no use.

    By cause, user and GPU type, with what right-sizing would have saved and the ten jobs to talk about.
    """
    now = context.clock()
    report = waste_of_tenant(
        context.engine, context.knowledge.gpus, tenant_id, name=tenant, since=since or now - LOOKED_BACK, now=now,
        simulated=simulated,
    )  # fmt: skip
    return present_waste.waste(report)


FLEET = {
    "gpu_type": "H100-SXM", "gpus": 8, "months": 36, "capital_usd_per_gpu": 32_000, "reserved_usd_per_gpu_hour": 2.1,
    "serverless_usd_per_gpu_hour": 4.5, "utilisation": {"low": 0.3, "mid": 0.5, "high": 0.7},
}  # fmt: skip


@router.post("/roi", summary="Own, rent or pay per use", responses=responses(413, 415))
def make_roi(spec: Annotated[RoiSpec, Body(examples=[FLEET])], context: Context, _: Tenant) -> RoiOut:
    """Discounted cost of buying, reserving, renting on demand or by the second, and of an API, over the same demand.

    With the payback of owning against each, and 10,000 draws over what is uncertain.
    """
    return present_roi.roi(weigh_ways(context.engine, context.knowledge, spec))


BILLS = {
    "growth": 0.5,
    "constraints": {"jurisdictions": ["EU"], "provider_jurisdictions": ["EU"]},
    "credits": {"usd": "20000", "expires": "2030-06-30"},
    "models": [
        {
            "model": "meta-llama/Llama-3.1-70B-Instruct", "precision": "fp8", "input_length": 3150,
            "output_length": 400, "max_ttft_s": 5, "max_tpot_s": 0.05, "monthly_usd": "18000",
            "requests_per_day": 300_000, "served_in": "US", "provider_hq": "US",
        }
    ],
}  # fmt: skip


@router.post("/assess", summary="What to do about a token bill", responses=responses(413, 415))
def make_assessment(spec: Annotated[AssessSpec, Body(examples=[BILLS])], context: Context, _: Tenant) -> AssessOut:
    """For each model the cheapest way that is allowed, with the figures, what would flip it, and when to begin.

    Ways are to stay, another API, machines kept all day or as they are needed, and reserved or bought ones.
    """
    return present_assess.assess(assess(context.engine, context.knowledge, spec, context.clock().date()))
