"""View attempts that shared their card as what they are: slower for it, and what they left was others' to use."""

from __future__ import annotations

from alembic import op

revision = "2026_11_29_53"
down_revision = "2026_11_29_52"

PREDICTED_AND_ACTUAL = """
CREATE VIEW predicted_and_actual AS
SELECT a.job_id, j.name AS job, a.number AS attempt, a.gpu_type, a.gpu_count, a.provider, a.outcome, a.simulated,
       (a.forecast -> 'peak_vram_gib' ->> 'p50')::numeric AS vram_p50_gib,
       (a.forecast -> 'peak_vram_gib' ->> 'p95')::numeric AS vram_p95_gib,
       a.peak_vram_gib AS vram_gib,
       CASE WHEN a.vram_metric IS DISTINCT FROM 'preallocated'{alone}
            THEN (a.forecast ->> 'usable_vram_gib')::numeric - a.peak_vram_gib::numeric END AS unused_gib,
       (a.forecast -> 'runtime_s' ->> 'p10')::numeric AS runtime_p10_s,
       (a.forecast -> 'runtime_s' ->> 'p50')::numeric AS runtime_p50_s,
       (a.forecast -> 'runtime_s' ->> 'p90')::numeric AS runtime_p90_s,
       a.runtime_s, d.expected_cost_micros / 1e6::numeric AS expected_usd, a.cost_micros / 1e6::numeric AS usd,
       d.naive_cost_micros / 1e6::numeric AS naive_usd, a.forecast ->> 'basis' AS basis,
       (a.forecast ->> 'in_domain')::boolean AS in_domain, d.model_version, a.ended_at, a.vram_metric{shared}
FROM attempts a
JOIN jobs j ON j.id = a.job_id
LEFT JOIN decisions d ON d.id = a.decision_id
WHERE a.state = 'ended'
"""

# How much slower a job was beside others says nothing of how slow it would have been elsewhere
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
  SELECT id, candidates_of, objective, naive_cost_micros, naive_choice, decided_at
  FROM decisions WHERE job_id = j.id AND kind = 'placement' ORDER BY number LIMIT 1
) d ON true
CROSS JOIN LATERAL (
  SELECT {slower} AS slower,
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
SLOWER = "coalesce(a.runtime_s / nullif((a.forecast -> 'runtime_s' ->> 'p50')::float, 0), 1)"

WASTE = """
CREATE VIEW waste AS
SELECT a.job_id, j.name AS job, a.number AS attempt, a.provider, a.gpu_type, a.gpu_count, a.outcome, a.simulated,
       a.billed_s, spent.run_s, a.billed_s - spent.run_s AS idle_s, spent.lost_s,
       a.cost_micros / 1e6::numeric AS usd,
       round(a.cost_micros * ((a.billed_s - spent.run_s) / nullif(a.billed_s, 0))::numeric) / 1e6::numeric AS idle_usd,
       round(a.cost_micros * (spent.lost_s / nullif(a.billed_s, 0))::numeric) / 1e6::numeric AS lost_usd,
       a.vram_metric, a.peak_vram_gib AS vram_gib, room.wasted_gib,
       round((room.wasted_gib * a.billed_s / 3600)::numeric, 3) AS wasted_gib_hours, a.ended_at{shared}
FROM attempts a
JOIN jobs j ON j.id = a.job_id
CROSS JOIN LATERAL (SELECT least(coalesce(a.runtime_s, 0), a.billed_s) AS run_s) ran
CROSS JOIN LATERAL (SELECT ran.run_s, CASE WHEN a.outcome = 'completed' THEN 0 ELSE ran.run_s END AS lost_s) spent
CROSS JOIN LATERAL (
  SELECT CASE WHEN a.outcome = 'completed' AND a.vram_metric IS DISTINCT FROM 'preallocated'{alone}
              THEN a.gpu_count
              * ((a.forecast ->> 'usable_vram_gib')::numeric - a.peak_vram_gib::numeric) END AS wasted_gib
) room
WHERE a.state = 'ended'
"""


def upgrade() -> None:
    _put_up(alone=" AND NOT a.shared", shared=", a.shared", slower=f"CASE WHEN a.shared THEN 1 ELSE {SLOWER} END")


def downgrade() -> None:
    _put_up(alone="", shared="", slower=SLOWER)


def _put_up(**words: str) -> None:
    op.execute("DROP VIEW predicted_and_actual; DROP VIEW job_costs; DROP VIEW waste")
    for view in (PREDICTED_AND_ACTUAL, JOB_COSTS, WASTE):
        op.execute(view.format(**words))
