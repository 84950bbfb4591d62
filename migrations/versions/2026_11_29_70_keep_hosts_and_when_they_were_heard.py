"""Keep hosts whose workers offer their GPUs, and when each was last heard.

A host that falls silent takes its offers away, which is not the same as disabling them: that is for people. Yesterday's
workers register nothing, and their offers are of no host; what still places as yesterday's code did may place on an
offer that is away, and such an attempt is lost and placed again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_70"
down_revision = "2026_11_29_61"


def upgrade() -> None:
    op.create_table(
        "hosts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("silent_since", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hosts")),
    )
    op.add_column("offers", sa.Column("away", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    op.drop_column("offers", "away")
    op.drop_table("hosts")
