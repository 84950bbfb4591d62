"""Say on which machine an attempt ran, and whether its command did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_41"
down_revision = "2026_11_29_40"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("machine_id", sa.Uuid(), nullable=True))
    op.add_column("attempts", sa.Column("command_ran", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "command_ran")
    op.drop_column("attempts", "machine_id")
