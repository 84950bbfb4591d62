"""Keep what is known of machines that were given back and have no row: those rented after a backup that was restored.

They cannot be rows of `machines`: nobody knows any more what they cost an hour, nor whose they were. Yesterday's
workers give them back as they always did, and say so in their logs alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_30_50"
down_revision = "2026_11_30_40"


def upgrade() -> None:
    op.create_table(
        "forgotten_machines",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("metered_s", sa.Float(), nullable=True),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_forgotten_machines")),
    )


def downgrade() -> None:
    op.drop_table("forgotten_machines")
