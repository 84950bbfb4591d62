"""View machines with what they cost, and every entry of the ledger beside the job that it was for."""

from __future__ import annotations

from alembic import op

revision = "2026_11_29_43"
down_revision = "2026_11_29_42"

# `off_by` compares three sums: what was booked for attempts and for idling, what the machine counts, and, once it is
# gone, what its provider charges
MACHINE_COSTS = """
CREATE VIEW machine_costs AS
SELECT m.id AS machine_id, t.name AS tenant, m.backend, m.provider, m.region, m.gpu_type, m.gpu_count, m.spot, m.state,
       m.requested_at, m.ready_at, m.gone_at, m.reason, coalesce(booked.attempts, 0) AS attempts, m.metered_s,
       coalesce(booked.idle_s, 0) AS idle_s, m.billed_micros / 1e6::numeric AS usd,
       coalesce(booked.attempt_micros, 0) / 1e6::numeric AS attempts_usd,
       coalesce(booked.idle_micros, 0) / 1e6::numeric AS idle_usd, m.simulated,
       greatest(abs(m.billed_micros - coalesce(booked.attempt_micros, 0) - coalesce(booked.idle_micros, 0)),
                abs(m.billed_micros - coalesce(m.bill_micros, m.billed_micros))) AS off_by
FROM machines m
JOIN tenants t ON t.id = m.tenant_id
LEFT JOIN LATERAL (
  SELECT count(*) FILTER (WHERE kind = 'attempt') AS attempts,
         sum(micros) FILTER (WHERE kind = 'attempt') AS attempt_micros,
         sum(micros) FILTER (WHERE kind = 'idle') AS idle_micros,
         sum(to_s - from_s) FILTER (WHERE kind = 'idle') AS idle_s
  FROM ledger WHERE machine_id = m.id
) booked ON true
"""

BILLING = """
CREATE VIEW billing AS
SELECT l.booked_at, t.name AS tenant, l.kind, l.job_id, j.name AS job, a.number AS attempt, a.outcome, l.machine_id,
       m.provider, m.gpu_type, m.gpu_count, l.to_s - l.from_s AS used_s, l.billed_s, l.micros / 1e6::numeric AS usd,
       m.simulated
FROM ledger l
JOIN tenants t ON t.id = l.tenant_id
JOIN machines m ON m.id = l.machine_id
LEFT JOIN jobs j ON j.id = l.job_id
LEFT JOIN attempts a ON a.id = l.attempt_id
"""


def upgrade() -> None:
    op.execute(MACHINE_COSTS)
    op.execute(BILLING)


def downgrade() -> None:
    op.execute("DROP VIEW billing")
    op.execute("DROP VIEW machine_costs")
