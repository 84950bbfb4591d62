"""What ended attempts and idle machines cost, beside what the same decisions' candidates would have cost."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from scheduler.domain.states import Outcome
from scheduler.economics.waste import Better, Idle, Use
from scheduler.storage.engine import Session

# A candidate's need and run time are its own medians, enlarged and drawn out by as much as the run that was measured
# was larger and slower than forecast (as in the view `job_costs`; the start-up that was forecast for a real command is
# not its work: `scheduler.domain.teaching`); to unfold a decision takes a millisecond, so those that cannot be cheaper
# are left before their forecasts are read. One that the constraints or the capacity ruled out does not count, nor one
# that would have been late, nor a card on which the job ran out of memory; where speed was asked for, none that is
# slower. What a job leaves on a card that it shares is the others' to use, and to take it elsewhere would make theirs
# dearer: no size is judged then
_USES = text("""
SELECT t.name AS tenant, j.spec -> 'labels' ->> 'user' AS "user", a.job_id, j.name AS job, a.gpu_type, a.gpu_count,
       a.outcome, coalesce(a.cost_micros, 0) AS micros, coalesce(a.billed_s, 0) AS billed_s,
       coalesce(ran.work_s, a.runtime_s) AS runtime_s, held.held_s,
       (a.forecast ->> 'usable_vram_gib')::float AS usable_gib, truth.peak_gib,
       best.gpu_type AS better_gpu_type, best.gpu_count AS better_gpu_count, best.provider AS better_provider,
       best.micros AS better_micros, best.before_s, best.run_s
FROM attempts a
JOIN jobs j ON j.id = a.job_id
JOIN tenants t ON t.id = a.tenant_id
LEFT JOIN decisions d ON d.id = a.decision_id
CROSS JOIN LATERAL (
  SELECT CASE WHEN a.simulated THEN a.runtime_s
              WHEN start.s <= a.runtime_s / 2 THEN a.runtime_s - start.s END AS work_s
  FROM (SELECT coalesce((a.forecast ->> 'startup_s')::float, 0) AS s) start
) ran
CROSS JOIN LATERAL (
  SELECT CASE WHEN a.vram_metric IS DISTINCT FROM 'preallocated' AND NOT a.shared
              THEN a.peak_vram_gib END AS peak_gib,
         ran.work_s / nullif((a.forecast -> 'runtime_s' ->> 'p50')::float, 0) AS slower,
         a.peak_vram_gib / nullif((a.forecast -> 'peak_vram_gib' ->> 'p50')::float, 0) AS larger,
         extract(epoch FROM (j.spec -> 'constraints' ->> 'deadline')::timestamptz - d.decided_at) AS allowed_s
) truth
LEFT JOIN LATERAL (
  SELECT sum(to_s - from_s) AS held_s FROM ledger WHERE attempt_id = a.id AND kind = 'attempt' AND to_s > from_s
) held ON a.shared
LEFT JOIN LATERAL (
  SELECT c.gpu_type, c.gpu_count, c.provider, use.before_s, use.run_s,
         round((c.cost_p50_micros * (use.before_s + use.run_s)
                / nullif(use.before_s + c.runtime_p50_s, 0))::numeric)::bigint AS micros
  FROM (
    SELECT gpu_type, gpu_count, provider, rank, runtime_p50_s, cost_p50_micros,
           provision_s + (forecast ->> 'startup_s')::float AS before_s
    FROM candidates
    WHERE decision_id = coalesce(d.candidates_of, d.id)
      AND reason IN ('dearer', 'slower', 'dominated', 'yielded', 'vram', 'fit_probability', 'budget')
      AND cost_p50_micros * least(truth.slower, 1) < a.cost_micros
      AND vram_p50_gib * truth.larger <= usable_vram_gib
    OFFSET 0
  ) c
  CROSS JOIN LATERAL (SELECT c.before_s, c.runtime_p50_s * truth.slower AS run_s) use
  WHERE use.run_s > 0
    AND coalesce(use.before_s + use.run_s <= truth.allowed_s, true)
    AND (d.objective <> 'time' OR use.before_s + use.run_s <= a.billed_s)
    AND NOT EXISTS (SELECT FROM attempts tried
                    WHERE tried.job_id = a.job_id AND tried.gpu_type = c.gpu_type AND tried.gpu_count = c.gpu_count
                      AND tried.outcome = 'out_of_memory')
  ORDER BY micros NULLS LAST, c.rank LIMIT 1
) best ON a.outcome = 'completed' AND truth.peak_gib IS NOT NULL AND best.micros < a.cost_micros
WHERE a.state = 'ended' AND a.ended_at >= :since AND a.ended_at < :until AND a.simulated = :simulated
  AND (CAST(:tenant_id AS uuid) IS NULL OR a.tenant_id = :tenant_id)
ORDER BY a.job_id, a.number
""")

_IDLE = text("""
SELECT t.name AS tenant, m.gpu_type, m.gpu_count, sum(l.micros)::bigint AS micros, sum(l.billed_s)::bigint AS billed_s
FROM ledger l
JOIN machines m ON m.id = l.machine_id
JOIN tenants t ON t.id = l.tenant_id
WHERE l.kind = 'idle' AND l.booked_at >= :since AND l.booked_at < :until AND m.simulated = :simulated
  AND (CAST(:tenant_id AS uuid) IS NULL OR l.tenant_id = :tenant_id)
GROUP BY t.name, m.gpu_type, m.gpu_count
ORDER BY t.name, m.gpu_type, m.gpu_count
""")


def uses(session: Session, **period: Any) -> list[Use]:
    """Attempts that ended in a period (`since`, `until`), real or `simulated`, of a `tenant_id` or, None, of all."""
    return [_use(dict(row)) for row in session.execute(_USES, _asked(**period)).mappings()]


def idle(session: Session, **period: Any) -> list[Idle]:
    """What was booked in the same period for machines that waited."""
    return [Idle(**row) for row in session.execute(_IDLE, _asked(**period)).mappings()]


def _asked(*, since: datetime, until: datetime, simulated: bool, tenant_id: UUID | None) -> dict[str, Any]:
    return {"since": since, "until": until, "simulated": simulated, "tenant_id": tenant_id}


def _use(row: dict[str, Any]) -> Use:
    name, before_s, run_s = row.pop("better_gpu_type"), row.pop("before_s"), row.pop("run_s")
    count, provider, micros = row.pop("better_gpu_count"), row.pop("better_provider"), row.pop("better_micros")
    better = None
    if name is not None:
        better = Better(
            gpu_type=name, gpu_count=count, provider=provider, micros=micros, before_s=before_s, run_s=run_s
        )  # fmt: skip
    return Use(**row | {"outcome": Outcome(row["outcome"])}, better=better)
