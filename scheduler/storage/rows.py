"""Turn rows into views: a column and a field of the same name are the same thing."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import Column

from scheduler.storage.base import Base, core


def columns(table: type[Base], view: type[Any], *, without: tuple[str, ...] = ()) -> list[Column[Any]]:
    """The columns of a table that a view shows, in the view's order."""
    return [core(table).c[field.name] for field in fields(view) if field.name not in without]
