"""Let attempts of one tenant share a card.

Yesterday's workers do not know that a card goes on when one of its attempts ends: switch a tenant's sharing on, which
is off for all, once every worker is of today.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_50"
down_revision = "2026_11_29_43"


def upgrade() -> None:
    op.add_column("tenants", sa.Column("share_cards", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "cards",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("offer_id", sa.Uuid(), nullable=False),
        sa.Column("micros_per_gpu_hour", sa.BigInteger(), nullable=False),
        sa.Column("billing_increment_s", sa.BigInteger(), nullable=False),
        sa.Column("minimum_s", sa.BigInteger(), nullable=False),
        sa.Column("provision_s", sa.Float(), nullable=False),
        sa.Column("machine_id", sa.Uuid(), nullable=True),
        sa.Column("seats", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("joinable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("seats BETWEEN 0 AND 4", name=op.f("ck_cards_seats")),
        sa.CheckConstraint("(seats = 0) = (closed_at IS NOT NULL)", name=op.f("ck_cards_closed")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_cards_tenant_id_tenants")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_cards_offer_id_offers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cards")),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_cards_id_tenant_id")),
    )
    op.create_index("ix_cards_open", "cards", ["tenant_id"], postgresql_where=sa.text("closed_at IS NULL"))
    op.add_column("attempts", sa.Column("card_id", sa.Uuid(), nullable=True))
    op.add_column("attempts", sa.Column("shared", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    # checked for what is written from now on, then for what there is, which takes no lock that stops writers
    op.execute(
        "ALTER TABLE attempts ADD CONSTRAINT fk_attempts_card FOREIGN KEY (card_id, tenant_id) "
        "REFERENCES cards (id, tenant_id) NOT VALID"
    )
    op.execute("ALTER TABLE attempts VALIDATE CONSTRAINT fk_attempts_card")
    op.drop_constraint(op.f("ck_reservations_gpu_count"), "reservations")
    op.execute("ALTER TABLE reservations ADD CONSTRAINT ck_reservations_gpu_count CHECK (gpu_count >= 0) NOT VALID")
    op.execute("ALTER TABLE reservations VALIDATE CONSTRAINT ck_reservations_gpu_count")


def downgrade() -> None:
    # those who held no card of their own hold nothing that yesterday's code could count
    op.execute("DELETE FROM reservations WHERE gpu_count = 0")
    op.drop_constraint(op.f("ck_reservations_gpu_count"), "reservations")
    op.create_check_constraint(op.f("ck_reservations_gpu_count"), "reservations", "gpu_count >= 1")
    op.drop_constraint("fk_attempts_card", "attempts")
    op.drop_column("attempts", "shared")
    op.drop_column("attempts", "card_id")
    op.drop_table("cards")
    op.drop_column("tenants", "share_cards")
