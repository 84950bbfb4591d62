"""Part decisions and candidates by month, so that old ones can be dropped at once.

The ids are UUIDv7: they begin with the millisecond of their making, so a range of ids is a range of time, and the
primary keys need no further column. What there is becomes the first part; nothing is copied. Attempts keep the id of
their decision, no longer as a foreign key: they outlive it.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_25_08"
down_revision = "2026_11_25_07"

# the first id of a month: its milliseconds in the first 48 bits
FIRST_ID = """
CREATE FUNCTION first_id_of(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$
"""

# the foreign keys and checks of the parts are those of the whole
PARTED = """
CREATE TABLE {table} (LIKE {table}_first INCLUDING DEFAULTS) PARTITION BY RANGE ({key});
ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({primary});
ALTER TABLE {table} ADD CONSTRAINT fk_{table}_tenant_id_tenants FOREIGN KEY (tenant_id) REFERENCES tenants (id)
"""

ATTACH = """
DO $$ BEGIN
  EXECUTE format('ALTER TABLE {table} ATTACH PARTITION {table}_first FOR VALUES FROM (MINVALUE) TO (%L)',
                 first_id_of(date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '1 month'));
END $$;
CREATE TABLE {table}_default PARTITION OF {table} DEFAULT
"""


# as before, but for attempts that outlive their decision
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
{join} decisions d ON d.id = a.decision_id
LEFT JOIN candidates c ON c.decision_id = d.id AND c.verdict = 'chosen'
WHERE a.state = 'ended'
"""


def upgrade() -> None:
    op.execute("DROP VIEW predicted_and_actual; DROP VIEW why")
    op.execute(FIRST_ID)
    op.drop_constraint(op.f("fk_attempts_decision_id_decisions"), "attempts")
    op.drop_constraint(op.f("fk_candidates_decision_id_decisions"), "candidates")

    op.execute("ALTER TABLE decisions RENAME TO decisions_first")
    op.execute("ALTER TABLE decisions_first DROP CONSTRAINT uq_decisions_job_id_number")
    for name in ("pk_decisions", "ck_decisions_kind", "fk_decisions_job_id_jobs", "fk_decisions_tenant_id_tenants"):
        op.execute(f"ALTER TABLE decisions_first RENAME CONSTRAINT {name} TO {name}_first")
    op.execute(PARTED.format(table="decisions", key="id", primary="id"))
    op.create_foreign_key(op.f("fk_decisions_job_id_jobs"), "decisions", "jobs", ["job_id"], ["id"], ondelete="CASCADE")
    op.create_check_constraint(op.f("ck_decisions_kind"), "decisions", "kind IN ('placement', 'wait', 'refusal')")
    op.execute("ALTER TABLE decisions_first DROP CONSTRAINT ck_decisions_kind_first")
    op.execute(
        "ALTER TABLE decisions_first ADD CONSTRAINT ck_decisions_kind CHECK (kind IN ('placement', 'wait', 'refusal'))"
    )
    op.execute(ATTACH.format(table="decisions"))
    op.create_index("ix_decisions_job", "decisions", ["job_id", "number"])

    op.execute("ALTER TABLE candidates RENAME TO candidates_first")
    op.execute("ALTER TABLE candidates_first DROP CONSTRAINT pk_candidates")
    op.execute("ALTER TABLE candidates_first ADD CONSTRAINT pk_candidates_first PRIMARY KEY (decision_id, id)")
    op.execute(
        "ALTER TABLE candidates_first RENAME CONSTRAINT fk_candidates_tenant_id_tenants "
        "TO fk_candidates_tenant_id_tenants_first"
    )
    op.execute("ALTER INDEX ix_candidates_decision RENAME TO ix_candidates_decision_first")
    op.execute(PARTED.format(table="candidates", key="decision_id", primary="decision_id, id"))
    op.create_foreign_key(
        op.f("fk_candidates_decision_id_decisions"), "candidates", "decisions", ["decision_id"], ["id"],
        ondelete="CASCADE",
    )  # fmt: skip
    op.execute(ATTACH.format(table="candidates"))
    op.create_index("ix_candidates_decision", "candidates", ["decision_id", "rank"])
    op.execute(WHY)
    op.execute(PREDICTED_AND_ACTUAL.format(join="LEFT JOIN"))


def downgrade() -> None:
    op.execute("DROP VIEW predicted_and_actual; DROP VIEW why")
    for table, primary in (("candidates", "id"), ("decisions", "id")):
        op.execute(f"CREATE TABLE {table}_whole (LIKE {table} INCLUDING DEFAULTS)")
        op.execute(f"INSERT INTO {table}_whole SELECT * FROM {table}")  # noqa: S608
        op.execute(f"DROP TABLE {table}")
        op.execute(f"ALTER TABLE {table}_whole RENAME TO {table}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({primary})")
        op.create_foreign_key(op.f(f"fk_{table}_tenant_id_tenants"), table, "tenants", ["tenant_id"], ["id"])
    op.create_foreign_key(op.f("fk_decisions_job_id_jobs"), "decisions", "jobs", ["job_id"], ["id"], ondelete="CASCADE")
    op.create_check_constraint(op.f("ck_decisions_kind"), "decisions", "kind IN ('placement', 'wait', 'refusal')")
    op.create_unique_constraint(op.f("uq_decisions_job_id_number"), "decisions", ["job_id", "number"])
    op.create_foreign_key(
        op.f("fk_candidates_decision_id_decisions"), "candidates", "decisions", ["decision_id"], ["id"],
        ondelete="CASCADE",
    )  # fmt: skip
    op.create_index("ix_candidates_decision", "candidates", ["decision_id", "rank"])
    # attempts whose decision was dropped by policy have none to refer to, and the older schema cannot say so
    op.execute(
        "ALTER TABLE attempts ADD CONSTRAINT fk_attempts_decision_id_decisions "
        "FOREIGN KEY (decision_id) REFERENCES decisions (id) NOT VALID"
    )
    op.execute("DROP FUNCTION first_id_of(timestamptz)")
    op.execute(WHY)
    op.execute(PREDICTED_AND_ACTUAL.format(join="JOIN"))
