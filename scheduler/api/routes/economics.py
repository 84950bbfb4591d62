"""What tokens cost, and when a deployment of one's own beats a price per token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body

from scheduler.api import present_economics
from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.economics import CrossoverOut, TokensOut
from scheduler.api.strict_json import JsonRoute
from scheduler.economics.spec import CrossoverSpec, TokensSpec
from scheduler.services.economics import compare_apis, price_tokens

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

    With the whole curve of cost against traffic, and what moves the break-even utilisation most.
    """
    return present_economics.crossover(compare_apis(context.engine, context.knowledge, spec))
