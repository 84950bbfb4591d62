"""A fleet on this installation's inventory, or on one that is at hand; nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from predictor.workload import InferenceWorkload
from predictor.workloads.spec import ModelSource
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.offers import Offer
from scheduler.domain.stock import Inventory, inventory_of
from scheduler.economics.api_price_list import PriceList
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.fleet import Comparison, compare
from scheduler.economics.fleet_deployment import deployment_of
from scheduler.economics.fleet_spec import MOST_BY_SERVER, FleetSpec
from scheduler.economics.spec import workload_of
from scheduler.economics.tokens import TokenCost, token_costs
from scheduler.economics.traffic import DAY_S, Traffic
from scheduler.services.economics import apis_of
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import read_inventory
from scheduler.storage.engine import Engine

CANDIDATES = 4
"""Of the cheapest by the token, and of the cheapest by the hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """Every way to serve the requests."""

    spec: FleetSpec
    workload: InferenceWorkload
    traffic: Traffic
    comparison: Comparison
    api: ApiPrice | None
    """None where nobody sells the model by the token."""
    price_list: PriceList
    model_version: str


def compare_fleets(engine: Engine, knowledge: Knowledge, spec: FleetSpec) -> FleetReport:
    """Compare on the inventory in the database."""
    if (spec.mean_rps or 0.0) * DAY_S > MOST_BY_SERVER:
        raise InvalidSpec(
            f"a server simulates days of up to {MOST_BY_SERVER:,} requests, {MOST_BY_SERVER / DAY_S:.3g} a second; "
            "`pythia economics fleet --offline` takes more"
        )
    return _compare(knowledge, spec, read_inventory(engine, knowledge)[0], spec.traffic())


def compare_fleets_on(
    listed: Sequence[Offer], knowledge: Knowledge, spec: FleetSpec, traffic: Traffic | None = None
) -> FleetReport:
    """Compare on offers that are at hand; `traffic`: requests read from a file, instead of the spec's."""
    return _compare(knowledge, spec, inventory_of(listed), traffic or spec.traffic())


def _compare(knowledge: Knowledge, spec: FleetSpec, inventory: Inventory, traffic: Traffic) -> FleetReport:
    workload = _mean_request(spec, traffic, knowledge.models)
    price_list = spec.price_list(knowledge.models)
    try:
        apis = apis_of(workload, knowledge, price_list, spec.api_provider)
    except InvalidSpec:
        if spec.api_provider is not None:
            raise
        apis = []
    costs = token_costs(workload, spec.constraints, spec.limits, inventory, knowledge.gpus, knowledge.predictor)
    deployments = [
        deployment_of(cost, knowledge.predictor, load_gb_s=spec.load_gb_s) for cost in candidates(costs.costs)
    ]
    comparison, api = compare(traffic, deployments, apis, spec.rules)
    return FleetReport(
        spec=spec, workload=workload, traffic=traffic, comparison=comparison, api=api, price_list=price_list,
        model_version=knowledge.predictor.version,
    )  # fmt: skip


def _mean_request(spec: FleetSpec, traffic: Traffic, models: ModelSource) -> InferenceWorkload:
    """What is forecast; of a prompt that is shorter than the prefix no more is cached than it has."""
    longest = spec.cached_prefix_length if spec.mean_rps else min(spec.cached_prefix_length, spec.input_length)
    workload = workload_of(spec.model_copy(update={"cached_prefix_length": longest}), models)
    cached = float(np.minimum(traffic.input_tokens, spec.cached_prefix_length).mean())
    return replace(workload, cached_prefix_length=min(cached, workload.input_length))


def candidates(costs: Sequence[TokenCost]) -> list[TokenCost]:
    """Cheap by the token, for those who fill a machine, and cheap by the hour, for those who do not."""
    by_hour = sorted(costs, key=lambda one: (one.micros_per_hour, one.blended.mid))
    found: list[TokenCost] = []
    for one in (*costs[:CANDIDATES], *by_hour[:CANDIDATES]):
        if not any(one is known for known in found):
            found.append(one)
    return found
