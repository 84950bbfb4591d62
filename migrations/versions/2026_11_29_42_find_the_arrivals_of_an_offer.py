"""Find the attempts that came for an offer by their time: how often decides how long its idle machines are kept.

Made without locking out those who write, so it is no part of a transaction; what a failed try left is dropped first.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_29_42"
down_revision = "2026_11_29_41"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_attempts_arrivals")
        op.create_index("ix_attempts_arrivals", "attempts", ["offer_id", "reserved_at"], postgresql_concurrently=True)


def downgrade() -> None:
    op.drop_index("ix_attempts_arrivals", "attempts")
