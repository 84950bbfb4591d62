"""A decision as it is shown and stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from predictor.forecast import Forecast
from predictor.layout import Layout
from scheduler.domain.candidates import Proposals
from scheduler.domain.decision import Decision, Estimate, Judged, Naive, Placement
from scheduler.domain.money import exact_usd
from scheduler.domain.spec import JobSpec
from scheduler.domain.spot import load_hazards, spot_note
from scheduler.domain.verdicts import Code
from scheduler.services.outlook import Prospect
from scheduler.storage.views import CandidateView, DecisionView, Listed


def spec_as_sent(spec: JobSpec) -> dict[str, Any]:
    """The spec as its user wrote it, defaults left out."""
    return spec.model_dump(mode="json", exclude_unset=True)


def describe(decision: Decision, spec: JobSpec, prospect: Prospect, now: datetime) -> DecisionView:
    """The view of a decision that belongs to no job yet."""
    considered = decision.considered
    chosen = decision.chosen if isinstance(decision, Placement) else None
    forecast = None if chosen is None else chosen.forecast
    naive = considered.naive
    return DecisionView(
        id=None,
        job_id=None,
        number=0,
        kind=decision.kind,
        reason=decision.reason,
        objective=str(spec.objective),
        spec=spec_as_sent(spec),
        model_version=prospect.model_version,
        in_domain=None if forecast is None else forecast.in_domain,
        candidates_considered=considered.total,
        rejected_by_reason=considered.rejected_by_reason,
        price_date=considered.oldest_price_date,
        inventory_version=prospect.inventory_version,
        naive_cost_micros=None if naive is None else naive.expected_micros,
        naive_choice=None if naive is None else _naive(naive),
        expected_cost_micros=None if chosen is None or chosen.estimate is None else chosen.estimate.expected_micros,
        prediction_ms=prospect.prediction_ms,
        decided_at=now,
        candidates=Listed(
            describe_candidate(rank, judged, prospect.proposals, spec)
            for rank, judged in enumerate(considered.candidates, start=1)
        ),
    )


def describe_candidate(rank: int, judged: Judged, proposals: Proposals, spec: JobSpec) -> CandidateView:
    """The view of one candidate."""
    offer, forecast, estimate = judged.offer, judged.forecast, judged.estimate
    layout = judged.layout or Layout(gpu_count=judged.gpu_count, data_parallel=judged.gpu_count)
    assumed = f" ({judged.variant_assumed} assumed)" if judged.variant_assumed else ""
    code, sharing = judged.verdict.code, judged.sharing
    shared = "" if sharing is None else f" ({sharing.words})"
    return CandidateView(
        rank=rank,
        offer_id=offer.id,
        provider=offer.provider,
        region=offer.region,
        country=offer.country,
        gpu_type=offer.gpu_type,
        gpu_count=judged.gpu_count,
        layout=_layout(layout),
        spot=judged.spot,
        usd_per_hour=None if code is Code.NO_PRICE else exact_usd(judged.micros_per_gpu_hour * judged.gpu_count),
        price_date=offer.price_date,
        provision_s=judged.provision_s,
        forecast=None if forecast is None else _forecast(judged, forecast, proposals, spec),
        fit_probability=judged.fit_probability,
        cost_usd=None if estimate is None else _cost(estimate),
        verdict="chosen" if judged.verdict.chosen else "rejected",
        reason=str(code),
        reason_number=judged.verdict.number,
        reason_text=judged.verdict.text + assumed + shared,
        sharing=None if sharing is None else sharing.to_json() | _use(estimate),
    )


def _use(estimate: Estimate | None) -> dict[str, object]:
    """How long a shared placement would take, beside the others: the forecast is of a card of its own."""
    return {} if estimate is None else {"use_s": {"p50": estimate.use_p50_s, "p90": estimate.use_p90_s}}


def _cost(estimate: Estimate) -> dict[str, str]:
    return {
        "p50": exact_usd(estimate.p50_micros),
        "p90": exact_usd(estimate.p90_micros),
        "expected": exact_usd(estimate.expected_micros),
    }


@lru_cache(maxsize=4096)
def _layout(layout: Layout) -> Mapping[str, Any]:
    # a few hundred layouts are all that there are; nobody writes into what a view shows
    return layout.to_json()


def _forecast(judged: Judged, forecast: Forecast, proposals: Proposals, spec: JobSpec) -> dict[str, Any]:
    """As the contract writes it; on interruptible machines with what was assumed of interruptions and egress."""
    written: dict[str, Any] = forecast.to_json()
    notes = []
    if judged.spot:
        notes.append(spot_note(load_hazards().of(judged.offer), proposals.board.workload))
    if spec.output_gib and judged.offer.egress_micros_per_gib is None:
        notes.append("egress: no price list says what it costs there, taken as nothing")
    if judged.sharing is not None:
        notes.append(f"runtime_s: on a card of its own; it {judged.sharing.words}")
    if notes:
        written["assumptions"] = [*forecast.assumptions, *notes]
    return written


def _naive(naive: Naive) -> Mapping[str, Any]:
    return {
        "provider": naive.offer.provider,
        "region": naive.offer.region,
        "gpu_type": naive.offer.gpu_type,
        "gpu_count": naive.gpu_count,
        "layout": naive.layout.to_json(),
        "micros_per_hour": naive.micros_per_hour,
        "fit_probability": naive.fit_probability,
    }
