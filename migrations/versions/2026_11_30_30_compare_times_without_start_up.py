"""Compare the time of attempts with their forecasts like with like: without the start-up that a forecast leaves out.

A real command's seconds hold its start-up, so what was forecast of it is taken off, as the predictor's lessons do it;
where it is most of them the run says nothing of its work. `runtime_s` keeps saying how long the command ran.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_30_30"
down_revision = "2026_11_29_70"

STARTING = "coalesce((a.forecast ->> 'startup_s')::float, 0)"
WORK = f"""CASE WHEN a.simulated THEN a.runtime_s
              WHEN {STARTING} <= a.runtime_s / 2 THEN a.runtime_s - {STARTING} END"""

PREDICTED_AND_ACTUAL = """
CREATE OR REPLACE VIEW predicted_and_actual AS
SELECT a.job_id, j.name AS job, a.number AS attempt, a.gpu_type, a.gpu_count, a.provider, a.outcome, a.simulated,
       (a.forecast -> 'peak_vram_gib' ->> 'p50')::numeric AS vram_p50_gib,
       (a.forecast -> 'peak_vram_gib' ->> 'p95')::numeric AS vram_p95_gib,
       a.peak_vram_gib AS vram_gib,
       CASE WHEN a.vram_metric IS DISTINCT FROM 'preallocated' AND NOT a.shared
            THEN (a.forecast ->> 'usable_vram_gib')::numeric - a.peak_vram_gib::numeric END AS unused_gib,
       (a.forecast -> 'runtime_s' ->> 'p10')::numeric AS runtime_p10_s,
       (a.forecast -> 'runtime_s' ->> 'p50')::numeric AS runtime_p50_s,
       (a.forecast -> 'runtime_s' ->> 'p90')::numeric AS runtime_p90_s,
       a.runtime_s, d.expected_cost_micros / 1e6::numeric AS expected_usd, a.cost_micros / 1e6::numeric AS usd,
       d.naive_cost_micros / 1e6::numeric AS naive_usd, a.forecast ->> 'basis' AS basis,
       (a.forecast ->> 'in_domain')::boolean AS in_domain, d.model_version, a.ended_at, a.vram_metric, a.shared{further}
FROM attempts a
JOIN jobs j ON j.id = a.job_id
LEFT JOIN decisions d ON d.id = a.decision_id
WHERE a.state = 'ended'
"""

JOB_COSTS = """
CREATE OR REPLACE VIEW job_costs AS
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
  SELECT id, candidates_of, objective, naive_cost_micros, naive_choice, decided_at
  FROM decisions WHERE job_id = j.id AND kind = 'placement' ORDER BY number LIMIT 1
) d ON true
CROSS JOIN LATERAL (
  SELECT CASE WHEN a.shared THEN 1
              ELSE coalesce({work} / nullif((a.forecast -> 'runtime_s' ->> 'p50')::float, 0), 1) END AS slower,
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

OUTSIDE_DOMAIN = """
CREATE OR REPLACE VIEW outside_domain AS
SELECT d.job_id, j.name AS job, d.number AS decision, d.kind, d.decided_at, d.model_version,
       d.spec -> 'workload' ->> 'type' AS task, d.spec -> 'workload' ->> 'model' AS model,
       c.gpu_type, c.gpu_count, c.forecast ->> 'basis' AS basis,
       round(seen.vram_p95_gib / nullif(seen.vram_p50_gib, 0), 2) AS vram_p95_over_p50,
       round(seen.runtime_p90_s / nullif(seen.runtime_p50_s, 0), 2) AS runtime_p90_over_p50,
       CASE WHEN a.state = 'ended' THEN a.outcome END AS outcome,
       CASE WHEN a.state = 'ended' THEN a.simulated END AS simulated,
       CASE WHEN a.state = 'ended'
            THEN round(({work})::numeric / nullif(seen.runtime_p50_s, 0), 2) END AS runtime_over_p50,
       CASE WHEN a.state = 'ended' AND a.vram_metric IS DISTINCT FROM 'preallocated'
            THEN round(a.peak_vram_gib::numeric / nullif(seen.vram_p50_gib, 0), 2) END AS vram_over_p50
FROM decisions d
JOIN jobs j ON j.id = d.job_id
LEFT JOIN attempts a ON a.decision_id = d.id
CROSS JOIN LATERAL (
  SELECT a.gpu_type, a.gpu_count, a.forecast WHERE a.id IS NOT NULL
  UNION ALL
  SELECT gpu_type, gpu_count, forecast FROM candidates
  WHERE a.id IS NULL AND decision_id = coalesce(d.candidates_of, d.id) AND rank = 1
) c
CROSS JOIN LATERAL (
  SELECT (c.forecast -> 'peak_vram_gib' ->> 'p50')::numeric AS vram_p50_gib,
         (c.forecast -> 'peak_vram_gib' ->> 'p95')::numeric AS vram_p95_gib,
         (c.forecast -> 'runtime_s' ->> 'p50')::numeric AS runtime_p50_s,
         (c.forecast -> 'runtime_s' ->> 'p90')::numeric AS runtime_p90_s
) seen
WHERE d.in_domain IS NOT TRUE AND coalesce(d.in_domain, (c.forecast ->> 'in_domain')::boolean) = false
"""


def upgrade() -> None:
    op.execute(PREDICTED_AND_ACTUAL.format(further=f",\n       {WORK} AS work_s"))
    for view in (JOB_COSTS, OUTSIDE_DOMAIN):
        op.execute(view.format(work=WORK))


def downgrade() -> None:
    op.execute("DROP VIEW predicted_and_actual")
    op.execute(PREDICTED_AND_ACTUAL.format(further=""))
    for view in (JOB_COSTS, OUTSIDE_DOMAIN):
        op.execute(view.format(work="a.runtime_s"))
