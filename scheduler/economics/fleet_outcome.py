"""One way to serve a stream of requests, simulated and billed, and the same at the ends of the forecast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum

import numpy as np

from scheduler.domain.arrays import Floats
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.fleet_deployment import Deployment
from scheduler.economics.fleet_simulation import Elastic, FleetRun, simulate
from scheduler.economics.traffic import Traffic

BINS = 288
"""Of the time that is drawn: five minutes each, of a day."""


class Way(StrEnum):
    """How a stream is served."""

    API = "api"
    DEDICATED = "dedicated"
    SCALE_TO_ZERO = "scale_to_zero"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every way."""

    ttft_p95_s: float | None
    """The wait for a place included; None: enough that all have a place by the end, or a start after it."""
    idle_s: float | None
    """Fixed, or None: the best of those tried."""
    most_elastic: int
    """Replicas beside the dedicated, at once."""
    discount: Decimal
    """Off the price of a replica that is kept all day."""
    cached_tokens: float
    """Of each prompt, that the API has in its cache, and the engine in its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One way, and what came of it."""

    way: Way
    cost_micros: int
    micros_per_mtok: int
    """Over input and output tokens together."""
    keeps: bool
    """The rules' limit; that of an API is not known and taken as kept."""
    deployment: Deployment | None = None
    dedicated: int = 0
    idle_s: float | None = None
    queue_s: Percentiles | None = None
    ttft_s: Percentiles | None = None
    cold_starts: int = 0
    utilisation: float | None = None
    """Work done over what the replicas could have done, full, in the time that is paid for."""
    replica_s: float = 0.0
    replicas: tuple[float, ...] = ()
    """Paid for at once, mean of each of the bins of the horizon."""
    over_s: float = 0.0
    """By how much the limit is missed."""
    worth_keeping: int = 0
    """Replicas whose starts and uses cost no less than to keep them all day."""
    fast: Outcome | None = None
    """The same choice at the fast end of the forecast; None of an API, and of what is itself at an end."""
    slow: Outcome | None = None

    @property
    def order(self) -> tuple[float, int]:
        """The least is the best: those that keep the limit by their cost, the others by how far they miss it."""
        return (self.over_s, self.cost_micros)


def api_usd(traffic: Traffic, api: ApiPrice, cached_tokens: float) -> Decimal:
    """What the API asks for all requests: its price is linear in tokens."""
    kept = np.minimum(traffic.input_tokens, cached_tokens)
    return api.request_usd(*(float(tokens.sum()) for tokens in (traffic.input_tokens, traffic.output_tokens, kept)))


def of_api(traffic: Traffic, api: ApiPrice, cached_tokens: float) -> Outcome:
    """All requests at a price per token; nobody says how long they wait there."""
    cost = _whole(api_usd(traffic, api, cached_tokens) * 1_000_000)
    return Outcome(way=Way.API, cost_micros=cost, micros_per_mtok=_per_mtok(cost, traffic), keeps=True)


def serve(
    traffic: Traffic,
    deployment: Deployment,
    rules: Rules,
    *,
    dedicated: int,
    idle_s: float | None,
    work: Floats | None = None,
) -> Outcome:
    """So many replicas kept all day, and others beside them unless there is no idle time-out.

    `work`: that of the traffic on this deployment, where a search has it at hand.
    """
    elastic = None if idle_s is None else Elastic(most=rules.most_elastic, cold_s=deployment.cold_s, idle_s=idle_s)
    work = traffic.work(deployment.prefill, rules.cached_tokens) if work is None else work
    run = simulate(traffic.arrival_s, work, deployment.rates, dedicated=dedicated, elastic=elastic)
    return _outcome(traffic, deployment, rules, run, idle_s, float(work.sum()))


def again(traffic: Traffic, outcome: Outcome, deployment: Deployment, rules: Rules) -> Outcome:
    """The same choice, served by replicas that are all as fast as that end of the forecast."""
    return serve(traffic, deployment, rules, dedicated=outcome.dedicated, idle_s=outcome.idle_s)


def with_ends(traffic: Traffic, outcome: Outcome, rules: Rules) -> Outcome:
    """The same, with what becomes of it at both ends of the forecast."""
    if outcome.deployment is None or outcome.deployment.ends is None:
        return outcome
    fast, slow = (again(traffic, outcome, end, rules) for end in outcome.deployment.ends)
    return replace(outcome, fast=fast, slow=slow)


def _outcome(
    traffic: Traffic, deployment: Deployment, rules: Rules, run: FleetRun, idle_s: float | None, work: float
) -> Outcome:
    until_s = max(traffic.horizon_s, run.last_answer_s)
    lives = deployment.paid_s(run)
    kept, bills = deployment.day_micros(until_s, discount=rules.discount), deployment.bills_micros(lives)
    cost = kept * run.dedicated + int(bills.sum())
    by_slot = np.bincount(run.slots, bills)  # exact: micro-dollars of a day are far below 2⁵³
    replica_s = run.dedicated * until_s + float(lives.sum())
    ttft_s = _percentiles(deployment.ttft_s(traffic, run.wait_s, run.in_flight, rules.cached_tokens))
    if rules.ttft_p95_s is not None:
        over_s = max(0.0, ttft_s.p95 - rules.ttft_p95_s)
    else:
        over_s = max(0.0, float((traffic.arrival_s + run.wait_s).max()) - traffic.horizon_s - deployment.cold_s)
    queue_s = _percentiles(run.wait_s)  # the last who need the waits in their order are above
    return Outcome(
        way=Way.DEDICATED if idle_s is None else Way.HYBRID if run.dedicated else Way.SCALE_TO_ZERO,
        cost_micros=cost,
        micros_per_mtok=_per_mtok(cost, traffic),
        keeps=over_s == 0.0,
        deployment=deployment,
        dedicated=run.dedicated,
        idle_s=idle_s,
        queue_s=queue_s,
        ttft_s=ttft_s,
        cold_starts=run.cold_starts,
        utilisation=work / (deployment.capacity * replica_s),
        replica_s=replica_s,
        replicas=over_time(traffic.horizon_s, run, deployment.provision_s),
        over_s=over_s,
        worth_keeping=run.dedicated + int((by_slot >= kept).sum()),
    )


def over_time(horizon_s: float, run: FleetRun, provision_s: float) -> tuple[float, ...]:
    """Mean number of replicas in each bin of the horizon, those that load their model included."""
    edges = np.linspace(0.0, horizon_s, BINS + 1)
    begun, gone = np.sort(run.asked_s + provision_s), np.sort(run.gone_s)

    def until(moments: Floats) -> Floats:
        # ∑ max(0, edge - moment), from sums of the sorted
        sums = np.concatenate([[0.0], np.cumsum(moments)])
        passed = np.searchsorted(moments, edges)
        return np.asarray(passed * edges - sums[passed])

    seconds = np.diff(until(begun) - until(gone))
    return tuple((run.dedicated + seconds / (horizon_s / BINS)).tolist())


def _percentiles(values: Floats) -> Percentiles:
    """Leaves the values in another order: a copy of a long day's takes longer than its percentiles."""
    p50, p95, p99 = np.percentile(values, (50, 95, 99), overwrite_input=True).tolist()
    return Percentiles(p50=p50, p95=p95, p99=p99)


def _per_mtok(cost_micros: int, traffic: Traffic) -> int:
    tokens = Decimal(repr(float(traffic.input_tokens.sum() + traffic.output_tokens.sum())))
    return _whole(Decimal(cost_micros) * 1_000_000 / tokens)


def _whole(micros: Decimal) -> int:
    return int(micros.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
