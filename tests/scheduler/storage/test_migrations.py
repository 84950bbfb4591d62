"""The schema can be built, matches the table definitions, and can be taken down and built again."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic import command

from scheduler.storage.migrate import alembic_config, newest_revision, upgrade
from scheduler.storage.tables import DEFAULT_TENANT, Base


def test_an_empty_database_is_brought_to_the_newest_schema(empty_database_url: str) -> None:
    assert upgrade(empty_database_url) == (None, newest_revision())


def test_the_migrations_build_what_the_code_declares(database_url: str) -> None:
    with sa.create_engine(database_url).connect() as connection:
        command.check(alembic_config(connection))


def test_a_missing_column_would_be_noticed(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs DROP COLUMN spec_sha256")
    with engine.connect() as connection, pytest.raises(Exception, match="New upgrade operations detected"):
        command.check(alembic_config(connection))


def test_the_schema_can_be_taken_down_and_built_again(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        command.downgrade(alembic_config(connection), "base")
        connection.commit()
        left = set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
    assert left == set()
    upgrade(database_url)
    with engine.connect() as connection:
        assert set(Base.metadata.tables) <= set(sa.inspect(connection).get_table_names())


def test_there_is_one_tenant_from_the_first_day(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT id FROM tenants")).scalars().all() == [DEFAULT_TENANT]


def test_kombus_schema_is_none_of_our_business(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA kombu; CREATE TABLE kombu.kombu_message (id int)")
    with engine.connect() as connection:
        command.check(alembic_config(connection))
