"""Keep what offers charge for each GiB that leaves their network, and its history.

NULL: no price list says, and a plan takes it as nothing and says so.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_22"
down_revision = "2026_11_29_21"


def upgrade() -> None:
    op.add_column("offers", sa.Column("egress_micros_per_gib", sa.BigInteger(), nullable=True))
    op.create_check_constraint(op.f("ck_offers_egress"), "offers", "egress_micros_per_gib >= 0")
    op.add_column("offer_prices", sa.Column("egress_micros_per_gib", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("offer_prices", "egress_micros_per_gib")
    op.drop_constraint(op.f("ck_offers_egress"), "offers")
    op.drop_column("offers", "egress_micros_per_gib")
