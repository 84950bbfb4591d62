"""From the economics to the bodies that are sent."""

from __future__ import annotations

from typing import cast

from predictor.forecast import Spread
from scheduler.api.schemas.common import usd
from scheduler.api.schemas.economics import (
    BreakEvenOut,
    CrossingOut,
    CrossoverOut,
    CurvePointOut,
    DeploymentOut,
    MoveOut,
    QuantilesOut,
    TokenCostOut,
    TokenPriceOut,
    TokensOut,
    UnfitOut,
)
from scheduler.economics.crossover import DAY_S, BreakEven, Crossover
from scheduler.economics.tokens import Price, TokenCost
from scheduler.services.economics import CrossoverReport, TokenReport


def tokens(report: TokenReport) -> TokensOut:
    """Every cost, and the best of each GPU type by itself."""
    costs = report.costs
    output = report.workload.output_length
    return TokensOut(
        question=report.spec.model_dump(mode="json", exclude_defaults=True),
        assumptions=list(report.workload.assumptions),
        model_version=report.model_version,
        best_of_each_gpu_type=[_cost(one, output) for one in costs.best_of_each_type()],
        costs=[_cost(one, output) for one in costs.costs],
        unfit=[UnfitOut(gpu_type=gpu_type, gpu_count=count) for gpu_type, count in costs.unfit],
    )


def _cost(cost: TokenCost, output_length: float) -> TokenCostOut:
    point, offer = cost.operating, cost.offer
    phases, forecast = point.phases, point.forecast
    vram = forecast.peak_vram
    return TokenCostOut(
        gpu_type=point.question.gpu.name,
        gpu_count=cost.gpu_count,
        layout=point.question.layout.to_json(),
        provider=offer.provider,
        region=offer.region,
        country=offer.country,
        spot=cost.spot,
        price_date=offer.price_date,
        usd_per_hour=cast(str, usd(cost.micros_per_hour)),
        precision=str(point.precision),
        sequences_in_flight=point.in_flight,
        stopped_by=str(point.stopped_by),
        requests_per_second=_rates(point.request_s, 1.0),
        output_tokens_per_second=_rates(point.request_s, output_length),
        ttft_s=_quantiles(point.ttft_s),
        tpot_s=_quantiles(point.tpot_s),
        prefill_share=round(phases.prefill, 4),
        prefill_bound=None if phases.prefill_bound is None else str(phases.prefill_bound),
        decode_bound=None if phases.decode_bound is None else str(phases.decode_bound),
        input_usd_per_mtok=_price(cost.input),
        output_usd_per_mtok=None if cost.output is None else _price(cost.output),
        blended_usd_per_mtok=_price(cost.blended),
        peak_vram_p95_gib=None if vram is None else round(vram.p95_gib, 2),
        usable_vram_gib=forecast.usable_vram_gib,
        fit_probability=None if forecast.fit_probability is None else round(forecast.fit_probability, 4),
        basis=str(forecast.basis),
        in_domain=forecast.in_domain,
    )


def _price(price: Price) -> TokenPriceOut:
    low, mid, high = (cast(str, usd(micros)) for micros in (price.low, price.mid, price.high))
    return TokenPriceOut(low=low, mid=mid, high=high)


def _quantiles(spread: Spread) -> QuantilesOut:
    return QuantilesOut(p10=_six(spread.p10), p50=_six(spread.p50), p90=_six(spread.p90))


def _rates(request_s: Spread, each: float) -> QuantilesOut:
    """Of something that every request has `each` of; the slow end of the time is the low end of the rate."""
    return QuantilesOut(p10=_six(each / request_s.p90), p50=_six(each / request_s.p50), p90=_six(each / request_s.p10))


def _six(value: float) -> float:
    return float(f"{value:.6g}")


def crossover(report: CrossoverReport) -> CrossoverOut:
    """Every API, and the curve against the cheapest."""
    return CrossoverOut(
        question=report.spec.model_dump(mode="json", exclude_defaults=True),
        assumptions=list(report.workload.assumptions),
        model_version=report.model_version,
        crossings=[_crossing(one) for one in report.crossings],
        curve=[
            CurvePointOut(
                requests_per_day=_six(point.requests_per_day),
                api_usd=_six(point.api_usd),
                dedicated_usd=_six(point.dedicated_usd),
                dedicated_low_usd=_six(point.low_usd),
                dedicated_high_usd=_six(point.high_usd),
            )
            for point in report.curve
        ],
        moves=[
            MoveOut(cause=one.cause, low_is=one.low_is, low=_six(one.low), high_is=one.high_is, high=_six(one.high))
            for one in report.moves
        ],
    )


def _crossing(found: Crossover) -> CrossingOut:
    api = found.api
    return CrossingOut(
        provider=api.provider,
        model_key=api.model_key,
        input_usd_per_mtok=str(api.input_usd),
        output_usd_per_mtok=str(api.output_usd),
        cached_input_usd_per_mtok=None if api.cached_input_usd is None else str(api.cached_input_usd),
        price_date=api.price_date,
        request_usd=f"{found.api_request_usd:f}",
        crossing=_break_even(found.first),
        crossing_if_slow=_break_even(found.careful),
        crossing_if_fast=_break_even(found.hopeful),
        lowest_utilisation=_point(found.lowest),
    )


def _break_even(point: BreakEven | None) -> BreakEvenOut | None:
    return None if point is None else _point(point)


def _point(point: BreakEven) -> BreakEvenOut:
    cost, operating = point.cost, point.cost.operating
    return BreakEvenOut(
        deployment=DeploymentOut(
            gpu_type=operating.question.gpu.name,
            gpu_count=cost.gpu_count,
            layout=operating.question.layout.to_json(),
            provider=cost.offer.provider,
            region=cost.offer.region,
            spot=cost.spot,
            usd_per_hour=cast(str, usd(cost.micros_per_hour)),
            precision=str(operating.precision),
            sequences_in_flight=operating.in_flight,
            requests_per_day_at_most=_six(DAY_S / operating.request_s.p50),
        ),
        requests_per_day=_six(point.requests_per_day),
        utilisation=_six(point.utilisation),
        utilisation_low=_six(point.utilisation_low),
        utilisation_high=_six(point.utilisation_high),
    )
