"""Keep attempts, what they hold, what they print and what they teach."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2026_11_25_03"
down_revision = "2026_11_25_02"


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("decision_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("offer_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=False),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.Column("layout", JSONB(), nullable=False),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("micros_per_gpu_hour", sa.BigInteger(), nullable=False),
        sa.Column("billing_increment_s", sa.BigInteger(), nullable=False),
        sa.Column("minimum_s", sa.BigInteger(), nullable=False),
        sa.Column("provision_s", sa.Double(), nullable=False),
        sa.Column("forecast", JSONB(), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_poll_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("handle", JSONB(), nullable=True),
        sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("running_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("runtime_s", sa.Double(), nullable=True),
        sa.Column("billed_s", sa.BigInteger(), nullable=True),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("peak_vram_gib", sa.Double(), nullable=True),
        sa.Column("peak_allocated_gib", sa.Double(), nullable=True),
        sa.Column("vram_metric", sa.Text(), nullable=True),
        sa.Column("peak_rss_gib", sa.Double(), nullable=True),
        sa.Column("simulated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("(state = 'ended') = (outcome IS NOT NULL)", name=op.f("ck_attempts_ended_has_outcome")),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN "
            "('completed', 'failed', 'out_of_memory', 'timeout', 'cancelled', 'preempted', 'lost')",
            name=op.f("ck_attempts_outcome"),
        ),
        sa.CheckConstraint(
            "state IN ('reserved', 'claimed', 'starting', 'running', 'ended')", name=op.f("ck_attempts_state")
        ),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_attempts_decision_id_decisions")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id_jobs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_attempts_offer_id_offers")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_attempts_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_attempts_job_id_number")),
    )
    op.create_index(
        "ix_attempts_due", "attempts", ["next_poll_at"], postgresql_where=sa.text("state IN ('starting', 'running')")
    )
    op.create_index(
        "uq_attempts_live", "attempts", ["job_id"], unique=True, postgresql_where=sa.text("state <> 'ended'")
    )
    op.create_table(
        "reservations",
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("offer_id", sa.Uuid(), nullable=False),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("gpu_count >= 1", name=op.f("ck_reservations_gpu_count")),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_reservations_attempt_id_attempts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_reservations_offer_id_offers")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_reservations_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_reservations")),
    )
    op.create_index(
        "ix_reservations_open", "reservations", ["offer_id"], postgresql_where=sa.text("released_at IS NULL")
    )
    op.create_table(
        "attempt_logs",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("collected_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_attempt_logs_attempt_id_attempts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_attempt_logs_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt_logs")),
    )
    op.create_index(op.f("ix_attempt_logs_attempt_id"), "attempt_logs", ["attempt_id"])
    op.create_index("uq_attempt_logs_chunk", "attempt_logs", ["attempt_id", "stream", "offset"], unique=True)
    op.create_table(
        "observations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("simulated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("NOT simulated", name=op.f("ck_observations_real")),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_observations_attempt_id_attempts"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_observations_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observations")),
        sa.UniqueConstraint(
            "tenant_id", "source", "source_id", name=op.f("uq_observations_tenant_id_source_source_id")
        ),
    )
    op.create_index("ix_observations_kind", "observations", ["tenant_id", "kind", "id"])


def downgrade() -> None:
    op.drop_table("observations")
    op.drop_table("attempt_logs")
    op.drop_table("reservations")
    op.drop_table("attempts")
