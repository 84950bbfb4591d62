"""An assessment on this installation's inventory, or on one that is at hand; nothing is stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from predictor.workload import InferenceWorkload
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.jurisdictions import satisfies
from scheduler.domain.offers import Offer
from scheduler.domain.spec import Constraints
from scheduler.domain.stock import Inventory, inventory_of
from scheduler.economics.api_price_list import PriceList
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.assess import Case, Elastic, WayCourse, best, cheaper_from, courses
from scheduler.economics.assess_dates import (
    MONTH_DAYS,
    CreditsEnd,
    Schedule,
    Way,
    credits_end,
    day_of,
    schedule,
    switch_day,
)
from scheduler.economics.assess_spec import AssessSpec, ModelUse, OwnPrices
from scheduler.economics.crossover import frontier
from scheduler.economics.finding import Finding
from scheduler.economics.fleet import compare
from scheduler.economics.fleet_deployment import deployment_of
from scheduler.economics.fleet_outcome import Outcome, Rules, serve, with_ends
from scheduler.economics.fleet_outcome import Way as FleetWay
from scheduler.economics.flips import flips
from scheduler.economics.spec import workload_of
from scheduler.economics.tokens import TokenCost, TokenCosts, token_costs
from scheduler.economics.traffic import DAY_S, Shape, Traffic, synthetic_day
from scheduler.services.economics import apis_of
from scheduler.services.fleet import candidates
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import read_inventory
from scheduler.storage.engine import Engine

SIMULATED = (200.0, 4_000.0, 80_000.0, 400_000.0)
"""Requests of the days that are simulated to price what comes and goes, beside that of the first month."""

LARGEST = 1_600_000.0
"""One more, where there is more traffic than that; a search there would take long, so the choice is that before it."""

LONGEST_WAIT = timedelta(days=3 * 365)
"""From the assessment until credits end or a decision is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What was asked, and the answer for every model."""

    spec: AssessSpec
    as_of: date
    credits_end: CreditsEnd | None
    switch: date
    findings: tuple[Finding, ...]
    price_list: PriceList
    model_version: str


def assess(engine: Engine, knowledge: Knowledge, spec: AssessSpec, today: date) -> Assessment:
    """Assess on the inventory in the database."""
    return _assess(knowledge, spec, read_inventory(engine, knowledge)[0], today)


def assess_on(listed: Sequence[Offer], knowledge: Knowledge, spec: AssessSpec, today: date) -> Assessment:
    """Assess on offers that are at hand."""
    return _assess(knowledge, spec, inventory_of(listed), today)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bill:
    """What a model is used for, and who is paid how much."""

    use: ModelUse
    workload: InferenceWorkload
    apis: tuple[tuple[ApiPrice, Decimal], ...]
    """All that serve it, with the price of a request, ascending."""
    listed: ApiPrice | None
    requests_per_day: float
    request_usd: Decimal


def _assess(knowledge: Knowledge, spec: AssessSpec, inventory: Inventory, today: date) -> Assessment:
    as_of = spec.as_of or today
    _check_day("credits.expires", None if spec.credits is None else spec.credits.expires, as_of)
    _check_day("decide_by", spec.decide_by, as_of)
    if spec.own is not None:
        knowledge.gpus.variants(spec.own.gpu_type)  # a name that nobody knows is refused before days are simulated
    price_list = spec.price_list(knowledge.models)
    bills = [_bill(place, use, price_list, knowledge) for place, use in enumerate(spec.models)]
    end = _credits_end(spec, as_of, bills)
    switch = switch_day(as_of, end, spec.decide_by)
    first = -int(-(switch - as_of).days // MONTH_DAYS)
    found = [_find(spec, bill, first, switch, as_of, knowledge, inventory) for bill in bills]
    return Assessment(
        spec=spec, as_of=as_of, credits_end=end, switch=switch, findings=tuple(found), price_list=price_list,
        model_version=knowledge.predictor.version,
    )  # fmt: skip


def _check_day(name: str, day: date | None, as_of: date) -> None:
    if day is None or as_of <= day <= as_of + LONGEST_WAIT:
        return
    if day < as_of:
        raise InvalidSpec(f"{name} is {day}, before {as_of}: leave it out, or give a day to come")
    raise InvalidSpec(f"{name} is {day}, more than three years after {as_of}: what holds by then nobody can assess")


def _bill(place: int, use: ModelUse, price_list: PriceList, knowledge: Knowledge) -> _Bill:
    workload = workload_of(use, knowledge.models)
    try:
        listed = apis_of(workload, knowledge, price_list, None)
    except InvalidSpec:
        listed = []
    priced = sorted(
        ((api, api.request_usd(use.input_length, use.output_length, use.cached_prefix_length)) for api in listed),
        key=lambda one: (one[1], one[0].provider, one[0].model_key),
    )
    paid = next((one for one in priced if use.provider in (None, one[0].provider)), None)
    per_month = Decimal(repr(MONTH_DAYS))
    if use.monthly_usd is not None and use.requests_per_day is not None and use.provider is None:
        paid = None  # who is paid is not said, and need not be the cheapest
    if use.monthly_usd is not None and use.requests_per_day is not None:
        requests, usd = use.requests_per_day, use.monthly_usd / per_month / Decimal(repr(use.requests_per_day))
    elif paid is None:
        at = f" at {use.provider}" if use.provider else ""
        raise InvalidSpec(
            f"models.{place}: no price per token of {workload.architecture.id}{at} is known; give both monthly_usd and "
            "requests_per_day"
        )
    else:
        usd = paid[1]
        requests = use.requests_per_day or float((use.monthly_usd or Decimal(0)) / per_month / usd)
    return _Bill(
        use=use, workload=workload, apis=tuple(priced), listed=paid[0] if paid else None, requests_per_day=requests,
        request_usd=usd,
    )  # fmt: skip


def _credits_end(spec: AssessSpec, as_of: date, bills: Sequence[_Bill]) -> CreditsEnd | None:
    if spec.credits is None:
        return None
    now = sum(bill.requests_per_day * float(bill.request_usd) for bill in bills) * MONTH_DAYS
    months = int((spec.credits.expires - as_of).days / MONTH_DAYS) + 1
    course = [now * (1 + spec.growth) ** (month / 12) for month in range(months)]
    return credits_end(float(spec.credits.usd), spec.credits.expires, as_of, course)


def _find(
    spec: AssessSpec, bill: _Bill, first: int, switch: date, as_of: date, knowledge: Knowledge, inventory: Inventory
) -> Finding:
    use, asked = bill.use, spec.constraints_of(bill.use)
    costs = token_costs(bill.workload, asked, use.limits, inventory, knowledge.gpus, knowledge.predictor)
    case = Case(
        requests_per_day=bill.requests_per_day, growth=spec.growth, request_usd=bill.request_usd,
        other=_elsewhere(bill, asked), costs=tuple(frontier(costs.costs)),
        elastic=_elastic(spec, bill, costs, knowledge, first),
        peak=spec.peak_over_mean, max_utilisation=spec.max_utilisation, operations_usd=spec.operations_usd_per_month,
        own=None if spec.own is None else spec.own.roi(spec.horizon_months),
        ownable=() if spec.own is None else _ownable(spec.own, costs, knowledge), first_month=first,
        months=spec.horizon_months, refused=_refused(bill, asked),
    )  # fmt: skip
    found = courses(case)
    chosen = best(found)
    return Finding(
        use=use, case=case, workload=bill.workload, listed=bill.listed, courses=found, chosen=chosen,
        holds=chosen is not None and _holds(found, chosen), flips=flips(case),
        begins=_begins(case, found, chosen, switch, as_of, spec.decide_by),
    )  # fmt: skip


def _refused(bill: _Bill, asked: Constraints) -> dict[Way, str]:
    """Offers are already those that satisfy the constraints; this is about the API that is paid now."""
    use, listed = bill.use, bill.listed
    seat = use.provider_hq or (listed.provider_hq if listed else None)
    why = _api_refused(seat, use.served_in, asked)
    return {} if why is None else {Way.STAY: why}


def _api_refused(seat: str | None, served_in: str | None, asked: Constraints) -> str | None:
    if asked.tenancy == "dedicated":
        return "an API serves all its users on the same machines, dedicated ones are required"
    why = []
    for what, country, wanted in (
        ("its machines stand", served_in, asked.jurisdictions),
        ("the company sits", seat, asked.provider_jurisdictions),
    ):  # fmt: skip
        match satisfies(country, wanted):
            case None:
                why.append(f"where {what} is not known, {', '.join(wanted)} required")
            case False:
                why.append(f"{what} in {country}, {', '.join(wanted)} required")
    return "; ".join(why) or None


def _elsewhere(bill: _Bill, asked: Constraints) -> tuple[ApiPrice, Decimal] | None:
    """The cheapest of the list that may be used; where its machines stand no list says."""
    paid = bill.use.provider or (bill.listed.provider if bill.listed else None)
    allowed = (
        (api, usd) for api, usd in bill.apis
        if api.provider != paid and _api_refused(api.provider_hq, None, asked) is None
    )  # fmt: skip
    return next(allowed, None)


def _elastic(spec: AssessSpec, bill: _Bill, costs: TokenCosts, knowledge: Knowledge, first: int) -> tuple[Elastic, ...]:
    use = bill.use
    rules = Rules(
        ttft_p95_s=use.max_ttft_s, idle_s=None, most_elastic=1000, discount=Decimal(0),
        cached_tokens=use.cached_prefix_length,
    )  # fmt: skip
    deployments = [deployment_of(cost, knowledge.predictor) for cost in candidates(costs.costs)]
    begins, ends = (
        bill.requests_per_day * math.pow(1 + spec.growth, month / 12) for month in (first, first + spec.horizon_months)
    )
    days = {*SIMULATED, begins} if SIMULATED[0] < begins < SIMULATED[-1] else set(SIMULATED)
    found = []
    for requests in sorted(days) if deployments else ():
        comparison, _ = compare(_day(spec, use, requests), deployments, [], rules)
        ways = (FleetWay.SCALE_TO_ZERO, FleetWay.HYBRID)
        kept = [one for one in comparison.outcomes if one.keeps and one.way in ways]
        if kept:
            found.append(Elastic(requests_per_day=requests, outcome=kept[0]))
    if found and found[-1].requests_per_day == SIMULATED[-1] < max(begins, ends):
        found += _largest(_day(spec, use, LARGEST), found[-1].outcome, rules)
    return tuple(found)


def _largest(day: Traffic, before: Outcome, rules: Rules) -> list[Elastic]:
    """On the same machines with the same time-out, as many kept or more, as traffic has grown; none if too slow."""
    assert before.deployment is not None  # noqa: S101 - an API neither comes nor goes
    times = LARGEST / SIMULATED[-1]
    kept = sorted({before.dedicated, round(before.dedicated * times), round(before.worth_keeping * times)})
    served = [serve(day, before.deployment, rules, dedicated=count, idle_s=before.idle_s) for count in kept]
    best_of = min(served, key=lambda one: one.order)
    if not best_of.keeps:
        return []
    return [Elastic(requests_per_day=LARGEST, outcome=with_ends(day, best_of, rules))]


def _ownable(own: OwnPrices, costs: TokenCosts, knowledge: Knowledge) -> tuple[TokenCost, ...]:
    names = {gpu.name for gpu in knowledge.gpus.variants(own.gpu_type)}
    return tuple(frontier([cost for cost in costs.costs if cost.operating.question.gpu.name in names]))


def _day(spec: AssessSpec, use: ModelUse, requests: float) -> Traffic:
    mean = requests / DAY_S
    return synthetic_day(
        Shape.FLAT if spec.peak_over_mean == 1 else Shape.DAY, mean_rps=mean, peak_rps=mean * spec.peak_over_mean,
        input_length=use.input_length, output_length=use.output_length, length_cv=1.0, seed=0,
    )  # fmt: skip


def _holds(found: Sequence[WayCourse], chosen: WayCourse) -> bool:
    """Machines of one's own are slow or fast together; an API's price does not depend on that."""
    allowed = [one for one in found if one.refused is None]
    return all(min(allowed, key=key) is chosen for key in (lambda one: one.low_usd, lambda one: one.high_usd))


def _begins(
    case: Case, found: Sequence[WayCourse], chosen: WayCourse | None, switch: date, as_of: date, decide_by: date | None
) -> tuple[Way, Schedule] | None:
    if chosen is None:
        return None
    if chosen.way is not Way.STAY:
        return chosen.way, schedule(chosen.way, switch, decide_by, as_of)
    return _later(case, found, chosen, as_of)


def _later(case: Case, found: Sequence[WayCourse], stay: WayCourse, as_of: date) -> tuple[Way, Schedule] | None:
    """Of the way that is first to cost less than staying, within the horizon."""
    moments = [
        (month, one.way) for one in found
        if one.way is not Way.STAY and one.refused is None and (month := cheaper_from(case, one, stay)) is not None
    ]  # fmt: skip
    if not moments:
        return None
    month, way = min(moments)
    return way, schedule(way, day_of(as_of, month), None, as_of)
