"""Find the attempts of a card, and book the use of a machine by an attempt in as many pieces as it was shared in.

Made without locking out those who write, so it is no part of a transaction; what a failed try left is dropped first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_51"
down_revision = "2026_11_29_50"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name in ("ix_attempts_card", "uq_ledger_use"):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.create_index(
            "ix_attempts_card", "attempts", ["card_id"], postgresql_where=sa.text("card_id IS NOT NULL"),
            postgresql_concurrently=True,
        )  # fmt: skip
        op.create_index(
            "uq_ledger_use", "ledger", ["attempt_id", "from_s"], unique=True,
            postgresql_where=sa.text("kind = 'attempt'"), postgresql_concurrently=True,
        )  # fmt: skip
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_ledger_attempt")


def downgrade() -> None:
    # not unique any more: pieces that were booked stay booked
    op.create_index("uq_ledger_attempt", "ledger", ["attempt_id"], postgresql_where=sa.text("kind = 'attempt'"))
    op.drop_index("uq_ledger_use", "ledger")
    op.drop_index("ix_attempts_card", "attempts")
