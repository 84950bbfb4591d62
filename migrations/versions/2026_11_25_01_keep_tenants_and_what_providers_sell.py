"""Keep tenants, their keys, what providers sell and the predictor's versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2026_11_25_01"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
    )
    # every owned row names a tenant from the first day; until there are users there is this one
    op.execute("INSERT INTO tenants (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'default')")
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
    )
    op.create_table(
        "offers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("jurisdiction", sa.Text(), nullable=True),
        sa.Column("provider_hq", sa.Text(), nullable=True),
        sa.Column("instance_type", sa.Text(), nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=False),
        sa.Column("node_gpus", sa.BigInteger(), nullable=False),
        sa.Column("sold_gpus", JSONB(), nullable=False),
        sa.Column("max_nodes", sa.BigInteger(), nullable=False),
        sa.Column("capacity_gpus", sa.BigInteger(), nullable=False),
        sa.Column("reserved_gpus", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("on_demand_micros_per_gpu_hour", sa.BigInteger(), nullable=True),
        sa.Column("spot_micros_per_gpu_hour", sa.BigInteger(), nullable=True),
        sa.Column("price_date", sa.Text(), nullable=False),
        sa.Column("billing_increment_s", sa.BigInteger(), nullable=False),
        sa.Column("minimum_s", sa.BigInteger(), nullable=False),
        sa.Column("provision_s", sa.Double(), nullable=False),
        sa.Column("interconnect_gbps", sa.Double(), nullable=True),
        sa.Column("tenancy", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("assumed", JSONB(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("tenancy IN ('shared', 'dedicated', 'unknown')", name=op.f("ck_offers_tenancy")),
        sa.CheckConstraint(
            "billing_increment_s >= 1 AND minimum_s >= 0 AND provision_s >= 0", name=op.f("ck_offers_billing")
        ),
        sa.CheckConstraint("capacity_gpus >= 0", name=op.f("ck_offers_capacity")),
        sa.CheckConstraint("node_gpus >= 1 AND max_nodes >= 1", name=op.f("ck_offers_nodes")),
        sa.CheckConstraint(
            "on_demand_micros_per_gpu_hour IS NULL OR on_demand_micros_per_gpu_hour >= 0", name=op.f("ck_offers_price")
        ),
        sa.CheckConstraint("reserved_gpus >= 0", name=op.f("ck_offers_reserved")),
        sa.CheckConstraint(
            "spot_micros_per_gpu_hour IS NULL OR spot_micros_per_gpu_hour >= 0", name=op.f("ck_offers_spot_price")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offers")),
    )
    op.create_index("uq_offers_key", "offers", ["provider", "region", "instance_type", "gpu_type"], unique=True)
    op.create_table(
        "models",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("bundle", sa.LargeBinary(), nullable=False),
        sa.Column("bundle_sha256", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("metrics", JSONB(), nullable=False),
        sa.Column("comparison", JSONB(), nullable=True),
        sa.Column("champion", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_models")),
    )
    op.create_index("uq_models_champion", "models", ["champion"], unique=True, postgresql_where=sa.text("champion"))


def downgrade() -> None:
    op.drop_table("models")
    op.drop_table("offers")
    op.drop_table("api_keys")
    op.drop_table("tenants")
