"""The economics on this installation's inventory, or on one that is at hand; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from predictor.workload import InferenceWorkload, TrainingWorkload
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.offers import Offer
from scheduler.domain.stock import Inventory, inventory_of
from scheduler.economics.api_price_list import PriceList
from scheduler.economics.api_prices import ApiPrice, of_model
from scheduler.economics.crossover import Crossover, CurvePoint, cross, curve
from scheduler.economics.moves import Move, moves
from scheduler.economics.prefix import PrefixPoint, shared_prefix
from scheduler.economics.spec import CrossoverSpec, TokensSpec, TrainingRunSpec, training_workload_of, workload_of
from scheduler.economics.tokens import TokenCost, TokenCosts, token_costs
from scheduler.economics.training_run import TrainingRuns, training_runs
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import read_inventory
from scheduler.storage.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReport:
    """What was asked, and what its tokens cost."""

    spec: TokensSpec
    workload: InferenceWorkload
    costs: TokenCosts
    model_version: str


def price_tokens(engine: Engine, knowledge: Knowledge, spec: TokensSpec) -> TokenReport:
    """Price tokens on the inventory in the database."""
    return _report(knowledge, spec, read_inventory(engine, knowledge)[0])


def price_tokens_on(listed: Sequence[Offer], knowledge: Knowledge, spec: TokensSpec) -> TokenReport:
    """Price tokens on offers that are at hand: for those who have no server yet."""
    return _report(knowledge, spec, inventory_of(listed))


def _report(knowledge: Knowledge, spec: TokensSpec, inventory: Inventory) -> TokenReport:
    workload = workload_of(spec, knowledge.models)
    costs = token_costs(
        workload, spec.constraints, spec.limits, inventory, knowledge.gpus, knowledge.predictor, every_layout=True
    )  # fmt: skip
    return TokenReport(spec=spec, workload=workload, costs=costs, model_version=knowledge.predictor.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossoverReport:
    """One model's deployments against every API that serves it."""

    spec: CrossoverSpec
    workload: InferenceWorkload
    crossings: tuple[Crossover, ...]
    """One for each API, the cheapest request first; empty where the work fits nowhere."""
    chosen: Crossover | None
    """The one that the curve, the moves and the shared prefix are about."""
    curve: tuple[CurvePoint, ...]
    moves: tuple[Move, ...]
    prefix: tuple[PrefixPoint, ...]
    price_list: PriceList
    model_version: str


def compare_apis(engine: Engine, knowledge: Knowledge, spec: CrossoverSpec) -> CrossoverReport:
    """Compare on the inventory in the database."""
    return _compare(knowledge, spec, read_inventory(engine, knowledge)[0])


def compare_apis_on(listed: Sequence[Offer], knowledge: Knowledge, spec: CrossoverSpec) -> CrossoverReport:
    """Compare on offers that are at hand."""
    return _compare(knowledge, spec, inventory_of(listed))


def _compare(knowledge: Knowledge, spec: CrossoverSpec, inventory: Inventory) -> CrossoverReport:
    workload = workload_of(spec, knowledge.models)
    price_list = spec.price_list(knowledge.models)
    wanted = apis_of(workload, knowledge, price_list, spec.api_provider)

    def price(asked: InferenceWorkload, stock: Inventory) -> TokenCosts:
        return token_costs(asked, spec.constraints, spec.limits, stock, knowledge.gpus, knowledge.predictor)

    costs = price(workload, inventory).costs
    requests = [
        (api.request_usd(spec.input_length, spec.output_length, spec.cached_prefix_length), api) for api in wanted
    ]
    requests.sort(key=lambda one: (one[0], one[1].provider, one[1].model_key))
    found = [cross(costs, api, request, most=spec.max_utilisation) for request, api in requests]
    crossings = tuple(one for one in found if one is not None)
    chosen = crossings[0] if crossings else None
    serve = _serve(chosen, price) if chosen else None
    return CrossoverReport(
        spec=spec,
        workload=workload,
        crossings=crossings,
        chosen=chosen,
        curve=tuple(_curve(costs, chosen, spec.max_utilisation)) if chosen else (),
        moves=tuple(moves(_nearest(chosen), workload, chosen.api, serve)) if chosen and serve else (),
        prefix=tuple(shared_prefix(workload, chosen.api, serve, most=spec.max_utilisation)) if chosen and serve else (),
        price_list=price_list,
        model_version=knowledge.predictor.version,
    )


def apis_of(
    workload: InferenceWorkload, knowledge: Knowledge, price_list: PriceList, provider: str | None
) -> list[ApiPrice]:
    """Those who serve the model, or that provider's; InvalidSpec where there is none."""
    apis = of_model(price_list.prices, workload.architecture, knowledge.models)
    wanted = [api for api in apis if provider in (None, api.provider)]
    if not wanted:
        known = ", ".join(sorted({api.provider for api in apis})) or "none"
        raise InvalidSpec(
            f"no price per token of {workload.architecture.id} is known"
            + (f" at {provider}; known providers: {known}" if provider else "")
        )
    return wanted


def _curve(costs: Sequence[TokenCost], chosen: Crossover, most: float) -> list[CurvePoint]:
    around = (chosen.first or chosen.lowest).requests_per_day
    return curve(costs, chosen.api_request_usd, most=most, around=around)


def _nearest(chosen: Crossover) -> TokenCost:
    """The deployment that wins first, or comes nearest to it."""
    return (chosen.first or chosen.lowest).cost


def _serve(
    chosen: Crossover, price: Callable[[InferenceWorkload, Inventory], TokenCosts]
) -> Callable[[InferenceWorkload], TokenCost | None]:
    """Other work on as many GPUs of the same offer."""
    cost = _nearest(chosen)
    alone = inventory_of([cost.offer])

    def serve(asked: InferenceWorkload) -> TokenCost | None:
        same = (one for one in price(asked, alone).costs if (one.gpu_count, one.spot) == (cost.gpu_count, cost.spot))
        return next(same, None)

    return serve


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRunReport:
    """A training run as asked, and what it costs everywhere."""

    spec: TrainingRunSpec
    workload: TrainingWorkload
    found: TrainingRuns
    model_version: str


def price_training_run(engine: Engine, knowledge: Knowledge, spec: TrainingRunSpec) -> TrainingRunReport:
    """Price a training run on the inventory in the database."""
    return _price_run(knowledge, spec, read_inventory(engine, knowledge)[0])


def price_training_run_on(listed: Sequence[Offer], knowledge: Knowledge, spec: TrainingRunSpec) -> TrainingRunReport:
    """Price a training run on offers that are at hand."""
    return _price_run(knowledge, spec, inventory_of(listed))


def _price_run(knowledge: Knowledge, spec: TrainingRunSpec, inventory: Inventory) -> TrainingRunReport:
    workload = training_workload_of(spec, knowledge.models)
    found = training_runs(workload, spec.constraints, spec.terms, inventory, knowledge.gpus, knowledge.predictor)
    return TrainingRunReport(spec=spec, workload=workload, found=found, model_version=knowledge.predictor.version)
