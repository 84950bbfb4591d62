"""Store jobs that were placed as they were submitted, with all that belongs to them, in one statement for all.

A job by itself is written step by step, as what is decided about it: `jobs.add`, `decisions.add`, `attempts.add`,
`jobs.move` and the rest. A new job that can be placed at once leaves the same rows, the same events included; written
together they cost one round trip instead of a dozen, and a hundred jobs cost hardly more than one. Nothing here waits
for a lock but the insert of a job whose idempotency key somebody else is using; capacity is taken afterwards, last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text

from scheduler.domain.offers import Offer
from scheduler.domain.states import AttemptState, JobState
from scheduler.storage.engine import Session
from scheduler.storage.views import DecisionView, JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class NewlyPlaced:
    """A job with the decision that places it, and what it takes."""

    job: JobView
    """As it will stand."""
    spec_sha256: str
    idempotency_key: str | None
    decision: DecisionView
    """Its id is set, and its number is 1."""
    candidates_of: UUID | None
    """A decision of this tenant and month whose stored candidates are these."""
    attempt_id: UUID
    offer: Offer
    micros_per_gpu_hour: int
    forecast: Mapping[str, Any]
    committed_micros: int
    """What the attempt may cost."""
    opens_card: bool = False
    """Whether others of its tenant may join it on its card."""


def add(session: Session, placed: Sequence[NewlyPlaced], *, task: str, queue: str) -> bool:
    """Store jobs with their decisions, attempts, reservations, events and doorbells; whether all of them were stored.

    Not stored are jobs whose idempotency key is taken, jobs of a tenant that has a quota (it is to be asked under a
    lock), and those whose candidates are not where they were said to be.
    """
    own = (f'"{one.decision.id}":{one.decision.candidates.json}' for one in placed if one.candidates_of is None)
    given = {
        "rows": to_json([_row(one) for one in placed]).decode(),
        "listed": f"{{{','.join(own)}}}", "task": task, "queue": queue,
    }  # fmt: skip
    return bool(session.execute(_ADD, given).scalar_one() == len(placed))


def _row(one: NewlyPlaced) -> dict[str, Any]:
    job, decision, chosen, offer = one.job, one.decision, one.decision.chosen, one.offer
    assert chosen is not None and job.state is JobState.PLACED  # noqa: S101, PT018 - only placements come here
    return {
        "job_id": job.id, "tenant_id": job.tenant_id, "name": job.name, "spec": job.spec, "priority": job.priority,
        "spec_sha256": one.spec_sha256, "max_attempts": job.max_attempts, "idempotency_key": one.idempotency_key,
        "at": job.created_at, "decision_id": decision.id, "decision_kind": decision.kind, "reason": decision.reason,
        "objective": decision.objective, "model_version": decision.model_version, "in_domain": decision.in_domain,
        "candidates_considered": decision.candidates_considered, "rejected_by_reason": decision.rejected_by_reason,
        "price_date": decision.price_date, "inventory_version": decision.inventory_version,
        "naive_cost_micros": decision.naive_cost_micros, "naive_choice": decision.naive_choice,
        "expected_cost_micros": decision.expected_cost_micros,
        "prediction_ms": decision.prediction_ms, "candidates_of": one.candidates_of, "attempt_id": one.attempt_id,
        "backend": offer.backend, "offer_id": offer.id, "provider": offer.provider, "region": offer.region,
        "gpu_type": offer.gpu_type, "gpu_count": chosen.gpu_count, "layout": chosen.layout, "spot": chosen.spot,
        "micros_per_gpu_hour": one.micros_per_gpu_hour, "billing_increment_s": offer.billing_increment_s,
        "minimum_s": offer.minimum_s, "provision_s": chosen.provision_s, "forecast": one.forecast,
        "committed_micros": one.committed_micros, "card_id": one.attempt_id if one.opens_card else None,
    }  # fmt: skip


_TYPES = """
    job_id uuid, tenant_id uuid, name text, spec jsonb, priority bigint, spec_sha256 text, max_attempts bigint,
    idempotency_key text, at timestamptz, decision_id uuid, decision_kind text, reason text, objective text,
    model_version text, in_domain boolean, candidates_considered bigint, rejected_by_reason jsonb, price_date text,
    inventory_version bigint, naive_cost_micros bigint, naive_choice jsonb, expected_cost_micros bigint,
    prediction_ms double precision, candidates_of uuid, attempt_id uuid, backend text, offer_id uuid, provider text,
    region text, gpu_type text, gpu_count bigint, layout jsonb, spot boolean, micros_per_gpu_hour bigint,
    billing_increment_s bigint, minimum_s bigint, provision_s double precision, forecast jsonb, committed_micros bigint,
    card_id uuid
"""

# The events are those of `jobs.add` and `jobs.move`: a job is queued first, if only within this transaction
_ADD = text(f"""
WITH asked AS MATERIALIZED (
  SELECT r.* FROM json_to_recordset(CAST(:rows AS json)) AS r({_TYPES}) JOIN tenants t ON t.id = r.tenant_id
  WHERE t.max_gpus IS NULL AND t.max_micros_per_month IS NULL
), shared AS MATERIALIZED (
  SELECT asked.* FROM asked
  WHERE candidates_of IS NULL OR candidates_of IN (SELECT decision_id FROM asked WHERE candidates_of IS NULL)
     OR EXISTS (SELECT FROM decisions d WHERE d.id = asked.candidates_of AND d.tenant_id = asked.tenant_id
                AND d.candidates IS NOT NULL)
), job AS (
  INSERT INTO jobs (id, tenant_id, name, state, spec, spec_sha256, priority, max_attempts, attempts_made,
                    idempotency_key, created_at)
  SELECT job_id, tenant_id, name, '{JobState.PLACED}', spec, spec_sha256, priority, max_attempts, 1, idempotency_key, at
  FROM shared ON CONFLICT (tenant_id, idempotency_key) DO NOTHING RETURNING id
), new AS MATERIALIZED (
  SELECT shared.* FROM shared JOIN job ON job.id = shared.job_id
), decision AS (
  INSERT INTO decisions (id, tenant_id, job_id, number, kind, reason, objective, spec, model_version, in_domain,
                         candidates_considered, rejected_by_reason, price_date, inventory_version, naive_cost_micros,
                         naive_choice, expected_cost_micros, prediction_ms, decided_at, candidates_of, candidates)
  SELECT decision_id, tenant_id, job_id, 1, decision_kind, reason, objective, spec, model_version, in_domain,
         candidates_considered, rejected_by_reason, price_date, inventory_version, naive_cost_micros, naive_choice,
         expected_cost_micros, prediction_ms, at, candidates_of, listed.value
  FROM new LEFT JOIN json_each(CAST(:listed AS json)) AS listed ON listed.key = CAST(new.decision_id AS text)
), card AS (
  INSERT INTO cards (id, tenant_id, offer_id, micros_per_gpu_hour, billing_increment_s, minimum_s, provision_s,
                     opened_at)
  SELECT card_id, tenant_id, offer_id, micros_per_gpu_hour, billing_increment_s, minimum_s, provision_s, at
  FROM new WHERE card_id IS NOT NULL
), attempt AS (
  INSERT INTO attempts (id, tenant_id, job_id, decision_id, number, state, backend, offer_id, provider, region,
                        gpu_type, gpu_count, layout, spot, micros_per_gpu_hour, billing_increment_s, minimum_s,
                        provision_s, forecast, reserved_at, card_id)
  SELECT attempt_id, tenant_id, job_id, decision_id, 1, '{AttemptState.RESERVED}', backend, offer_id, provider, region,
         gpu_type, gpu_count, layout, spot, micros_per_gpu_hour, billing_increment_s, minimum_s, provision_s, forecast,
         at, card_id
  FROM new
), reservation AS (
  INSERT INTO reservations (attempt_id, tenant_id, offer_id, gpu_count, committed_micros, reserved_at)
  SELECT attempt_id, tenant_id, offer_id, gpu_count, committed_micros, at FROM new
), event AS (
  INSERT INTO events (tenant_id, job_id, attempt_id, kind, from_state, to_state, data, at)
  SELECT tenant_id, job_id, story.attempt_id, story.kind, story.from_state, story.to_state, story.data, at
  FROM new CROSS JOIN LATERAL (VALUES
    (1, NULL, 'job_submitted', NULL, '{JobState.QUEUED}', '{{}}'::jsonb),
    (2, new.attempt_id, 'job_placed', '{JobState.QUEUED}', '{JobState.PLACED}', jsonb_build_object(
        'decision_id', decision_id, 'gpu_type', gpu_type, 'gpu_count', gpu_count, 'provider', provider,
        'region', region))
  ) AS story(step, attempt_id, kind, from_state, to_state, data)
  ORDER BY job_id, story.step
), doorbell AS (
  INSERT INTO outbox (task, queue, arguments)
  SELECT :task, :queue, jsonb_build_object('attempt_id', attempt_id) FROM new ORDER BY job_id
)
SELECT count(*) FROM new
""")  # noqa: S608 - names of columns and states
