"""From the values of the services to the bodies that are sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from scheduler.api.schemas.decisions import CandidateOut, DecisionOut, FallbackOut
from scheduler.api.schemas.jobs import AttemptOut, EventOut, JobOut, JobSummary, LogChunkOut, SubmittedOut
from scheduler.api.schemas.offers import OfferOut
from scheduler.api.schemas.tenants import QueueOut
from scheduler.domain.fallback import Fallback
from scheduler.domain.money import exact_usd
from scheduler.services.queue_places import QueuePlace
from scheduler.storage.views import AttemptView, CandidateView, DecisionView, EventView, JobView, LogView, OfferView


def job_summary(job: JobView) -> JobSummary:
    """A line of a list."""
    return JobSummary(**summary_fields(job))


def job(view: JobView, queue: QueueOut | None = None) -> JobOut:
    """A whole job, and where it waits."""
    return JobOut(**summary_fields(view), spec=dict(view.spec), queue=queue)


def queue(place: QueuePlace, now: datetime) -> QueueOut:
    """A place in the queue; its times as moments."""
    p10, p50, p90 = (
        None if seconds is None else now + timedelta(seconds=seconds)
        for seconds in (place.starts_p10_s, place.starts_p50_s, place.starts_p90_s)
    )
    return QueueOut(
        position=place.position, waiting=place.waiting, starts_at_p10=p10, starts_at_p50=p50, starts_at_p90=p90,
        reserved_start_at=place.reserved_start_at,
    )  # fmt: skip


def submitted(view: JobView, made: DecisionView) -> SubmittedOut:
    """A job just taken, with the decision made for it."""
    return SubmittedOut(**summary_fields(view), spec=dict(view.spec), decision=decision(made))


def summary_fields(job: JobView) -> dict[str, Any]:
    """What every form of a job begins with."""
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "reason": job.reason,
        "labels": dict(job.spec.get("labels") or {}),
        "priority": job.priority,
        "attempts_made": job.attempts_made,
        "max_attempts": job.max_attempts,
        "spent_usd": exact_usd(job.spent_micros),
        "simulated": job.simulated,
        "created_at": job.created_at,
        "ended_at": job.ended_at,
    }


def decision(view: DecisionView, fallback: Fallback | None = None, trained_on: int | None = None) -> DecisionOut:
    """A decision with its candidates."""
    after = None if fallback is None else _fallback(fallback)
    fields = decision_fields(view) | {"model_observations": trained_on, "if_out_of_memory": after}
    return DecisionOut(**fields, candidates=[candidate(one) for one in view.candidates])


def decision_fields(view: DecisionView) -> dict[str, Any]:
    """All of a stored decision but its candidates, in the order in which it is sent."""
    return {
        "id": view.id,
        "job_id": view.job_id,
        "number": view.number,
        "kind": view.kind,
        "reason": view.reason,
        "objective": view.objective,
        "spec": dict(view.spec),
        "model_version": view.model_version,
        "model_observations": None,
        "in_domain": view.in_domain,
        "candidates_considered": view.candidates_considered,
        "rejected_by_reason": dict(view.rejected_by_reason),
        "price_date": view.price_date,
        "inventory_version": view.inventory_version,
        "naive_choice": None if view.naive_choice is None else dict(view.naive_choice),
        "naive_cost_usd": exact_usd(view.naive_cost_micros),
        "assignment": None if view.assignment is None else dict(view.assignment),
        "prediction_ms": view.prediction_ms,
        "decided_at": view.decided_at,
        "if_out_of_memory": None,
    }


def _fallback(after: Fallback) -> FallbackOut:
    next_one = after.candidate
    return FallbackOut(
        gpu_type=next_one.offer.gpu_type,
        gpu_count=next_one.gpu_count,
        provider=next_one.offer.provider,
        region=next_one.offer.region,
        within_budget=after.within_budget,
    )


def candidate(view: CandidateView) -> CandidateOut:
    """One candidate."""
    return CandidateOut.model_validate(view, from_attributes=True)


def attempt(view: AttemptView) -> AttemptOut:
    """One try."""
    return AttemptOut(
        id=view.id,
        number=view.number,
        state=view.state,
        outcome=view.outcome,
        reason=view.reason,
        exit_code=view.exit_code,
        backend=view.backend,
        provider=view.provider,
        region=view.region,
        gpu_type=view.gpu_type,
        gpu_count=view.gpu_count,
        layout=dict(view.layout),
        spot=view.spot,
        usd_per_hour=exact_usd(view.micros_per_gpu_hour * view.gpu_count),
        forecast=dict(view.forecast),
        reserved_at=view.reserved_at,
        claimed_at=view.claimed_at,
        started_at=view.started_at,
        running_at=view.running_at,
        ended_at=view.ended_at,
        runtime_s=view.runtime_s,
        billed_s=view.billed_s,
        cost_usd=exact_usd(view.cost_micros),
        peak_vram_gib=view.peak_vram_gib,
        vram_metric=view.vram_metric,
        peak_allocated_gib=view.peak_allocated_gib,
        peak_rss_gib=view.peak_rss_gib,
        simulated=view.simulated,
        card_id=view.card_id,
        shared=view.shared,
    )


def event(view: EventView) -> EventOut:
    """Something that happened."""
    return EventOut(
        id=view.id,
        attempt_id=view.attempt_id,
        kind=view.kind,
        from_state=view.from_state,
        to_state=view.to_state,
        data=dict(view.data),
        at=view.at,
    )


def log_chunk(view: LogView) -> LogChunkOut:
    """A piece of what was printed."""
    return LogChunkOut(id=view.id, attempt_id=view.attempt_id, stream=view.stream, offset=view.offset, text=view.text)


def offer(view: OfferView) -> OfferOut:
    """One offer with what is free of it."""
    one = view.offer
    return OfferOut(
        id=one.id,
        provider=one.provider,
        region=one.region,
        country=one.country,
        provider_hq=one.provider_hq,
        instance_type=one.instance_type,
        gpu_type=one.gpu_type,
        node_gpus=one.node_gpus,
        sold_gpus=list(one.sold_gpus),
        max_nodes=one.max_nodes,
        capacity_gpus=one.capacity_gpus,
        free_gpus=0 if view.away else one.free_gpus,
        on_demand_usd_per_gpu_hour=exact_usd(one.on_demand_micros_per_gpu_hour),
        spot_usd_per_gpu_hour=exact_usd(one.spot_micros_per_gpu_hour),
        price_date=one.price_date,
        billing_increment_s=one.billing_increment_s,
        minimum_s=one.minimum_s,
        provision_s=one.provision_s,
        interconnect_gbps=one.interconnect_gbps,
        egress_usd_per_gib=exact_usd(one.egress_micros_per_gib),
        tenancy=one.tenancy,
        backend=one.backend,
        assumed=list(one.assumed),
        source=one.source,
        enabled=view.enabled,
        away=view.away,
        updated_at=view.updated_at,
    )
