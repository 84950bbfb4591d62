"""Give tenants shares and quotas, and remember what waiting jobs could use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2026_11_25_06"
down_revision = "2026_11_25_05"


def upgrade() -> None:
    op.add_column("tenants", sa.Column("share", sa.Double(), server_default=sa.text("1"), nullable=False))
    op.add_column("tenants", sa.Column("max_gpus", sa.BigInteger(), nullable=True))
    op.add_column("tenants", sa.Column("max_micros_per_month", sa.BigInteger(), nullable=True))
    op.create_check_constraint(op.f("ck_tenants_share"), "tenants", "share > 0")
    op.create_check_constraint(op.f("ck_tenants_max_gpus"), "tenants", "max_gpus IS NULL OR max_gpus >= 0")
    op.create_check_constraint(
        op.f("ck_tenants_max_micros_per_month"),
        "tenants",
        "max_micros_per_month IS NULL OR max_micros_per_month >= 0",
    )
    # nullable: the code of the day before goes on writing rows without them
    op.add_column("reservations", sa.Column("committed_micros", sa.BigInteger(), nullable=True))
    op.add_column("decisions", sa.Column("assignment", JSONB(), nullable=True))
    op.create_index(
        "ix_reservations_tenant", "reservations", ["tenant_id"], postgresql_where=sa.text("released_at IS NULL")
    )
    op.create_index("ix_reservations_released", "reservations", ["released_at"])
    op.create_index("ix_attempts_spent", "attempts", ["tenant_id", "ended_at"])
    op.create_table(
        "waits",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("wants", JSONB(), nullable=False),
        sa.Column("options", JSONB(), nullable=False),
        sa.Column("reserved_offer_id", sa.Uuid(), nullable=True),
        sa.Column("reserved_gpus", sa.BigInteger(), nullable=True),
        sa.Column("reserved_start_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_waits_job_id_jobs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_waits_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_waits")),
    )
    op.create_index("ix_waits_wants", "waits", ["wants"], postgresql_using="gin")


def downgrade() -> None:
    op.drop_table("waits")
    op.drop_index("ix_attempts_spent", "attempts")
    op.drop_index("ix_reservations_released", "reservations")
    op.drop_index("ix_reservations_tenant", "reservations")
    op.drop_column("decisions", "assignment")
    op.drop_column("reservations", "committed_micros")
    for name in ("max_micros_per_month", "max_gpus", "share"):
        op.drop_constraint(op.f(f"ck_tenants_{name}"), "tenants")
    for name in ("max_micros_per_month", "max_gpus", "share"):
        op.drop_column("tenants", name)
