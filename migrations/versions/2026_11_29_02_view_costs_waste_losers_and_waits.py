"""View what jobs cost against other choices, what was wasted, what keeps losing, and how long jobs waited.

Each view answers a question of those who run Pythia in one SELECT; migrations/README.md shows them. The memory of an
engine that grabs the card up front says nothing of its need, so `predicted_and_actual` no longer subtracts it.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_29_02"
down_revision = "2026_11_29_01"

PREDICTED_AND_ACTUAL = """
CREATE VIEW predicted_and_actual AS
SELECT a.job_id, j.name AS job, a.number AS attempt, a.gpu_type, a.gpu_count, a.provider, a.outcome, a.simulated,
       (a.forecast -> 'peak_vram_gib' ->> 'p50')::numeric AS vram_p50_gib,
       (a.forecast -> 'peak_vram_gib' ->> 'p95')::numeric AS vram_p95_gib,
       a.peak_vram_gib AS vram_gib, {unused} AS unused_gib,
       (a.forecast -> 'runtime_s' ->> 'p10')::numeric AS runtime_p10_s,
       (a.forecast -> 'runtime_s' ->> 'p50')::numeric AS runtime_p50_s,
       (a.forecast -> 'runtime_s' ->> 'p90')::numeric AS runtime_p90_s,
       a.runtime_s, c.expected_cost_micros / 1e6::numeric AS expected_usd, a.cost_micros / 1e6::numeric AS usd,
       d.naive_cost_micros / 1e6::numeric AS naive_usd, a.forecast ->> 'basis' AS basis,
       (a.forecast ->> 'in_domain')::boolean AS in_domain, d.model_version, a.ended_at{further}
FROM attempts a
JOIN jobs j ON j.id = a.job_id
LEFT JOIN decisions d ON d.id = a.decision_id
LEFT JOIN candidates c ON c.decision_id = coalesce(d.candidates_of, d.id) AND c.verdict = 'chosen'
WHERE a.state = 'ended'
"""
UNUSED = "(a.forecast ->> 'usable_vram_gib')::numeric - a.peak_vram_gib::numeric"
NEEDED = "a.vram_metric IS DISTINCT FROM 'preallocated'"

# What a completed job cost beside what its first decision expected of the naive choice, and beside the cheapest of
# that decision's candidates now that the work is known: each one's median, its run time drawn out by as much as the
# run that completed was slower than forecast, if the measured peak says that it fits and the deadline was met
JOB_COSTS = """
CREATE VIEW job_costs AS
SELECT j.id AS job_id, j.name AS job, j.simulated, j.attempts_made AS attempts, d.objective,
       j.spent_micros / 1e6::numeric AS usd,
       d.naive_cost_micros / 1e6::numeric AS naive_usd,
       (d.naive_cost_micros - j.spent_micros) / 1e6::numeric AS saved_usd,
       d.naive_choice ->> 'gpu_type' AS naive_gpu_type, (d.naive_choice ->> 'gpu_count')::int AS naive_gpu_count,
       best.micros / 1e6::numeric AS hindsight_usd,
       (j.spent_micros - best.micros) / 1e6::numeric AS regret_usd,
       best.gpu_type AS hindsight_gpu_type, best.gpu_count AS hindsight_gpu_count,
       best.provider AS hindsight_provider, best.measured AS hindsight_measured, j.ended_at
FROM jobs j
JOIN attempts a ON a.job_id = j.id AND a.outcome = 'completed'
LEFT JOIN LATERAL (
  SELECT * FROM decisions WHERE job_id = j.id AND kind = 'placement' ORDER BY number LIMIT 1
) d ON true
CROSS JOIN LATERAL (
  SELECT coalesce(a.runtime_s / nullif((a.forecast -> 'runtime_s' ->> 'p50')::float, 0), 1) AS slower,
         CASE WHEN a.vram_metric IS DISTINCT FROM 'preallocated'
              THEN a.peak_vram_gib / nullif((a.forecast -> 'peak_vram_gib' ->> 'p50')::float, 0) END AS larger,
         extract(epoch FROM (j.spec -> 'constraints' ->> 'deadline')::timestamptz - d.decided_at) AS allowed_s
) truth
CROSS JOIN LATERAL (
  SELECT a.gpu_type, a.gpu_count, a.provider, a.cost_micros::numeric AS micros, true AS measured
  UNION ALL
  SELECT c.gpu_type, c.gpu_count, c.provider,
         round((c.cost_p50_micros * (use.before_s + c.runtime_p50_s * truth.slower)
                / nullif(use.before_s + c.runtime_p50_s, 0))::numeric), false
  FROM candidates c
  CROSS JOIN LATERAL (SELECT c.provision_s + (c.forecast ->> 'startup_s')::float AS before_s) use
  WHERE c.decision_id = coalesce(d.candidates_of, d.id)
    AND c.reason IN ('chosen', 'dearer', 'slower', 'dominated', 'yielded', 'vram', 'fit_probability', 'max_runtime',
                     'deadline', 'budget')
    AND coalesce(c.vram_p50_gib * truth.larger <= c.usable_vram_gib, c.reason NOT IN ('vram', 'fit_probability'))
    AND coalesce(use.before_s + c.runtime_p50_s * truth.slower <= truth.allowed_s, true)
    AND NOT EXISTS (
      SELECT FROM attempts tried WHERE tried.job_id = j.id AND tried.gpu_type = c.gpu_type
         AND (tried.outcome = 'completed' OR tried.outcome = 'out_of_memory') AND tried.gpu_count = c.gpu_count)
  ORDER BY micros NULLS LAST, measured DESC LIMIT 1
) best
"""

# `idle`: billed, but the command did not run; `lost`: it ran, and its work was not kept. Memory is that of all GPUs
# of the machine above the peak of the fullest one: at least so much was not needed
WASTE = """
CREATE VIEW waste AS
SELECT a.job_id, j.name AS job, a.number AS attempt, a.provider, a.gpu_type, a.gpu_count, a.outcome, a.simulated,
       a.billed_s, spent.run_s, a.billed_s - spent.run_s AS idle_s, spent.lost_s,
       a.cost_micros / 1e6::numeric AS usd,
       round(a.cost_micros * ((a.billed_s - spent.run_s) / nullif(a.billed_s, 0))::numeric) / 1e6::numeric AS idle_usd,
       round(a.cost_micros * (spent.lost_s / nullif(a.billed_s, 0))::numeric) / 1e6::numeric AS lost_usd,
       a.vram_metric, a.peak_vram_gib AS vram_gib, room.wasted_gib,
       round((room.wasted_gib * a.billed_s / 3600)::numeric, 3) AS wasted_gib_hours, a.ended_at
FROM attempts a
JOIN jobs j ON j.id = a.job_id
CROSS JOIN LATERAL (SELECT least(coalesce(a.runtime_s, 0), a.billed_s) AS run_s) ran
CROSS JOIN LATERAL (SELECT ran.run_s, CASE WHEN a.outcome = 'completed' THEN 0 ELSE ran.run_s END AS lost_s) spent
CROSS JOIN LATERAL (
  SELECT CASE WHEN a.outcome = 'completed' AND a.vram_metric IS DISTINCT FROM 'preallocated'
              THEN a.gpu_count
              * ((a.forecast ->> 'usable_vram_gib')::numeric - a.peak_vram_gib::numeric) END AS wasted_gib
) room
WHERE a.state = 'ended'
"""

# A GPU type is listed in a decision once for each count; what it lost to is what stopped its best candidate
LOSING_GPU_TYPES = """
CREATE VIEW losing_gpu_types AS
SELECT gpu_type, reason, count(*) AS lost, max(decisions) AS decisions, max(chosen) AS chosen,
       round(count(*)::numeric / max(decisions), 3) AS share,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY reason_number))::numeric, 2) AS by_median,
       CASE reason WHEN 'vram' THEN 'GiB short' WHEN 'fit_probability' THEN 'probability of fitting'
                   WHEN 'max_runtime' THEN 'seconds too long' WHEN 'deadline' THEN 'seconds late'
                   WHEN 'budget' THEN 'dollars over' WHEN 'quota_spend' THEN 'dollars over'
                   WHEN 'quota' THEN 'GPUs over' WHEN 'capacity' THEN 'GPUs short'
                   WHEN 'dearer' THEN 'per cent dearer' WHEN 'slower' THEN 'per cent slower'
                   WHEN 'yielded' THEN 'per cent better' END AS by_what,
       max(decided_at) AS last_lost_at
FROM (
  SELECT best.*, count(*) OVER whole AS decisions, count(*) FILTER (WHERE verdict = 'chosen') OVER whole AS chosen
  FROM (
    SELECT DISTINCT ON (d.id, c.gpu_type) c.gpu_type, c.verdict, c.reason, c.reason_number, d.decided_at
    FROM candidates c JOIN decisions d ON c.decision_id = coalesce(d.candidates_of, d.id)
    ORDER BY d.id, c.gpu_type, c.rank
  ) best
  WINDOW whole AS (PARTITION BY gpu_type)
) seen
WHERE verdict = 'rejected'
GROUP BY gpu_type, reason
"""

# A wait or a refusal has no placement: the forecast of its nearest candidate is what it rests on
OUTSIDE_DOMAIN = """
CREATE VIEW outside_domain AS
SELECT d.job_id, j.name AS job, d.number AS decision, d.kind, d.decided_at, d.model_version,
       d.spec -> 'workload' ->> 'type' AS task, d.spec -> 'workload' ->> 'model' AS model,
       c.gpu_type, c.gpu_count, c.forecast ->> 'basis' AS basis,
       round((c.vram_p95_gib / nullif(c.vram_p50_gib, 0))::numeric, 2) AS vram_p95_over_p50,
       round((c.runtime_p90_s / nullif(c.runtime_p50_s, 0))::numeric, 2) AS runtime_p90_over_p50,
       a.outcome, a.simulated,
       round((a.runtime_s / nullif(c.runtime_p50_s, 0))::numeric, 2) AS runtime_over_p50,
       CASE WHEN a.vram_metric IS DISTINCT FROM 'preallocated'
            THEN round((a.peak_vram_gib / nullif(c.vram_p50_gib, 0))::numeric, 2) END AS vram_over_p50
FROM decisions d
JOIN jobs j ON j.id = d.job_id
JOIN candidates c ON c.decision_id = coalesce(d.candidates_of, d.id) AND c.rank = 1
LEFT JOIN attempts a ON a.decision_id = d.id AND a.state = 'ended'
WHERE coalesce(d.in_domain, (c.forecast ->> 'in_domain')::boolean) = false
"""

# Waits for capacity: until the first attempt held a machine, and between an attempt's end and the next one
QUEUE_WAITS = """
CREATE VIEW queue_waits AS
SELECT j.id AS job_id, j.name AS job, t.name AS tenant, j.priority, j.state, j.created_at AS submitted_at,
       tries.placed_at,
       extract(epoch FROM coalesce(tries.placed_at, j.ended_at, now()) - j.created_at)::float AS waited_s,
       coalesce(tries.between_s, 0)
         + CASE WHEN j.state = 'queued' AND tries.last_ended_at IS NOT NULL
                THEN extract(epoch FROM now() - tries.last_ended_at)::float ELSE 0 END AS waited_again_s,
       tries.begun_at, extract(epoch FROM tries.begun_at - tries.placed_at)::float AS start_s,
       w.reserved_start_at, j.next_decision_at, CASE WHEN j.state = 'queued' THEN j.reason END AS waits_for
FROM jobs j
JOIN tenants t ON t.id = j.tenant_id
LEFT JOIN waits w ON w.job_id = j.id
LEFT JOIN LATERAL (
  SELECT min(reserved_at) AS placed_at, min(running_at) AS begun_at, max(ended_at) AS last_ended_at,
         sum(extract(epoch FROM reserved_at - before))::float AS between_s
  FROM (SELECT *, lag(ended_at) OVER (ORDER BY number) AS before FROM attempts WHERE job_id = j.id) a
) tries ON true
"""

VIEWS = {
    "job_costs": JOB_COSTS,
    "waste": WASTE,
    "losing_gpu_types": LOSING_GPU_TYPES,
    "outside_domain": OUTSIDE_DOMAIN,
    "queue_waits": QUEUE_WAITS,
}


def upgrade() -> None:
    op.execute("DROP VIEW predicted_and_actual")
    op.execute(
        PREDICTED_AND_ACTUAL.format(unused=f"CASE WHEN {NEEDED} THEN {UNUSED} END", further=",\n       a.vram_metric")
    )
    for view in VIEWS.values():
        op.execute(view)


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.execute("DROP VIEW predicted_and_actual")
    op.execute(PREDICTED_AND_ACTUAL.format(unused=UNUSED, further=""))
