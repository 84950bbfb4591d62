"""From the economics to the bodies that are sent."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

from predictor.forecast import Forecast, Question, Spread
from scheduler.api.schemas.economics import (
    BreakEvenOut,
    CrossingOut,
    CrossoverOut,
    CurvePointOut,
    DeploymentOut,
    MoveOut,
    PrefixPointOut,
    PriceListOut,
    QuantilesOut,
    RunTakesOut,
    TokenCostOut,
    TokenPriceOut,
    TokensOut,
    TrainingRunCostOut,
    TrainingRunOut,
    UnfitOut,
)
from scheduler.domain.money import exact_usd
from scheduler.economics.api_price_list import PriceList
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.crossover import DAY_S, BreakEven, Crossover
from scheduler.economics.tokens import Price, TokenCost
from scheduler.economics.training_run import Takes, TrainingRun
from scheduler.services.economics import CrossoverReport, TokenReport, TrainingRunReport


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
    point = cost.operating
    phases, forecast = point.phases, point.forecast
    vram = forecast.peak_vram
    return TokenCostOut(
        **_lot(cost, point.question),
        **_trust(forecast),
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
    )


def _lot(cost: TokenCost | TrainingRun, question: Question) -> dict[str, Any]:
    """What is said of the machines, whatever they do."""
    offer = cost.offer
    return {
        "gpu_type": question.gpu.name, "gpu_count": cost.gpu_count, "layout": question.layout.to_json(),
        "provider": offer.provider, "region": offer.region, "country": offer.country, "spot": cost.spot,
        "price_date": offer.price_date, "usd_per_hour": exact_usd(cost.micros_per_hour),
    }  # fmt: skip


def _trust(forecast: Forecast) -> dict[str, Any]:
    fits = forecast.fit_probability
    return {
        "fit_probability": None if fits is None else round(fits, 4), "basis": str(forecast.basis),
        "in_domain": forecast.in_domain,
    }  # fmt: skip


def _price(price: Price) -> TokenPriceOut:
    low, mid, high = (exact_usd(micros) for micros in (price.low, price.mid, price.high))
    return TokenPriceOut(low=low, mid=mid, high=high)


def _quantiles(spread: Spread) -> QuantilesOut:
    return QuantilesOut(p10=six(spread.p10), p50=six(spread.p50), p90=six(spread.p90))


def _rates(request_s: Spread, each: float) -> QuantilesOut:
    """Of something that every request has `each` of; the slow end of the time is the low end of the rate."""
    return QuantilesOut(p10=six(each / request_s.p90), p50=six(each / request_s.p50), p90=six(each / request_s.p10))


def six(value: float) -> float:
    """Six significant digits: more would be a claim."""
    return float(f"{value:.6g}")


def plain(usd: Decimal) -> str:
    """Dollars that may be far below a cent, to nine significant digits, never in powers of ten."""
    return f"{Context(prec=9).plus(usd):f}"


def cents(usd: float) -> str:
    """Dollars to the cent."""
    return f"{Decimal(repr(usd)):.2f}"


def crossover(report: CrossoverReport) -> CrossoverOut:
    """Every API, and the curve against the cheapest."""
    return CrossoverOut(
        question=report.spec.model_dump(mode="json", exclude_defaults=True),
        assumptions=list(report.workload.assumptions),
        model_version=report.model_version,
        crossings=[_crossing(one) for one in report.crossings],
        price_list=price_list(report.price_list),
        curve=[
            CurvePointOut(
                requests_per_day=six(point.requests_per_day),
                api_usd=six(point.api_usd),
                dedicated_usd=six(point.dedicated_usd),
                dedicated_low_usd=six(point.low_usd),
                dedicated_high_usd=six(point.high_usd),
            )
            for point in report.curve
        ],
        moves=[
            MoveOut(cause=one.cause, low_is=one.low_is, low=six(one.low), high_is=one.high_is, high=six(one.high))
            for one in report.moves
        ],
        shared_prefix=[
            PrefixPointOut(
                share=one.share,
                cached_tokens=six(one.cached_tokens),
                api_request_usd=f"{one.api_request_usd:f}",
                own_request_usd=plain(Decimal(repr(one.own_request_usd))),
                utilisation=six(one.own.utilisation),
                utilisation_low=six(one.own.utilisation_low),
                utilisation_high=six(one.own.utilisation_high),
            )
            for one in report.prefix
        ],
    )


def price_list(used: PriceList) -> PriceListOut:
    """Where prices per token are from, and of when."""
    days = [price.price_date for price in used.prices]
    return PriceListOut(name=used.name, oldest=min(days), newest=max(days), doubts=list(used.doubts))


def _crossing(found: Crossover) -> CrossingOut:
    api = found.api
    return CrossingOut(
        provider=api.provider,
        model_key=api.model_key,
        **token_prices(api),
        price_date=api.price_date,
        request_usd=f"{found.api_request_usd:f}",
        crossing=_break_even(found.first),
        always_requests_per_day=None if found.always_requests_per_day is None else six(found.always_requests_per_day),
        crossing_if_slow=_break_even(found.careful),
        crossing_if_fast=_break_even(found.hopeful),
        lowest_utilisation=_point(found.lowest),
    )


def token_prices(api: ApiPrice) -> dict[str, str | None]:
    """Dollars per million tokens, every digit of them and never in powers of ten."""
    return {
        "input_usd_per_mtok": f"{api.input_usd:f}", "output_usd_per_mtok": f"{api.output_usd:f}",
        "cached_input_usd_per_mtok": None if api.cached_input_usd is None else f"{api.cached_input_usd:f}",
    }  # fmt: skip


def _break_even(point: BreakEven | None) -> BreakEvenOut | None:
    return None if point is None else _point(point)


def _point(point: BreakEven) -> BreakEvenOut:
    return BreakEvenOut(
        deployment=deployment_fields(point.cost),
        requests_per_day=six(point.requests_per_day),
        utilisation=six(point.utilisation),
        utilisation_low=six(point.utilisation_low),
        utilisation_high=six(point.utilisation_high),
    )


def deployment_fields(cost: TokenCost) -> DeploymentOut:
    """What is said of a deployment wherever it is named."""
    operating = cost.operating
    return DeploymentOut(
        **_lot(cost, operating.question),
        precision=str(operating.precision),
        sequences_in_flight=operating.in_flight,
        requests_per_day_at_most=six(DAY_S / operating.request_s.p50),
    )


def training_run(report: TrainingRunReport) -> TrainingRunOut:
    """Every run, and the choice between money and time by itself."""
    found = report.found
    return TrainingRunOut(
        question=report.spec.model_dump(mode="json", exclude_defaults=True),
        assumptions=[*report.workload.assumptions, *report.spec.assumed()],
        model_version=report.model_version,
        checkpoint_gib=six(found.checkpoint_gib),
        pareto=[_run(one) for one in found.pareto()],
        best_of_each_gpu_type=[_run(one) for one in found.best_of_each_type()],
        runs=[_run(one) for one in found.runs],
        unfit=[UnfitOut(gpu_type=gpu_type, gpu_count=count) for gpu_type, count in found.unfit],
        hopeless=[UnfitOut(gpu_type=gpu_type, gpu_count=count) for gpu_type, count in found.hopeless],
    )


def _run(run: TrainingRun) -> TrainingRunCostOut:
    return TrainingRunCostOut(
        **_lot(run, run.question),
        **_trust(run.forecast),
        scaling_efficiency=six(run.scaling_efficiency),
        smallest_gpu_count=run.smallest_count,
        interruptions_per_hour=six(run.interruptions_per_hour),
        checkpoint_write_s=six(run.write_s),
        p10=_takes(run.low),
        p50=_takes(run.mid),
        p90=_takes(run.high),
    )


def _takes(takes: Takes) -> RunTakesOut:
    drawn = takes.drawn
    return RunTakesOut(
        hours=six(takes.wall_s / 3600),
        usd=exact_usd(takes.micros),
        machine_usd=exact_usd(takes.machine_micros),
        storage_usd=exact_usd(takes.storage_micros),
        training_hours=six((drawn.work_s - takes.evaluation_s) / 3600),
        evaluation_hours=six(takes.evaluation_s / 3600),
        checkpoint_hours=six(drawn.checkpoint_s / 3600),
        lost_hours=six(drawn.lost_s / 3600),
        interruptions=six(drawn.interruptions),
        checkpoint_interval_s=six(drawn.interval_s),
    )
