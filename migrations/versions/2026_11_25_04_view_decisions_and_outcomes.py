"""View decisions and outcomes as those who run Pythia ask about them; migrations/README.md shows each in use."""

from __future__ import annotations

from alembic import op

revision = "2026_11_25_04"
down_revision = "2026_11_25_03"

# every candidate beside the one that was chosen: what each lost by
WHY = """
CREATE VIEW why AS
SELECT d.job_id, j.name AS job, d.number AS decision, d.kind, d.decided_at, c.rank, c.gpu_type, c.gpu_count,
       c.provider, c.region, c.spot, c.verdict, c.reason, c.reason_number, c.reason_text,
       round(c.vram_p95_gib::numeric, 1) AS vram_p95_gib, round(c.usable_vram_gib::numeric, 1) AS usable_vram_gib,
       round(c.fit_probability::numeric, 3) AS fit_probability, round(c.runtime_p50_s::numeric, 1) AS runtime_p50_s,
       c.expected_cost_micros / 1e6::numeric AS expected_usd, d.model_version, c.price_date
FROM decisions d
JOIN jobs j ON j.id = d.job_id
JOIN candidates c ON c.decision_id = d.id
"""

# what was predicted for the placement beside what happened there, attempt by attempt
PREDICTED_AND_ACTUAL = """
CREATE VIEW predicted_and_actual AS
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
JOIN decisions d ON d.id = a.decision_id
LEFT JOIN candidates c ON c.decision_id = d.id AND c.verdict = 'chosen'
WHERE a.state = 'ended'
"""

# the counter of each offer beside the sum of what is held of it; `off_by` is 0 at every commit
CAPACITY = """
CREATE VIEW capacity AS
SELECT o.id AS offer_id, o.provider, o.region, o.gpu_type, o.capacity_gpus, o.reserved_gpus,
       coalesce(sum(r.gpu_count), 0) AS held_gpus, o.reserved_gpus - coalesce(sum(r.gpu_count), 0) AS off_by
FROM offers o
LEFT JOIN reservations r ON r.offer_id = o.id AND r.released_at IS NULL
GROUP BY o.id
"""


def upgrade() -> None:
    for view in (WHY, PREDICTED_AND_ACTUAL, CAPACITY):
        op.execute(view)


def downgrade() -> None:
    for view in ("capacity", "predicted_and_actual", "why"):
        op.execute(f"DROP VIEW {view}")
