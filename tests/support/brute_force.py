"""A second opinion on placements: one candidate at a time, in plain numbers, knowing nothing of columns or pruning.

It shares with the domain the values (offers, specs, forecasts, rooms), the exact rules of money, and the scalar
judgement of memory; enumeration, constraints, spot, deadlines, budgets, quotas, escalation and ranking are written
again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from types import MappingProxyType
from uuid import UUID

from predictor.forecast import Forecast, Question
from predictor.hardware import CPU, GpuCatalogue
from predictor.layouts import sensible_layouts
from predictor.workload import CustomWorkload, Workload
from scheduler.domain.cost import MAX_SECONDS, NO_ESCALATION, OOM_SHARE
from scheduler.domain.fit import CONVINCING, LEAST_SIGMA, Fit, Tried, judge_fit
from scheduler.domain.jurisdictions import satisfies
from scheduler.domain.money import billed_seconds, cost_micros, usd_to_micros
from scheduler.domain.offers import Offer
from scheduler.domain.precision import unsupported
from scheduler.domain.quantiles import LEVELS, Z90, Z95
from scheduler.domain.room import OPEN, Room
from scheduler.domain.spec import Constraints, JobSpec, Objective, Spot
from scheduler.domain.spot import CHECKPOINT_S, MOST_INTERRUPTIONS, NEVER_S, load_hazards
from scheduler.domain.stock import Warm

Oracle = Callable[[Question], Forecast]
PPM = 1_000_000


@dataclass(frozen=True)
class Option:
    """One lot with one layout."""

    offer: Offer
    count: int
    price: int
    spot: bool
    place: int
    """Of the layout among those tried."""
    forecast: Forecast
    fit: Fit
    checkpoint_s: float
    warm: Warm | None = None
    """The machine that it would start on, where one waits that is large enough."""
    output_gib: float = 0.0

    @property
    def provision_s(self) -> float:
        """Until the machine can take work."""
        return self.offer.provision_s if self.warm is None else self.warm.ready_s

    def run(self, probability: float) -> float:
        """Seconds of work that are not exceeded with this probability."""
        run = self.forecast.runtime_s
        assert run is not None
        z = NormalDist().inv_cdf(probability)
        return float(run.p50 * ((run.p90 if z >= 0 else run.p10) / run.p50) ** (abs(z) / Z90))

    def use(self, run_s: float) -> float:
        """Seconds for which the machine is held for so much work."""
        before = self.provision_s + self.forecast.startup_s
        if not self.spot:
            return before + run_s
        machines = math.ceil(self.count / self.offer.node_gpus)
        rate = machines * load_hazards().of(self.offer).per_hour / 3600
        stretch = rate * min(run_s, self.checkpoint_s)
        exponent = min(max(stretch, 1e-12), 30.0)
        return before + run_s * (1 + rate * before) * math.expm1(exponent) / exponent

    def done_within(self, probability: float) -> float:
        """Seconds from the order to the end that are not exceeded with this probability."""
        before = self.provision_s + self.forecast.startup_s
        if not self.spot:
            return before + self.run(probability)
        each = math.sqrt(probability)
        run = self.run(each)
        machines = math.ceil(self.count / self.offer.node_gpus)
        rate = machines * load_hazards().of(self.offer).per_hour / 3600
        piece = min(run, self.checkpoint_s)
        pieces, kept = math.ceil(run / piece), math.exp(-rate * (before + piece))
        likely = 0.0
        for failed in range(MOST_INTERRUPTIONS + 1):
            likely += math.comb(pieces + failed - 1, failed) * kept**pieces * (1 - kept) ** failed
            if likely >= each:
                return before + (run + failed * (before + piece))
        return NEVER_S

    def bill(self, use_s: float) -> int:
        """Micro-dollars for so many seconds."""
        offer = self.offer
        if self.warm is None:
            billed = billed_seconds(use_s, increment_s=offer.billing_increment_s, minimum_s=offer.minimum_s)
        else:
            unpaid = max(0.0, min(use_s, MAX_SECONDS) - self.warm.paid_s)
            billed = billed_seconds(unpaid, increment_s=offer.billing_increment_s, minimum_s=0)
        return cost_micros(self.price, self.count, billed)

    def whole(self, use_s: float) -> int:
        """The bill of a use that got the job done, with what leaves then."""
        return self.bill(use_s) + self.leaves

    @property
    def leaves(self) -> int:
        """Micro-dollars for what leaves the provider."""
        return round((self.offer.egress_micros_per_gib or 0) * self.output_gib)

    @property
    def p90_use(self) -> float:
        """Seconds from the order to the end that are exceeded one time in ten, interruptions included."""
        return max(self.done_within(0.9), self.use(self.run(0.5)))

    def fits_and_done_within(self, probability: float) -> float:
        """Seconds within which it has both fitted and ended with this probability."""
        fit = self.fit.probability
        return math.inf if fit < probability else self.done_within(min(probability / fit, 1 - 1e-9))

    @property
    def p90_try(self) -> int:
        """Micro-dollars that nine in ten tries stay below that do not run out of memory."""
        return self.whole(self.p90_use)

    def p90(self, tries: Sequence[tuple[float, int]], asked: float) -> int:
        """Micro-dollars that nine in ten jobs stay below, all attempts together; `tries` are headroom and `p90_try` of
        all that could be tried after a crash."""
        wasted_too = max(self.p90_try, self.wasted + self.second(self.p90_try, tries, asked))
        if self.fit.probability < 0.9:
            return wasted_too
        without_crash = max(self.fits_and_done_within(0.9), self.use(self.run(0.5)))
        return min(wasted_too, self.whole(without_crash))

    @property
    def wasted(self) -> int:
        """Micro-dollars for a try that runs out of memory."""
        return self.bill(self.provision_s + self.forecast.startup_s + OOM_SHARE * self.run(0.5))

    def second(self, own: int, tries: Sequence[tuple[float, int]], asked: float) -> int:
        """What a second try costs: the cheapest that is roomy enough, or twice as many GPUs here."""
        enough = self.roomy_from(asked)
        twice = NO_ESCALATION * (own - self.leaves) + self.leaves
        return min([twice, *(other for headroom, other in tries if headroom >= enough)])

    @property
    def mean(self) -> int:
        """Mean bill if it does not run out of memory."""
        return sum(self.whole(self.use(self.run(level))) for level in LEVELS) // len(LEVELS)

    @property
    def headroom(self) -> float:
        """Usable memory over the median need."""
        vram = self.forecast.peak_vram
        return math.inf if vram is None else (self.forecast.usable_vram_gib or 0.0) / vram.p50_gib

    def roomy_from(self, asked: float) -> float:
        """The headroom that would do, had it run out of memory here."""
        vram = self.forecast.peak_vram
        if vram is None:
            return math.inf
        crashed = math.log(self.headroom)
        sigma = max(math.log(vram.p95_gib / vram.p50_gib) / Z95, crashed, LEAST_SIGMA)
        bell = NormalDist()
        tail = (1 - asked) * bell.cdf(-crashed / sigma)
        return min(CONVINCING * self.headroom, math.exp(-bell.inv_cdf(tail) * sigma))

    def expected(self, tries: Sequence[tuple[float, int]], asked: float, crash: int) -> int:
        """What it is expected to cost until the job is done; `tries` are headroom and mean of all that would do."""
        mean, chance = self.mean, round((1.0 - self.fit.probability) * PPM)
        second = self.second(mean, tries, asked)
        return (mean * (PPM - chance) + (self.wasted + second + crash) * chance) // PPM


@dataclass(frozen=True)
class Best:
    """The winner, and every option that would do with what it is expected to cost, micro-dollars."""

    option: Option
    expected_micros: int
    feasible: tuple[tuple[Option, int], ...]


def best_of(
    spec: JobSpec,
    workload: Workload,
    offers: Sequence[Offer],
    gpus: GpuCatalogue,
    oracle: Oracle,
    *,
    now: datetime,
    tried: Sequence[Tried] = (),
    spent_micros: int = 0,
    warm: Mapping[UUID, Warm] | None = None,
    room: Room = OPEN,
) -> Best | None:
    """The best option by the job's objective; None where none will do."""
    asked = spec.constraints.min_fit_probability
    able = [
        option
        for option in options(spec, workload, offers, gpus, oracle, tried, warm or {})
        if _is_able(option, spec.constraints, now)
    ]
    later = [(option.headroom, option.p90_try) for option in able if _could_be_had(option, room)]
    feasible = [
        option
        for option in able
        if _is_affordable(option, spec.constraints, spent_micros, option.p90(later, asked)) and _is_free(option, room)
    ]
    if not feasible:
        return None
    tries = sorted({(option.headroom, option.mean) for option in feasible})
    crash = usd_to_micros(spec.constraints.out_of_memory_usd)
    priced = tuple((option, option.expected(tries, asked, crash)) for option in feasible)

    def rank(one: tuple[Option, int]) -> tuple[object, ...]:
        option, cost = one
        time = option.use(option.run(0.5))
        soonest = (time, option.p90_use, cost)
        first = soonest if spec.objective is Objective.TIME else (cost, time)
        offer = option.offer
        seller = (offer.provider, offer.region, offer.instance_type, offer.id)
        return (*first, option.count, *seller, option.spot, option.place)

    assigned = [one for one in priced if (one[0].offer.id, one[0].count) == room.assigned]
    winner, cost = min(assigned or priced, key=rank)
    return Best(winner, cost, priced)


def options(
    spec: JobSpec,
    workload: Workload,
    offers: Sequence[Offer],
    gpus: GpuCatalogue,
    oracle: Oracle,
    tried: Sequence[Tried] = (),
    warm: Mapping[UUID, Warm] = MappingProxyType({}),
) -> list[Option]:
    """Every option on every offer that the constraints allow, whether it fits or not."""
    asked = spec.constraints
    every = CHECKPOINT_S if not isinstance(workload, CustomWorkload) else math.inf
    found = []
    for offer in offers:
        variants, prices = gpus.variants(offer.gpu_type), _prices(offer, asked.spot)
        if not prices or not _allowed(asked, workload, offer, {gpu.name for gpu in variants}, gpus):
            continue
        for count in offer.counts():
            if (count > asked.max_gpus) if asked.gpu_count is None else (count != asked.gpu_count):
                continue
            several = count > offer.node_gpus
            node, link = (offer.node_gpus, offer.interconnect_gbps) if several else (max(8, count), None)
            for place, layout in enumerate(sensible_layouts(workload, count, node_gpus=node)):
                answers = [
                    oracle(Question(
                        workload=workload, gpu=gpu, layout=layout, node_gpus=node, interconnect_gbps=link
                    ))
                    for gpu in variants
                ]  # fmt: skip
                fits = [judge_fit(offer.gpu_type, one, tried, asked.min_fit_probability) for one in answers]
                worst = min(range(len(answers)), key=lambda at: _goodness(asked, answers[at], fits[at]))
                for price, spot in prices:
                    waits = warm.get(offer.id)
                    started = waits if waits is not None and count == waits.gpus and not spot else None
                    found.append(Option(
                        offer, count, price, spot, place, answers[worst], fits[worst], every, started, spec.output_gib
                    ))  # fmt: skip
    return found


def _prices(offer: Offer, rule: Spot) -> list[tuple[int, bool]]:
    prices = []
    if offer.on_demand_micros_per_gpu_hour is not None and rule is not Spot.REQUIRE:
        prices.append((offer.on_demand_micros_per_gpu_hour, False))
    if offer.spot_micros_per_gpu_hour is not None and rule is not Spot.FORBID:
        prices.append((offer.spot_micros_per_gpu_hour, True))
    return prices


def _allowed(asked: Constraints, workload: Workload, offer: Offer, names: set[str], gpus: GpuCatalogue) -> bool:
    only = {gpu.name for name in asked.gpu_types for gpu in gpus.variants(name)}
    never = {gpu.name for name in asked.exclude_gpu_types for gpu in gpus.variants(name)}
    if (only and not names <= only) or names & never:
        return False
    if any(unsupported(workload, gpus.get(name)) for name in names):
        return False
    if CPU in names and not isinstance(workload, CustomWorkload):
        return False
    if asked.tenancy == "dedicated" and offer.tenancy != "dedicated":
        return False
    stands = not asked.jurisdictions or satisfies(offer.country, asked.jurisdictions, offer.jurisdiction) is True
    sits = not asked.provider_jurisdictions or satisfies(offer.provider_hq, asked.provider_jurisdictions) is True
    return (stands and sits) and all(
        not names or value.lower() in [name.lower() for name in names]
        for names, value in ((asked.providers, offer.provider), (asked.regions, offer.region))
    )


def _goodness(asked: Constraints, forecast: Forecast, fit: Fit) -> tuple[object, ...]:
    """The least favourable variant first."""
    run = forecast.runtime_s
    if run is None:
        return (0,)
    code = fit.verdict.nearness if fit.verdict else 1000 + _in_time(asked, forecast)
    return (1, code, -run.p90, fit.probability)


def _in_time(asked: Constraints, forecast: Forecast) -> bool:
    limit, run = asked.max_runtime_s, forecast.runtime_s
    return run is not None and (limit is None or forecast.startup_s + run.p90 <= limit)


def _is_able(option: Option, asked: Constraints, now: datetime) -> bool:
    """Whether it fits and ends in time, whatever it costs and whoever has its GPUs."""
    if option.fit.verdict is not None or not _in_time(asked, option.forecast):
        return False
    if asked.deadline is None:
        return True
    left = (asked.deadline - now).total_seconds()
    return option.fits_and_done_within(asked.min_deadline_probability) <= left * (1 + 1e-12)


def _could_be_had(option: Option, room: Room) -> bool:
    """Whether its GPUs and its costs would be within what there is in all."""
    most = room.headroom
    return (
        option.count <= option.offer.capacity_gpus
        and (most.most_gpus is None or option.count <= most.most_gpus)
        and (most.most_micros is None or option.p90_try <= most.most_micros)
    )


def _is_affordable(option: Option, asked: Constraints, spent_micros: int, p90: int) -> bool:
    return asked.max_cost_usd is None or p90 + spent_micros <= usd_to_micros(asked.max_cost_usd)


def _is_free(option: Option, room: Room) -> bool:
    """Whether its GPUs are free for this job, and its tenant has quota left for them."""
    free, kept, left = option.offer.free_gpus, room.kept.get(option.offer.id), room.headroom
    if option.offer.id in room.ahead:
        return False
    if kept is not None and option.p90_use > kept.from_s:
        free -= kept.gpus
    return (
        option.count <= free
        and (left.gpus is None or option.count <= left.gpus)
        and (left.micros is None or option.p90_try <= left.micros)
    )
