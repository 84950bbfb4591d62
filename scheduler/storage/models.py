"""Versions of the predictor. At most one is the champion; with none, the shipped bundle is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.errors import NotFound
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import Model
from scheduler.storage.views import ModelView

_COLUMNS = columns(Model, ModelView)


def add(
    session: Session,
    *,
    version: str,
    bundle: bytes,
    rows: int,
    metrics: Mapping[str, Any],
    comparison: Mapping[str, Any] | None,
    now: datetime,
) -> None:
    """Store a version. One that is stored already, named by what it holds, takes what was found anew."""
    session.execute(
        insert(Model)
        .values(
            version=version, bundle=bundle, bundle_sha256=hashlib.sha256(bundle).hexdigest(), rows=rows,
            metrics=dict(metrics), comparison=None if comparison is None else dict(comparison), created_at=now,
        )
        .on_conflict_do_update(
            index_elements=["version"],
            set_={
                "rows": rows,
                "metrics": dict(metrics),
                "comparison": None if comparison is None else dict(comparison),
            },
        )
    )  # fmt: skip


def every(session: Session) -> list[ModelView]:
    """All versions, newest first."""
    rows = session.execute(select(*_COLUMNS).order_by(Model.created_at.desc(), Model.version.desc()))
    return [ModelView(**row) for row in rows.mappings()]


def get(session: Session, version: str) -> ModelView:
    """One version, or NotFound."""
    row = session.execute(select(*_COLUMNS).where(Model.version == version)).mappings().one_or_none()
    if row is None:
        raise NotFound("model", version)
    return ModelView(**row)


def rows(session: Session, version: str) -> int | None:
    """How many observations a version was trained on; None where it is not stored."""
    return session.execute(select(Model.rows).where(Model.version == version)).scalar_one_or_none()


def champion_version(session: Session) -> str | None:
    """Which version is in use; None for the shipped bundle."""
    return session.execute(select(Model.version).where(Model.champion)).scalar_one_or_none()


def bundle(session: Session, version: str) -> bytes:
    """A version's bundle, or NotFound."""
    found = session.execute(select(Model.bundle).where(Model.version == version)).scalar_one_or_none()
    if found is None:
        raise NotFound("model", version)
    return found


def lock(session: Session) -> None:
    """Let no other transaction change the champion: two at once would each see the other's."""
    session.execute(text("LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE"))


def demote(session: Session, version: str) -> None:
    """Take a champion out of use; it needs proof again before it comes back."""
    session.execute(update(Model).where(Model.version == version).values(champion=False, promoted_at=None))


def restore(session: Session, version: str) -> None:
    """Make an earlier champion the champion again, in its old place in history."""
    session.execute(update(Model).where(Model.version == version).values(champion=True))


def before(session: Session, version: str) -> str | None:
    """The version that was in use before this one; None where that was the shipped one."""
    since = select(Model.promoted_at).where(Model.version == version).scalar_subquery()
    return session.execute(
        select(Model.version).where(Model.promoted_at < since).order_by(Model.promoted_at.desc()).limit(1)
    ).scalar_one_or_none()


def promote(session: Session, version: str, now: datetime) -> None:
    """Make a stored version the champion in the place of the one before."""
    lock(session)
    quietly = {"synchronize_session": False}
    session.execute(
        update(Model).where(Model.champion, Model.version != version).values(champion=False),
        execution_options=quietly,
    )
    promoted = session.execute(
        update(Model).where(Model.version == version).values(champion=True, promoted_at=now).returning(Model.version),
        execution_options=quietly,
    )
    if promoted.one_or_none() is None:
        raise NotFound("model", version)
