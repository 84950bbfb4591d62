"""A decision as it is shown and stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from predictor.forecast import Forecast
from predictor.layout import Layout
from scheduler.domain.candidates import Proposals
from scheduler.domain.decision import Decision, Judged, Naive, Placement
from scheduler.domain.spec import JobSpec
from scheduler.domain.spot import load_hazards, spot_note
from scheduler.services.outlook import Prospect
from scheduler.storage.views import CandidateView, DecisionView


def spec_as_sent(spec: JobSpec) -> dict[str, Any]:
    """The spec as its user wrote it, defaults left out."""
    return spec.model_dump(mode="json", exclude_unset=True)


def describe(decision: Decision, spec: JobSpec, prospect: Prospect, now: datetime) -> DecisionView:
    """The view of a decision that belongs to no job yet."""
    considered = decision.considered
    forecast = decision.chosen.forecast if isinstance(decision, Placement) else None
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
        prediction_ms=prospect.prediction_ms,
        decided_at=now,
        candidates=tuple(
            describe_candidate(rank, judged, prospect.proposals)
            for rank, judged in enumerate(considered.candidates, start=1)
        ),
    )


def describe_candidate(rank: int, judged: Judged, proposals: Proposals) -> CandidateView:
    """The view of one candidate."""
    offer, forecast, estimate = judged.offer, judged.forecast, judged.estimate
    vram = forecast.peak_vram if forecast else None
    run = forecast.runtime_s if forecast else None
    layout = judged.layout or Layout(gpu_count=judged.gpu_count, data_parallel=judged.gpu_count)
    assumed = f" ({judged.variant_assumed} assumed)" if judged.variant_assumed else ""
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
        micros_per_gpu_hour=judged.micros_per_gpu_hour,
        price_date=offer.price_date,
        provision_s=offer.provision_s,
        forecast=None if forecast is None else _forecast(judged, forecast, proposals),
        vram_p50_gib=vram.p50_gib if vram else None,
        vram_p95_gib=vram.p95_gib if vram else None,
        usable_vram_gib=forecast.usable_vram_gib if forecast else None,
        fit_probability=judged.fit_probability,
        runtime_p50_s=run.p50 if run else None,
        runtime_p90_s=run.p90 if run else None,
        cost_p50_micros=estimate.p50_micros if estimate else None,
        cost_p90_micros=estimate.p90_micros if estimate else None,
        expected_cost_micros=estimate.expected_micros if estimate else None,
        verdict="chosen" if judged.verdict.chosen else "rejected",
        reason=str(judged.verdict.code),
        reason_number=judged.verdict.number,
        reason_text=judged.verdict.text + assumed,
    )


@lru_cache(maxsize=4096)
def _layout(layout: Layout) -> Mapping[str, Any]:
    # a few hundred layouts are all that there are; nobody writes into what a view shows
    return layout.to_json()


def _forecast(judged: Judged, forecast: Forecast, proposals: Proposals) -> dict[str, Any]:
    """As the contract writes it; on interruptible machines with what was assumed of interruptions."""
    written: dict[str, Any] = forecast.to_json()
    if judged.spot:
        note = spot_note(load_hazards().of(judged.offer), proposals.board.workload)
        written["assumptions"] = [*forecast.assumptions, note]
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
