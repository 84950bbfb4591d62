"""Find the pieces of output of an attempt in their order, of a tenant in theirs with their sizes, and the old ones.

The sizes are in the index, so that a search knows without reading any output how far back it may go in one answer. What
begins with the attempt alone is no longer needed: the constraint that names each piece once begins with it too. Made
without locking out those who write, so it is no part of a transaction; what a failed try left is dropped first.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_29_60"
down_revision = "2026_11_29_53"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, columns, include in (
            ("ix_attempt_logs_order", ["attempt_id", "id"], []),
            ("ix_attempt_logs_tenant", ["tenant_id", "id"], ["size"]),
            ("ix_attempt_logs_collected", ["collected_at"], []),
        ):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.create_index(name, "attempt_logs", columns, postgresql_include=include, postgresql_concurrently=True)
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_attempt_logs_attempt_id")


def downgrade() -> None:
    op.create_index("ix_attempt_logs_attempt_id", "attempt_logs", ["attempt_id"])
    for name in ("ix_attempt_logs_collected", "ix_attempt_logs_tenant", "ix_attempt_logs_order"):
        op.drop_index(name, "attempt_logs")
