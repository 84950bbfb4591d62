"""Remember every price list and price, hold back those that nobody believes, and count the inventory's versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2026_11_25_05"
down_revision = "2026_11_25_04"


def upgrade() -> None:
    op.create_table(
        "inventory_version",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_inventory_version_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inventory_version")),
    )
    op.execute("INSERT INTO inventory_version DEFAULT VALUES")
    op.create_table(
        "price_imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("older", sa.BigInteger(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("skipped", JSONB(), nullable=False),
        sa.Column("oldest_price_date", sa.Text(), nullable=True),
        sa.Column("newest_price_date", sa.Text(), nullable=True),
        sa.Column("imported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_imports")),
    )
    op.create_table(
        "offer_prices",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("offer_id", sa.Uuid(), nullable=False),
        sa.Column("price_date", sa.Text(), nullable=False),
        sa.Column("on_demand_micros_per_gpu_hour", sa.BigInteger(), nullable=True),
        sa.Column("spot_micros_per_gpu_hour", sa.BigInteger(), nullable=True),
        sa.Column("capacity_gpus", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("inventory_version", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["offer_id"], ["offers.id"], name=op.f("fk_offer_prices_offer_id_offers"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["import_id"], ["price_imports.id"], name=op.f("fk_offer_prices_import_id_price_imports")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offer_prices")),
    )
    op.create_index("ix_offer_prices_day", "offer_prices", ["offer_id", "price_date", "id"])
    op.create_index("ix_offer_prices_version", "offer_prices", ["offer_id", "inventory_version", "id"])
    # what is sold on the day of this migration is the beginning of history
    op.execute(
        """
        INSERT INTO offer_prices (offer_id, price_date, on_demand_micros_per_gpu_hour, spot_micros_per_gpu_hour,
                                  capacity_gpus, enabled, source, inventory_version, applied)
        SELECT id, price_date, on_demand_micros_per_gpu_hour, spot_micros_per_gpu_hour,
               capacity_gpus, enabled, source, 0, true
        FROM offers
        """
    )
    op.create_table(
        "quarantined_prices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("instance_type", sa.Text(), nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=False),
        sa.Column("offer", JSONB(), nullable=False),
        sa.Column("doubt", sa.Text(), nullable=False),
        sa.Column("factor", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'held'"), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('held', 'released', 'dropped')", name=op.f("ck_quarantined_prices_state")),
        sa.ForeignKeyConstraint(
            ["import_id"], ["price_imports.id"], name=op.f("fk_quarantined_prices_import_id_price_imports")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantined_prices")),
    )
    op.create_index(
        "uq_quarantined_prices_held", "quarantined_prices", ["provider", "region", "instance_type", "gpu_type"],
        unique=True, postgresql_where=sa.text("state = 'held'"),
    )  # fmt: skip
    # nullable: the code of the day before goes on writing decisions without it
    op.add_column("decisions", sa.Column("inventory_version", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("decisions", "inventory_version")
    op.drop_table("quarantined_prices")
    op.drop_table("offer_prices")
    op.drop_table("price_imports")
    op.drop_table("inventory_version")
