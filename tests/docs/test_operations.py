"""The SQL that the documentation shows can be run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
STATEMENTS = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    for statement in block.split(";")
    if statement.strip()
]


def test_the_page_shows_sql() -> None:
    assert len(STATEMENTS) >= 5


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.splitlines()[0][:40])
def test_shown_statement_runs_on_the_schema(engine: sa.Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(statement.replace("'…'", "gen_random_uuid()")).all()
