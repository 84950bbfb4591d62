"""Keep trainings: asked for, going on, ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_07"
down_revision = "2026_11_25_06"


def upgrade() -> None:
    op.create_table(
        "trainings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("promoted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("window_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("window_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read", sa.BigInteger(), nullable=True),
        sa.Column("learned_from", sa.BigInteger(), nullable=True),
        sa.Column("held_out", sa.BigInteger(), nullable=True),
        sa.Column("left_out", sa.BigInteger(), nullable=True),
        sa.Column("quarantined", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('queued', 'running', 'ended')", name=op.f("ck_trainings_state")),
        sa.CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name=op.f("ck_trainings_ended")),
        sa.ForeignKeyConstraint(["version"], ["models.version"], name=op.f("fk_trainings_version_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trainings")),
    )
    op.create_index(
        "uq_trainings_open", "trainings", [sa.text("(true)")], unique=True, postgresql_where=sa.text("state <> 'ended'")
    )


def downgrade() -> None:
    op.drop_table("trainings")
