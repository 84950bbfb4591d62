"""Whether to own: a comparison at the inventory's prices; nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scheduler.domain.errors import InvalidSpec
from scheduler.domain.money import micros_to_usd
from scheduler.domain.offers import Offer
from scheduler.domain.stock import Inventory, inventory_of
from scheduler.economics.api_price_list import PriceList
from scheduler.economics.roi import Means, Triangle, WayCost, compare_ways
from scheduler.economics.roi_spec import RoiSpec
from scheduler.economics.spec import TokensSpec, workload_of
from scheduler.economics.tokens import token_costs
from scheduler.services.economics import apis_of
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import read_inventory
from scheduler.storage.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiReport:
    """What was asked, what it was taken to mean, and what each way costs."""

    spec: RoiSpec
    means: Means
    notes: tuple[str, ...]
    """Where figures are from that were found, not given."""
    price_list: PriceList | None
    """None: no price per token was looked up."""
    ways: tuple[WayCost, ...]


def weigh_ways(engine: Engine, knowledge: Knowledge, spec: RoiSpec) -> RoiReport:
    """Compare at the prices in the database."""
    return _weigh(knowledge, spec, read_inventory(engine, knowledge)[0])


def weigh_ways_on(listed: Sequence[Offer], knowledge: Knowledge, spec: RoiSpec) -> RoiReport:
    """Compare at the prices of offers that are at hand; UnknownGpuType for a name that is none or several."""
    return _weigh(knowledge, spec, inventory_of(listed))


def _weigh(knowledge: Knowledge, spec: RoiSpec, inventory: Inventory) -> RoiReport:
    gpu = knowledge.gpus.get(spec.gpu_type)
    sold = [
        (offer.on_demand_micros_per_gpu_hour, offer.provider, offer.price_date)
        for offer in inventory.stock.offers
        if offer.gpu_type == gpu.name and offer.on_demand_micros_per_gpu_hour is not None
    ]
    notes: list[str] = []
    cheapest = min(sold, default=None)
    if cheapest is not None and spec.on_demand_usd_per_gpu_hour is None:
        notes.append(f"the cheapest offer: {cheapest[1]}, price of {cheapest[2]}")
    price_list = None
    means = spec.means(gpu, None if cheapest is None else float(micros_to_usd(cheapest[0])))
    if spec.work is not None:
        price_list = spec.price_list(knowledge.models)
        hourly, said = _api_usd(knowledge, spec, spec.work, price_list, inventory)
        work = Triangle(low=hourly.low / hourly.mid, mid=1.0, high=hourly.high / hourly.mid)
        means = replace(means, api_usd=hourly.mid, api_work=work)
        notes.append(said)
    return RoiReport(spec=spec, means=means, notes=tuple(notes), price_list=price_list, ways=compare_ways(means))


def _api_usd(
    knowledge: Knowledge, spec: RoiSpec, work: TokensSpec, price_list: PriceList, inventory: Inventory
) -> tuple[Triangle, str]:
    """Dollars that an API charges for the work of a busy GPU-hour, and how that came about."""
    workload = workload_of(work, knowledge.models)
    asked = work.constraints.model_copy(update={"gpu_types": [spec.gpu_type]})
    costs = token_costs(workload, asked, work.limits, inventory, knowledge.gpus, knowledge.predictor).costs
    if not costs:
        raise InvalidSpec(f"no offer of {spec.gpu_type} that is allowed holds the work within its limits")
    # a fleet of one's own has this card whoever sells it: the count and layout that need least of it
    best = min(costs, key=lambda one: one.operating.request_s.p50 * one.gpu_count)
    apis = apis_of(workload, knowledge, price_list, spec.api_provider)
    request, api = min(
        ((one.request_usd(work.input_length, work.output_length, work.cached_prefix_length), one) for one in apis),
        key=lambda one: (one[0], one[1].provider, one[1].model_key),
    )
    takes, count = best.operating.request_s, best.gpu_count
    low, mid, high = (3600 / (seconds * count) * float(request) for seconds in (takes.p90, takes.p50, takes.p10))
    return Triangle(low=low, mid=mid, high=high), (
        f"api_usd_per_gpu_hour: {mid:.4g} ({low:.4g} .. {high:.4g} from p10 to p90 of the forecast): "
        f"{3600 / (takes.p50 * count):,.0f} requests an hour on each of {count} GPUs in {best.operating.precision}, "
        f"${1000 * float(request):.4g} for 1,000 at {api.provider}, price of {api.price_date}"
    )
