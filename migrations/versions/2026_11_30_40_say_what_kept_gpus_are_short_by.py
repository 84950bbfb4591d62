"""Say by what a GPU type lost that was kept for waiting jobs, and take no capacity for shorter than what was needed.

Decisions of before the reason `kept` wrote as `capacity` what others came first for, some short by billions of GPUs.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_30_40"
down_revision = "2026_11_30_30"

LOSING_GPU_TYPES = """
CREATE OR REPLACE VIEW losing_gpu_types AS
SELECT gpu_type, reason, count(*) AS lost, max(decisions) AS decisions, max(chosen) AS chosen,
       round(count(*)::numeric / max(decisions), 3) AS share,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY reason_number))::numeric, 2) AS by_median,
       CASE reason WHEN 'vram' THEN 'GiB short' WHEN 'fit_probability' THEN 'probability of fitting'
                   WHEN 'max_runtime' THEN 'seconds too long' WHEN 'deadline' THEN 'seconds late'
                   WHEN 'budget' THEN 'dollars over' WHEN 'quota_spend' THEN 'dollars over'
                   WHEN 'quota' THEN 'GPUs over' WHEN 'capacity' THEN 'GPUs short'{kept}
                   WHEN 'dearer' THEN 'per cent dearer' WHEN 'slower' THEN 'per cent slower'
                   WHEN 'yielded' THEN 'per cent better' END AS by_what,
       max(decided_at) AS last_lost_at
FROM (
  SELECT best.*, count(*) OVER whole AS decisions, count(*) FILTER (WHERE verdict = 'chosen') OVER whole AS chosen
  FROM (
    SELECT DISTINCT ON (d.id, c.gpu_type) c.gpu_type, c.verdict, c.reason, {number}, d.decided_at
    FROM candidates c JOIN decisions d ON c.decision_id = coalesce(d.candidates_of, d.id)
    ORDER BY d.id, c.gpu_type, c.rank
  ) best
  WINDOW whole AS (PARTITION BY gpu_type)
) seen
WHERE verdict = 'rejected'
GROUP BY gpu_type, reason
"""


def upgrade() -> None:
    number = "CASE c.reason WHEN 'capacity' THEN least(c.reason_number, c.gpu_count) ELSE c.reason_number END"
    op.execute(LOSING_GPU_TYPES.format(kept=" WHEN 'kept' THEN 'GPUs short'", number=f"{number} AS reason_number"))


def downgrade() -> None:
    op.execute(LOSING_GPU_TYPES.format(kept="", number="c.reason_number"))
