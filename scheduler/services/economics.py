"""The economics on this installation's inventory, or on one that is at hand; nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from predictor.workload import InferenceWorkload
from scheduler.domain.offers import Offer
from scheduler.domain.stock import Inventory, inventory_of
from scheduler.economics.spec import TokensSpec, workload_of
from scheduler.economics.tokens import TokenCosts, token_costs
from scheduler.services.knowledge import Knowledge
from scheduler.storage import offers, prices
from scheduler.storage.engine import Engine, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReport:
    """What was asked, and what its tokens cost."""

    spec: TokensSpec
    workload: InferenceWorkload
    costs: TokenCosts
    model_version: str


def price_tokens(engine: Engine, knowledge: Knowledge, spec: TokensSpec) -> TokenReport:
    """Price tokens on the inventory in the database."""
    with reading(engine) as session:
        inventory = knowledge.memory.inventory(
            (engine.url, prices.version(session)), offers.held(session), lambda: offers.enabled(session)
        )
    return _report(knowledge, spec, inventory)


def price_tokens_on(listed: Sequence[Offer], knowledge: Knowledge, spec: TokensSpec) -> TokenReport:
    """Price tokens on offers that are at hand: for those who have no server yet."""
    return _report(knowledge, spec, inventory_of(listed))


def _report(knowledge: Knowledge, spec: TokensSpec, inventory: Inventory) -> TokenReport:
    workload = workload_of(spec, knowledge.models)
    costs = token_costs(workload, spec.constraints, spec.limits, inventory, knowledge.gpus, knowledge.predictor)
    return TokenReport(spec=spec, workload=workload, costs=costs, model_version=knowledge.predictor.version)
