"""Keep secrets, sealed: a row says whose they are and what they are called, and no more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_61"
down_revision = "2026_11_29_60"


def upgrade() -> None:
    op.create_table(
        "secrets",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name", name="pk_secrets"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_secrets_tenant_id_tenants"),
    )


def downgrade() -> None:
    op.drop_table("secrets")
