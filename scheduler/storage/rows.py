"""Turn rows into views: a column and a field of the same name are the same thing."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from scheduler.storage.tables import Base


def columns(table: type[Base], view: type[Any], *, without: tuple[str, ...] = ()) -> list[InstrumentedAttribute[Any]]:
    """The columns of a table that a view shows, in the view's order."""
    return [getattr(table, field.name) for field in fields(view) if field.name not in without]
