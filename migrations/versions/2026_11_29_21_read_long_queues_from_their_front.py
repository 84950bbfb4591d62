"""Read long queues from their front.

Placers take the first jobs of each tenant's queue, by an index in that order, in place of ranking all jobs that wait.
Of those that stand ahead of a placement only held starts are looked up by their offer; whether anybody could use it is
answered by the first who could, so the inverted index over all wishes costs more to keep than it saves.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_21"
down_revision = "2026_11_29_20"


def upgrade() -> None:
    # partial: only jobs that wait are written down, so it takes one reading of the table
    op.create_index(
        "ix_jobs_queues", "jobs", ["tenant_id", "priority", "id"], postgresql_where=sa.text("state = 'queued'")
    )
    op.create_index(
        "ix_waits_reserved", "waits", ["reserved_offer_id"],
        postgresql_where=sa.text("reserved_offer_id IS NOT NULL"),
    )  # fmt: skip
    op.drop_index("ix_waits_wants", "waits")


def downgrade() -> None:
    op.create_index("ix_waits_wants", "waits", ["wants"], postgresql_using="gin")
    op.drop_index("ix_waits_reserved", "waits")
    op.drop_index("ix_jobs_queues", "jobs")
