"""Let a decision share the candidates of an earlier one that considered the very same.

Jobs recur: with the same workload, constraints, offers and predictor every candidate is the same, to the cent, and a
hundred rows of them for every job are most of what the database would hold. A decision shares within its tenant and
within the month of its id, so that the months are dropped together. Code from before reads such a decision as one
without candidates.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_01"
down_revision = "2026_11_25_08"

WHY = """
CREATE OR REPLACE VIEW why AS
SELECT d.job_id, j.name AS job, d.number AS decision, d.kind, d.decided_at, c.rank, c.gpu_type, c.gpu_count,
       c.provider, c.region, c.spot, c.verdict, c.reason, c.reason_number, c.reason_text,
       round(c.vram_p95_gib::numeric, 1) AS vram_p95_gib, round(c.usable_vram_gib::numeric, 1) AS usable_vram_gib,
       round(c.fit_probability::numeric, 3) AS fit_probability, round(c.runtime_p50_s::numeric, 1) AS runtime_p50_s,
       c.expected_cost_micros / 1e6::numeric AS expected_usd, d.model_version, c.price_date
FROM decisions d
JOIN jobs j ON j.id = d.job_id
JOIN candidates c ON c.decision_id = {whose}
"""

PREDICTED_AND_ACTUAL = """
CREATE OR REPLACE VIEW predicted_and_actual AS
SELECT a.job_id, j.name AS job, a.number AS attempt, a.gpu_type, a.gpu_count, a.provider, a.outcome, a.simulated,
       (a.forecast -> 'peak_vram_gib' ->> 'p50')::numeric AS vram_p50_gib,
       (a.forecast -> 'peak_vram_gib' ->> 'p95')::numeric AS vram_p95_gib,
       a.peak_vram_gib AS vram_gib,
       (a.forecast ->> 'usable_vram_gib')::numeric - a.peak_vram_gib::numeric AS unused_gib,
       (a.forecast -> 'runtime_s' ->> 'p10')::numeric AS runtime_p10_s,
       (a.forecast -> 'runtime_s' ->> 'p50')::numeric AS runtime_p50_s,
       (a.forecast -> 'runtime_s' ->> 'p90')::numeric AS runtime_p90_s,
       a.runtime_s, c.expected_cost_micros / 1e6::numeric AS expected_usd, a.cost_micros / 1e6::numeric AS usd,
       d.naive_cost_micros / 1e6::numeric AS naive_usd, a.forecast ->> 'basis' AS basis,
       (a.forecast ->> 'in_domain')::boolean AS in_domain, d.model_version, a.ended_at
FROM attempts a
JOIN jobs j ON j.id = a.job_id
LEFT JOIN decisions d ON d.id = a.decision_id
LEFT JOIN candidates c ON c.decision_id = {whose} AND c.verdict = 'chosen'
WHERE a.state = 'ended'
"""

# each decision its own again, under ids that are new but keep the order
UNSHARE = """
INSERT INTO candidates (
    decision_id, id, tenant_id, rank, offer_id, provider, region, country, gpu_type, gpu_count, layout, spot,
    micros_per_gpu_hour, price_date, provision_s, forecast, vram_p50_gib, vram_p95_gib, usable_vram_gib,
    fit_probability, runtime_p50_s, runtime_p90_s, cost_p50_micros, cost_p90_micros, expected_cost_micros, verdict,
    reason, reason_number, reason_text
)
SELECT d.id, gen_random_uuid(), d.tenant_id, c.rank, c.offer_id, c.provider, c.region, c.country, c.gpu_type,
       c.gpu_count, c.layout, c.spot, c.micros_per_gpu_hour, c.price_date, c.provision_s, c.forecast, c.vram_p50_gib,
       c.vram_p95_gib, c.usable_vram_gib, c.fit_probability, c.runtime_p50_s, c.runtime_p90_s, c.cost_p50_micros,
       c.cost_p90_micros, c.expected_cost_micros, c.verdict, c.reason, c.reason_number, c.reason_text
FROM decisions d JOIN candidates c ON c.decision_id = d.candidates_of
"""


def upgrade() -> None:
    op.add_column("decisions", sa.Column("candidates_of", sa.Uuid(), nullable=True))
    shared = "coalesce(d.candidates_of, d.id)"
    op.execute(WHY.format(whose=shared))
    op.execute(PREDICTED_AND_ACTUAL.format(whose=shared))


def downgrade() -> None:
    op.execute(UNSHARE)
    op.execute(WHY.format(whose="d.id"))
    op.execute(PREDICTED_AND_ACTUAL.format(whose="d.id"))
    op.drop_column("decisions", "candidates_of")
