"""Keep machines as rows of their own, and a ledger of what their time costs.

A machine now outlives the attempt it was ordered for: the next one finds it warm. Yesterday's workers know nothing of
this: their attempts have no machine and no entries, and end as they always did.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_40"
down_revision = "2026_11_29_22"

APPEND_ONLY = """
CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'ledger entries are added, never changed or deleted';
END $$
"""

# Asked at commit, so that an entry and its machine's sum may be written in either order
ADDS_UP = """
CREATE FUNCTION ledger_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  machine uuid := CASE TG_TABLE_NAME WHEN 'ledger' THEN (to_jsonb(NEW) ->> 'machine_id')::uuid
                                     ELSE (to_jsonb(NEW) ->> 'id')::uuid END;
  booked bigint := (SELECT coalesce(sum(micros), 0) FROM ledger WHERE machine_id = machine);
  counted bigint := (SELECT billed_micros FROM machines WHERE id = machine);
BEGIN
  IF booked <> counted THEN
    RAISE EXCEPTION 'machine % has % micros in the ledger and counts %', machine, booked, counted;
  END IF;
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("one", sa.BigInteger(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_installation_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_installation")),
    )
    op.execute("INSERT INTO installation DEFAULT VALUES")
    op.create_table(
        "machines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("offer_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=False),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("micros_per_gpu_hour", sa.BigInteger(), nullable=False),
        sa.Column("billing_increment_s", sa.BigInteger(), nullable=False),
        sa.Column("minimum_s", sa.BigInteger(), nullable=False),
        sa.Column("provision_s", sa.Float(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=True),
        sa.Column("metered_s", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("billed_micros", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bill_micros", sa.BigInteger(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("idle_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("keep_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("simulated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint(
            "state IN ('requested', 'provisioning', 'ready', 'busy', 'idle', 'releasing', 'gone')",
            name=op.f("ck_machines_state"),
        ),
        sa.CheckConstraint("(state = 'gone') = (gone_at IS NOT NULL)", name=op.f("ck_machines_gone")),
        sa.CheckConstraint("(state IN ('ready', 'busy')) <= (attempt_id IS NOT NULL)", name=op.f("ck_machines_in_use")),
        sa.CheckConstraint("state <> 'idle' OR attempt_id IS NULL", name=op.f("ck_machines_idle")),
        sa.CheckConstraint("state <> 'gone' OR bill_micros = billed_micros", name=op.f("ck_machines_bill")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_machines_tenant_id_tenants")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_machines_offer_id_offers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_machines")),
        sa.UniqueConstraint("key", name=op.f("uq_machines_key")),
    )
    op.create_index(
        "uq_machines_attempt", "machines", ["attempt_id"], unique=True, postgresql_where=sa.text("state <> 'gone'")
    )
    op.create_index("ix_machines_live", "machines", ["offer_id"], postgresql_where=sa.text("state <> 'gone'"))
    op.create_table(
        "ledger",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("machine_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("attempt_id", sa.Uuid(), nullable=True),
        sa.Column("from_s", sa.Float(), nullable=False),
        sa.Column("to_s", sa.Float(), nullable=False),
        sa.Column("billed_s", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("booked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('attempt', 'idle')", name=op.f("ck_ledger_kind")),
        sa.CheckConstraint(
            "(kind = 'attempt') = (attempt_id IS NOT NULL AND job_id IS NOT NULL)", name=op.f("ck_ledger_whose")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_ledger_tenant_id_tenants")),
        sa.ForeignKeyConstraint(["machine_id"], ["machines.id"], name=op.f("fk_ledger_machine_id_machines")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_machine", "ledger", ["machine_id"])
    op.create_index("ix_ledger_tenant", "ledger", ["tenant_id", "booked_at"])
    op.create_index(
        "uq_ledger_attempt", "ledger", ["attempt_id"], unique=True, postgresql_where=sa.text("kind = 'attempt'")
    )
    op.execute(APPEND_ONLY)
    op.execute(
        "CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()"
    )
    op.execute(ADDS_UP)
    op.execute(
        "CREATE CONSTRAINT TRIGGER ledger_adds_up AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION ledger_adds_up()"
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER machines_add_up AFTER INSERT OR UPDATE OF billed_micros ON machines "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_adds_up()"
    )


def downgrade() -> None:
    op.drop_table("ledger")
    op.drop_table("machines")
    op.execute("DROP FUNCTION ledger_adds_up()")
    op.execute("DROP FUNCTION ledger_is_append_only()")
    op.drop_table("installation")
